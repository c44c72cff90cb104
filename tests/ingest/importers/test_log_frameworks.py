"""The lines of each training program: what a log states, and the matrix of docs/logs.md."""

import re
from pathlib import Path
from typing import Any

import pytest

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers import importer
from ncpl_data.ingest.importers.base import Options
from ncpl_data.ingest.submissions.documents import Document
from ncpl_data.ingest.submissions.finding import checked

ROOT = Path(__file__).parents[3]
LOGS = ROOT / "tests" / "fixtures" / "logs"
PAGE = ROOT / "docs" / "logs.md"
NOT_STATED = "not stated by this log"


def convert(layout: str, path: Path, **options: Any) -> tuple[dict, list[str]]:
    chosen = Options(source="lab", **options)
    (document,) = importer(layout)(str(path), chosen)
    return document, chosen.notes


def points(document: dict, metric: str) -> dict[int, float]:
    (found,) = [c for c in document["curves"] if c["metric"] == metric]
    return dict(zip(found["step"], found["value"], strict=True))


TRAIN, HELD_OUT = "train/loss", "validation/loss"
LINES: dict[str, dict[str, Any]] = {
    "megatron.log": {
        TRAIN: {100: 6.043863, 200: 5.044022, 300: 4.644022},
        HELD_OUT: {300: 4.702},
        "train_steps": 300,
        "batch_size_sequences": 128,
        "warmup_steps": 3,  # a share of lr_decay_iters
        "n_layers": 12,
    },
    "gpt_neox.log": {
        TRAIN: {10: 10.95418, 20: 10.83125},
        HELD_OUT: {20: 10.71},
        "batch_size_sequences": 512,
        "warmup_steps": 3200,
        "learning_rate": 6e-4,
        "n_layers": 12,
    },
    "megatron_deepspeed.log": {TRAIN: {1: 12.41375, 2: 12.4011}, "train_tokens": 5000 * 65536},
    "torchtitan.log": {
        TRAIN: {1: 8.1378, 3: 4.9925, 10: 3.9119},
        HELD_OUT: {10: 4.0119},
        "batch_size_sequences": 64,
        "warmup_steps": 2,
        "params_total": 6_139_136,
    },
    "nanotron.log": {TRAIN: {991: 10.6, 992: 10.5}, "batch_size_sequences": 20},
    "maxtext.log": {
        TRAIN: {0: 10.874, 9: 10.371},
        HELD_OUT: {9: 10.402},
        "batch_size_sequences": 32,
        "n_layers": 16,
        "learning_rate": 3e-05,
    },
    "nemo.log": {
        TRAIN: {0: 11.02, 1: 9.761, 5: 7.918, 8: 7.113},
        HELD_OUT: {5: 8.106},  # every later line repeats it
        "batch_size_sequences": 32,
    },
    "nemo_bar.log": {TRAIN: {794: 3.09, 795: 3.08}},
    "fairseq.log": {TRAIN: {445: 11.521, 495: 11.346}, HELD_OUT: {495: 8.114}},
    "mlx.log": {TRAIN: {10: 7.363, 20: 6.508}, HELD_OUT: {1: 7.48, 20: 6.612}},
    "litgpt.log": {
        TRAIN: {610140: 2.846, 610150: 2.75, 610160: 2.815},
        "params_total": 124_439_808,
    },
    "olmo.log": {TRAIN: {1: 12.18, 2: 11.98}, "train_steps": 739_328},
    "olmo_core.log": {TRAIN: {10: 10.11, 20: 9.511}, "train_tokens": 262_144_000},
    "composer.log": {
        TRAIN: {365: 10.4375, 366: 10.375},
        HELD_OUT: {366: 10.4012},
        "train_steps": 48_000,
    },
    "levanter.log": {TRAIN: {100: 9.87, 172: 8.71}},
    "trainer_console.log": {TRAIN: {100: 6.1, 200: 5.3}, "train_steps": 200},
    "swift_logging.jsonl": {TRAIN: {5: 1.53, 10: 1.47}, "eval/loss": {10: 1.49}},
    "llama2c.log": {TRAIN: {0: 10.421, 10: 9.375, 500: 4.125, 510: 4.1}, "learning_rate": 9e-4},
    "nanochat.log": {
        "train/loss_smoothed": {0: 11.090355, 21399: 2.719005},
        "validation/bpb": {0: 3.3013, 21400: 0.8118},
        "n_layers": 20,
        "d_model": 1280,
        "vocab_size": 65_536,
        "params_total": 560_988_160,
        "batch_size_sequences": 256,
        "train_tokens": 11_219_763_200,
    },
}
"""What each excerpt states, read by hand: curves by step, and fields."""


@pytest.mark.parametrize("file", LINES)
def test_a_log_gives_what_its_lines_say(file: str) -> None:
    document, _ = convert("log", LOGS / "text" / file)
    assert checked(Document(file, document))[1] == []
    fields = {
        k: v for s in ("model", "optimizer", "schedule") for k, v in document.get(s, {}).items()
    }
    for name, expected in LINES[file].items():
        assert (points(document, name) if isinstance(expected, dict) else fields[name]) == expected


def test_every_excerpt_has_its_line_in_the_table() -> None:
    assert {p.name for p in (LOGS / "text").iterdir()} == {*LINES, "README.md"}


def test_fairseq_counts_in_bits_and_its_perplexity_says_so() -> None:
    document, _ = convert("log", LOGS / "text" / "fairseq.log")
    units = {m["name"]: m["unit"] for m in document["outcome"]["metrics"]}
    assert (units[TRAIN], units[HELD_OUT]) == ("bits_per_token", "bits_per_token")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iter 10: loss 3,2100, time 1ms\n", "is the comma a decimal mark"),
        ("{'loss': 6.1, 'learning_rate': 5e-4, 'epoch': 0.5}\n", "states no steps"),
        ("epoch 1 of 3 training loss so far 3.21\n", "Say its form: --line"),
        ("nothing at all\n", "no line of a known form"),
        ("iter 1: loss 3.2, time 1\n" + "my val loss is 3.3\n", "looks like a held-out loss"),
        (
            "".join(f"iter {i}: loss 3.{i}, time 1\n[{i}] loss -> 4.{i}\n" for i in range(9)),
            "9 of 18 lines that hold a metric are of no known form",
        ),
        (
            "".join(
                f"iter {i}: loss 9.{i}, time 1\niter {i}: loss 3.{i}, time 1\n" for i in range(9)
            ),
            "lines of several ranks or runs",
        ),
        (
            "iter 1: loss 3.2, time 1\niter 2: loss 0.0, time 1\n",
            "no language model has a loss of 0",
        ),
        ("Iter 1: Train loss 2.1, It/sec 1\nSaved adapter weights to a.npz.\n", "/stage=sft"),
    ],
)
def test_what_can_not_be_read_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(text)
    with pytest.raises(InputError) as caught:
        convert("log", tmp_path / "a.log")
    assert words in str(caught.value)


def test_a_form_the_user_says_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("[ 10] my loss -> 4.1 (ok)\n[ 20] my loss -> 4.0 (ok)\n")
    document, _ = convert(
        "log", tmp_path / "a.log", lines=((TRAIN, "[ {step}] my loss -> {value} (ok)"),)
    )
    assert points(document, TRAIN) == {10: 4.1, 20: 4.0}


MATRIX: dict[str, tuple[str, str]] = {
    "Megatron-LM": ("log", "text/megatron.log"),
    "GPT-NeoX": ("log", "text/gpt_neox.log"),
    "Megatron-DeepSpeed": ("log", "text/megatron_deepspeed.log"),
    "torchtitan": ("log", "text/torchtitan.log"),
    "nanotron": ("log", "text/nanotron.log"),
    "MaxText": ("log", "text/maxtext.log"),
    "NeMo": ("log", "text/nemo.log"),
    "fairseq": ("log", "text/fairseq.log"),
    "MLX": ("log", "text/mlx.log"),
    "litgpt": ("log", "text/litgpt.log"),
    "OLMo": ("log", "text/olmo.log"),
    "OLMo-core": ("log", "text/olmo_core.log"),
    "Composer": ("log", "text/composer.log"),
    "Levanter": ("log", "text/levanter.log"),
    "nanoGPT": ("log", "cases/08-nanogpt-override/override.log"),
    "nanochat": ("log", "text/nanochat.log"),
    "llm.c": ("log", "cases/02-llmc-stdout/run.log"),
    "modded-nanogpt": ("log", "modded_nanogpt_soap.txt"),
    "build-nanogpt": ("log", "cases/11-other-frameworks/build_nanogpt_stdout.out"),
    "llama2.c": ("log", "text/llama2c.log"),
    "Trainer's console": ("log", "text/trainer_console.log"),
    "Trainer's folder": ("hf", "huggingface"),
    "LLaMA-Factory": ("hf", "cases/10-hf-folder/trainer_log.jsonl"),
    "ms-swift": ("log", "text/swift_logging.jsonl"),
    "Lightning's metrics.csv": ("csv", "cases/12-curve-only-csv/lightning/metrics.csv"),
    "W&B export": ("wandb", "cases/03-wandb-iter-axis/run"),
    "MLflow": ("mlflow", "cases/13-mlflow/hf_callback"),
    "TensorBoard": ("tensorboard", "cases/07-megatron-tb"),
}
"""The log behind each row of the matrix."""

COLUMNS = ("curve", "steps", "tokens", "learning rate", "batch", "shape", "schedule", "divergence")


def cells(name: str, tmp_path: Path) -> list[str]:
    """Return a row of the matrix, as its log gives it."""
    layout, path = MATRIX[name]
    document, _ = convert(layout, LOGS / path)
    schedule, curves = document.get("schedule", {}), document.get("curves", [])
    has = [
        any("loss" in c["metric"] for c in curves),
        "train_steps" in schedule,
        "train_tokens" in schedule or any("tokens" in c for c in curves),
        "learning_rate" in document.get("optimizer", {})
        or any(re.search(r"(learning.rate|/lr|^lr)$", c["metric"]) for c in curves),
        "batch_size_sequences" in schedule,
        bool({"n_layers", "params_total"} & document.get("model", {}).keys()),
        "shape" in schedule or "warmup_steps" in schedule,
        diverges(layout, LOGS / path, tmp_path),
    ]
    return ["yes" if cell else NOT_STATED for cell in has]


def diverges(layout: str, path: Path, folder: Path) -> bool:
    """Return whether the log with its last training losses lost is one of a diverged run."""
    if layout != "log":
        return True  # test_log_properties loses the losses of these
    text = path.read_text("utf-8")
    loss = re.compile(r"([lL]oss[^\d\n]{1,9}|trl:|CrossEntropy: )\d+\.\d+(E[+-]\d+)?(?!.*PPL)")
    lines = text.splitlines()
    held_out = re.compile(r"^(?!.*(train|iter )).*(val|eval|hella)", re.IGNORECASE)
    known = [i for i, line in enumerate(lines) if loss.search(line) and not held_out.search(line)]
    for index in known[len(known) // 2 :]:
        lines[index] = loss.sub(lambda m: f"{m[1]}nan", lines[index])
    (folder / path.name).write_text("\n".join(lines) + "\n")
    document, _ = convert(layout, folder / path.name)
    return document["outcome"].get("status") == "diverged"


@pytest.mark.parametrize("name", MATRIX)
def test_the_matrix_says_what_each_log_gives(name: str, tmp_path: Path) -> None:
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| ")
    ]
    head = next(row for row in rows if row[1:] == list(COLUMNS))
    assert len(head) == len(COLUMNS) + 1
    (row,) = [row for row in rows if row[0] == name and len(row) == len(head)]
    assert row[1:] == cells(name, tmp_path)
