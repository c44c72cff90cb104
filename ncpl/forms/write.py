"""A configuration in the names of a framework: arguments, JSON, a Python file or TOML.

What a framework has no name for stands in a comment that `read_form` reads back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ncpl.data.fields import derive
from ncpl.errors import ConfigError

Row = Mapping[str, Any]
SILENT = frozenset(("source", "sequence_length", "run_id"))


def write_form(program: str, config: Mapping[str, Any]) -> str:
    """Return the text of a configuration for megatron, hf, nanogpt or torchtitan.

    Raises ConfigError for another name, or a configuration without batch, length or tokens.
    """
    if program not in WRITERS:
        raise ConfigError(f"there is no form {program!r}; there are: {', '.join(WRITERS)}")
    row = derive(config)
    if not row.get("train_steps"):
        raise ConfigError(
            f"a file of {program} states steps: give batch_size_sequences, sequence_length, tokens"
        )
    steps = max(1, round(row["train_steps"]))
    known = {**config, "train_steps": steps}
    return WRITERS[program]({k: v for k, v in known.items() if v is not None})


def _said(row: Row, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that a framework has a name for, under that name, in its order."""
    return {own: _plain(row[ours]) for own, ours in names.items() if ours in row}


def _left(row: Row, names: Mapping[str, str], also: frozenset[str]) -> dict[str, Any]:
    """Return what is left for the comments."""
    told = {*names.values(), *also, "train_tokens", "nominal_train_tokens", "decay_steps"}
    return {n: _plain(v) for n, v in row.items() if n not in told | SILENT}


def _comments(left: Mapping[str, Any], mark: str = "#") -> str:
    return "".join(f"{mark} ncpl: {name} = {value}\n" for name, value in left.items())


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return float(f"{value:.6g}") if isinstance(value, float) else value


MEGATRON = {
    "num-layers": "n_layers", "hidden-size": "d_model", "ffn-hidden-size": "d_ff",
    "num-attention-heads": "n_heads", "seq-length": "sequence_length",
    "global-batch-size": "batch_size_sequences", "train-iters": "train_steps",
    "lr": "learning_rate", "min-lr": "min_learning_rate", "lr-warmup-iters": "warmup_steps",
    "weight-decay": "weight_decay", "adam-beta1": "adam_beta1", "adam-beta2": "adam_beta2",
    "adam-eps": "adam_epsilon", "clip-grad": "grad_clip_norm",
}  # fmt: skip
MEGATRON_STYLES = {"cosine": "cosine", "linear": "linear", "constant": "constant", "wsd": "WSD"}


def _megatron(row: Row) -> str:
    said = _said(row, MEGATRON)
    also = set()
    if row.get("optimizer") == "adamw":
        said["optimizer"] = "adam"
        also.add("optimizer")
    style = MEGATRON_STYLES.get(str(row.get("schedule")))
    if style:
        said["lr-decay-style"] = style
        also.add("schedule")
    lines = [f"--{name} {value}" for name, value in said.items()]
    if "ffn-hidden-size" in said:
        lines.append("--swiglu")
    return _comments(_left(row, MEGATRON, frozenset(also))) + " \\\n".join(lines) + "\n"


HF = {
    "num_hidden_layers": "n_layers", "hidden_size": "d_model", "intermediate_size": "d_ff",
    "num_attention_heads": "n_heads", "learning_rate": "learning_rate",
    "per_device_train_batch_size": "batch_size_sequences", "max_steps": "train_steps",
    "warmup_steps": "warmup_steps", "weight_decay": "weight_decay", "adam_beta1": "adam_beta1",
    "adam_beta2": "adam_beta2", "adam_epsilon": "adam_epsilon", "max_grad_norm": "grad_clip_norm",
}  # fmt: skip


def _hf(row: Row) -> str:
    said: dict[str, Any] = {"model_type": "llama"} if "n_layers" in row else {}
    said |= _said(row, HF)
    also = {"optimizer", "schedule", "min_learning_rate"}
    said["gradient_accumulation_steps"] = 1
    said["world_size"] = 1
    if row.get("optimizer") == "adamw":
        said["optim"] = "adamw_torch"
    else:
        also.discard("optimizer")
    schedule, low = row.get("schedule"), row.get("min_learning_rate")
    if schedule:
        said["lr_scheduler_type"] = (
            "cosine_with_min_lr" if schedule == "cosine" and low else schedule
        )
    if low is not None:
        said["lr_scheduler_kwargs"] = {"min_lr": low}
    said |= {"sequence_length": row["sequence_length"]} | _left(row, HF, frozenset(also))
    return json.dumps(said, indent=1) + "\n"


NANOGPT = {
    "n_layer": "n_layers", "n_embd": "d_model", "n_head": "n_heads",
    "block_size": "sequence_length", "batch_size": "batch_size_sequences",
    "max_iters": "train_steps", "learning_rate": "learning_rate", "min_lr": "min_learning_rate",
    "warmup_iters": "warmup_steps", "weight_decay": "weight_decay", "beta1": "adam_beta1",
    "beta2": "adam_beta2", "grad_clip": "grad_clip_norm",
}  # fmt: skip


def _nanogpt(row: Row) -> str:
    if row.get("optimizer") not in (None, "adamw"):
        raise ConfigError(f"nanoGPT has no optimizer but AdamW; found {row['optimizer']}")
    said = _said(row, NANOGPT) | {"gradient_accumulation_steps": 1}
    said["lr_decay_iters"] = said["max_iters"]
    if row.get("schedule") not in (None, "cosine", "constant"):
        raise ConfigError(f"nanoGPT has no schedule {row['schedule']}; a cosine or a constant rate")
    said["decay_lr"] = row.get("schedule") != "constant"
    body = "".join(f"{name} = {value}\n" for name, value in said.items())
    return _comments(_left(row, NANOGPT, frozenset(("optimizer", "schedule")))) + body


TORCHTITAN = {
    "optimizer": {
        "lr": "learning_rate", "beta1": "adam_beta1", "beta2": "adam_beta2",
        "eps": "adam_epsilon", "weight_decay": "weight_decay",
    },
    "lr_scheduler": {"warmup_steps": "warmup_steps"},
    "training": {
        "global_batch_size": "batch_size_sequences", "seq_len": "sequence_length",
        "steps": "train_steps", "max_norm": "grad_clip_norm",
    },
}  # fmt: skip


def _torchtitan(row: Row) -> str:
    tables = {table: _said(row, names) for table, names in TORCHTITAN.items()}
    also = {"schedule", "min_learning_rate"}
    if row.get("optimizer") == "adamw":
        tables["optimizer"] = {"name": "AdamW"} | tables["optimizer"]
        also.add("optimizer")
    schedule, rate = row.get("schedule"), row.get("learning_rate")
    if schedule in ("cosine", "linear"):
        tables["lr_scheduler"]["decay_type"] = schedule
    else:
        also.discard("schedule")
    if row.get("min_learning_rate") is not None and rate:
        tables["lr_scheduler"]["min_lr_factor"] = _plain(row["min_learning_rate"] / rate)
    names = {f"{t}.{n}": ours for t, own in TORCHTITAN.items() for n, ours in own.items()}
    text = _comments(_left(row, names, frozenset(also)))
    for table, said in tables.items():
        values = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())
        text += f"\n[{table}]\n{values}" if values else ""
    return text


WRITERS: dict[str, Callable[[Row], str]] = {
    "megatron": _megatron,
    "hf": _hf,
    "nanogpt": _nanogpt,
    "torchtitan": _torchtitan,
}
