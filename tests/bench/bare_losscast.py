"""The barest program that writes the rows of losscast: parses with orjson, checks nothing.

Run as: python bare_losscast.py RUNS.jsonl.gz OUT REVISION. It writes the same columns as an ingest,
but no content hash, and leaves everything out that makes a catalog: validation, curation, hashes,
manifests, syncs.
"""

import gzip
import sys
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

RATES = {
    "matrix_lr": "matrix",
    "embedding_lr": "embedding",
    "unembedding_lr": "unembedding",
    "scalar_lr": "scalar",
}
INTEGERS = (
    *("n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "head_dim", "vocab_size"),
    *("params_total", "params_active", "params_non_embedding", "params_active_non_embedding"),
    *("warmup_steps", "decay_steps", "train_steps"),
    *("batch_size_sequences", "sequence_length", "train_tokens", "n_devices", "final_step"),
)
NUMBERS = (
    *("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("min_learning_rate", "final_loss", "train_flops"),
)
GROUP = pa.struct(
    [
        ("group", pa.string()),
        ("learning_rate", pa.float64()),
    ]
)
METRIC = pa.struct(
    [
        ("name", pa.string()),
        ("split", pa.string()),
        ("dataset", pa.string()),
        ("unit", pa.string()),
        ("smoothing", pa.string()),
        ("step", pa.int64()),
        ("value", pa.float64()),
    ]
)


def row_of(document, line: int, revision: str, origins: str) -> dict:
    """Return the row of one record."""
    config, losses = document["config"], document["losses"]
    model, optimizer, data = config["model"], config["optimizer"], config["data"]
    schedule, extra = config["schedule"], optimizer["extra"]
    steps, length = schedule["total_steps"], data["seq_len"]
    batch = data["batch_tokens"] // length
    last = next(reversed(losses))
    layers, width, tokens = model["n_layers"], model["d_model"], batch * length * steps
    blocks = 12 * layers * width**2
    total = blocks + 2 * width * model["vocab_size"]
    return {
        "run_id": f"losscast/{document['run_id']}",
        "source": "losscast",
        "schema_version": "1.0",
        "source_run": document["run_id"],
        "stage": "pretrain",
        "modality": "text",
        "model_family": "nanochat",
        "architecture": "decoder",
        "n_layers": model["n_layers"],
        "d_model": model["d_model"],
        "d_ff": model["d_ff"],
        "n_heads": model["n_heads"],
        "n_kv_heads": model["n_kv_heads"],
        "head_dim": model["head_dim"],
        "vocab_size": model["vocab_size"],
        "activation": model["activation"],
        "norm": model["norm_type"],
        "position_encoding": "rope" if model["rope"] else None,
        "is_embedding_tied": model["tied_embeddings"],
        "params_non_embedding": blocks,
        "params_active_non_embedding": blocks,
        "params_total": total,
        "params_active": total,
        "train_flops": 6.0 * blocks * tokens + 6.0 * layers * width * length * tokens,
        "optimizer": optimizer["name"],
        "learning_rate": optimizer["lr"],
        "learning_rate_groups": [
            {"group": group, "learning_rate": extra[key]} for key, group in RATES.items()
        ],
        "weight_decay": optimizer["weight_decay"],
        "adam_beta1": extra["adam_betas"][0],
        "adam_beta2": extra["adam_betas"][1],
        "adam_epsilon": optimizer["eps"],
        "optimizer_extra": orjson.dumps(
            {
                "dmodel_lr_scale": extra["dmodel_lr_scale"],
                "muon_beta1": optimizer["beta1"],
                "muon_ns_steps": extra["muon_ns_steps"],
                "window_pattern": model["window_pattern"],
            }
        ).decode(),
        "schedule": "wsd",
        "warmup_steps": schedule["warmup_steps"],
        "decay_steps": round(schedule["warmdown_ratio"] * steps),
        "min_learning_rate": schedule["final_lr_ratio"] * optimizer["lr"],
        "train_steps": steps,
        "batch_size_sequences": batch,
        "sequence_length": length,
        "train_tokens": tokens,
        "dataset": data["dataset"],
        "tokenizer": data["tokenizer"],
        "precision": "bfloat16",
        "accelerator": config["hardware"],
        "n_devices": config["dp_size"],
        "framework": config["code_repo"],
        "code_revision": config["code_commit"],
        "status": "finished",
        "final_step": steps,
        "final_loss": losses[last],
        "final_loss_metric": "train/loss_ema",
        "final_loss_unit": "nats_per_token",
        "loss_family": "nanochat|train/loss_ema|fineweb_edu|autoresearch_bpe_8k|nats_per_token",
        "metrics": [
            {
                "name": "train/loss_ema",
                "split": "train",
                "unit": "nats_per_token",
                "smoothing": "ema 0.9",
                "step": int(last),
                "value": losses[last],
            },
            {
                "name": "val/bpb",
                "split": "validation",
                "unit": "bits_per_byte",
                "smoothing": "none",
                "value": config["extra"]["val_bpb"],
            },
        ],
        "licence": "MIT",
        "citation": "LossCast-Bench (dangxingyu/losscast-bench), MIT",
        "url": "https://github.com/dangxingyu/losscast-bench",
        "revision": revision,
        "file": "runs.jsonl",
        "record": f"line {line}",
        "is_copy": False,
        "extra": orjson.dumps({"losscast.split": document["split"]}).decode(),
        "origins": origins,
        "raw_config": orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode(),
    }


def write_rows(path: Path, out: Path, revision: str, origins: str) -> int:
    """Write the runs and curves of a file and return the number of points."""
    rows, ids, steps, tokens, values = [], [], [], [], []
    with gzip.open(path, "rb") as file:
        for line, text in enumerate(file, 1):
            document = orjson.loads(text)
            row = row_of(document, line, revision, origins)
            losses = document["losses"]
            own = list(map(int, losses))
            per_step = row["batch_size_sequences"] * row["sequence_length"]
            rows.append(row)
            ids += [row["run_id"]] * len(losses)
            steps += own
            tokens += [step * per_step for step in own]
            values += losses.values()
    types = {
        **dict.fromkeys(rows[0], pa.string()),
        **dict.fromkeys(INTEGERS, pa.int64()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        "is_copy": pa.bool_(),
        "is_embedding_tied": pa.bool_(),
        "learning_rate_groups": pa.list_(GROUP),
        "metrics": pa.list_(METRIC),
    }
    out.mkdir()
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(types.items())))
    pq.write_table(table, out / "runs.parquet", compression="zstd")
    n = len(values)
    points = pa.table(
        {
            "run_id": ids,
            "source": ["losscast"] * n,
            "metric": ["train/loss_ema"] * n,
            "step": steps,
            "tokens": tokens,
            "value": values,
        }
    )
    pq.write_table(points, out / "curves.parquet", compression="zstd")
    return n


if __name__ == "__main__":
    write_rows(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
