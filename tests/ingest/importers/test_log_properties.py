"""Any log with a restart, a NaN, a repeated step or a unit word at a random place is never wrong.

A made run is written in the form of each importer, with one disturbance at a random place. What
comes back is what the disturbed log says, with the disturbance told, or a refusal in words.
"""

import json
import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers import importer
from ncpl_data.ingest.importers.base import Options

FAST, SLOW = 50, 1000
Row = tuple[int, str, float]
"""(step, "train" or "val", value)."""


@dataclass
class Case:
    """A log, and what it must give."""

    rows: list[Row]
    expected: dict[int, float]
    """The training losses of the run."""
    kind: str
    told: bool = True
    """Whether a note or a refusal is due."""
    launches: list[int] = field(default_factory=lambda: [0])
    """Index of the first row of each launch."""


def made(chance: random.Random, start: float = 10.0) -> list[Row]:
    """Return the rows of a run: losses fall, evaluations stand beside every third step."""
    every = chance.choice((1, 10, 50))
    n, level = chance.randint(6, 14), chance.uniform(2, 4)
    rows: list[Row] = []
    for index in range(n):
        loss = round(level + (start - level) * math.exp(-index / 3) + chance.uniform(0, 0.05), 4)
        rows.append((index * every, "train", loss))
        if index % 3 == 2:
            rows.append((index * every, "val", round(loss + 0.1237, 4)))
    return rows


def losses(rows: list[Row]) -> dict[int, float]:
    return {step: value for step, name, value in rows if name == "train"}


def disturbed(chance: random.Random) -> Case:
    """Return a run with one disturbance."""
    rows = made(chance)
    steps = sorted(losses(rows))
    kind = chance.choice(("none", "resumed", "again", "stage", "nan_end", "nan_inside", "repeated"))
    if kind == "resumed":
        at = chance.randrange(2, len(steps))
        later = [(s, n, round(v - 0.01, 4)) for s, n, v in rows if s >= steps[at]]
        later = later[: chance.randint(1, len(later))]
        if later[-1][1] == "val" and len(later) == 1:
            later = [(steps[at], "train", 5.0)]
        kept = {s: v for s, v in losses(rows).items() if s < steps[at]}
        return Case(rows + later, kept | losses(later), kind, launches=[0, len(rows)])
    if kind == "again":
        other = made(chance)
        return Case(rows + other, losses(other), kind, launches=[0, len(rows)])
    if kind == "stage":
        end = rows[-1][2]
        other = [(s, n, round(end - 0.01 * i, 4)) for i, (s, n, _) in enumerate(made(chance))]
        return Case(rows + other, losses(rows), kind, launches=[0, len(rows)])
    if kind == "nan_end":
        at = chance.randrange(1, len(steps))
        lost = [(s, n, math.nan if s >= steps[at] else v) for s, n, v in rows]
        return Case(lost, {s: v for s, v in losses(rows).items() if s < steps[at]}, kind)
    if kind == "nan_inside":
        at = steps[chance.randrange(1, len(steps) - 1)]
        lost = [(s, n, math.nan if s == at and n == "train" else v) for s, n, v in rows]
        return Case(lost, {s: v for s, v in losses(rows).items() if s != at}, kind)
    if kind == "repeated":
        index = chance.choice([i for i, row in enumerate(rows) if row[1] == "train"])
        step, name, value = rows[index]
        again = (step, name, round(value + 0.5, 4))
        return Case(
            [*rows[: index + 1], again, *rows[index + 1 :]], losses(rows) | {step: again[2]}, kind
        )
    return Case(rows, losses(rows), kind, told=False)


def number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.4f}"


def as_nanogpt(case: Case, folder: Path) -> Path:
    lines = [
        f"iter {s}: loss {number(v)}, time 1ms"
        if n == "train"
        else f"step {s}: train loss 1.0, val loss {number(v)}"
        for s, n, v in case.rows
    ]
    return written(folder / "a.log", lines)


def as_llm_c(case: Case, folder: Path) -> Path:
    lines = [
        f"s:{s} trl:{number(v)} lr:0.0001" if n == "train" else f"s:{s} tel:{number(v)}"
        for s, n, v in case.rows
    ]
    return written(folder / "a.log", lines)


def as_megatron(case: Case, folder: Path) -> Path:
    lines = [
        f" iteration {s:8d}/   10000 | learning rate: 1.0E-04 | lm loss: {number(v)} | x: 1 |"
        if n == "train"
        else f" validation loss at iteration {s} | lm loss value: {number(v)} | lm loss "
        f"PPL: {math.exp(v):.4E} |"
        for s, n, v in case.rows
    ]
    return written(folder / "a.log", lines)


def as_torchtitan(case: Case, folder: Path) -> Path:
    lines = [
        f"[rank0]: step: {s:2d}  loss: {number(v)}  memory: 1GiB"
        if n == "train"
        else f"[rank0]: validate step: {s:2d}  loss: {number(v)}  memory: 1GiB"
        for s, n, v in case.rows
    ]
    return written(folder / "a.log", lines)


def as_olmo(case: Case, folder: Path) -> Path:
    lines = []
    for s, n, v in case.rows:
        if n == "train":
            lines += [f"x INFO [step={s}/9999,epoch=0]", f"    train/CrossEntropyLoss={number(v)}"]
    return written(folder / "a.log", lines)


def as_rows(case: Case, folder: Path) -> Path:
    lines = [
        json.dumps({"current_steps": s, "total_steps": 10_000, KEYS[n]: v}) for s, n, v in case.rows
    ]
    return written(folder / "a.jsonl", lines)


KEYS = {"train": "loss", "val": "eval_loss"}
TAGS = {"train": "train/loss", "val": "eval/loss"}


def as_trainer(case: Case, folder: Path) -> Path:
    history = [{"step": s, KEYS[n]: v} for s, n, v in case.rows]
    return written(folder / "trainer_state.json", [json.dumps({"log_history": history})])


def as_mlflow(case: Case, folder: Path) -> Path:
    run = folder / "1" / "0123456789abcdef"
    (run / "metrics" / "train").mkdir(parents=True)
    (run / "metrics" / "eval").mkdir(parents=True)
    written(run / "meta.yaml", ["run_id: a", "lifecycle_stage: active"])
    for name, tag in TAGS.items():
        lines = [
            f"{1000 + i} {number(v)} {s}" for i, (s, n, v) in enumerate(case.rows) if n == name
        ]
        if lines:
            written(run / "metrics" / tag, lines)
    return folder


def as_tensorboard(case: Case, folder: Path) -> Path:
    ends = [*case.launches[1:], len(case.rows)]
    for part, (first, end) in enumerate(zip(case.launches, ends, strict=True)):
        content = b""
        for index in range(first, end):
            step, name, value = case.rows[index]
            tag = TAGS[name].encode()
            scalar = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
            summary = b"\x0a" + bytes([len(scalar)]) + scalar
            event = b"\x09" + struct.pack("<d", 1000.0 + index) + b"\x10" + varint(step)
            event += b"\x2a" + bytes([len(summary)]) + summary
            content += struct.pack("<Q", len(event)) + b"\0" * 4 + event + b"\0" * 4
        (folder / f"events.out.tfevents.{1000 + part}.host").write_bytes(content)
    return folder


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def as_wandb(case: Case, folder: Path) -> Path:
    lines = [
        json.dumps({"_step": i, "global_step": s, TAGS[n]: "NaN" if math.isnan(v) else v})
        for i, (s, n, v) in enumerate(case.rows)
    ]
    written(folder / "history.jsonl", lines)
    return folder


def as_table(case: Case, folder: Path) -> Path:
    lines = ["step,train/loss,eval/loss"]
    lines += [f"{s},{number(v)}," if n == "train" else f"{s},,{number(v)}" for s, n, v in case.rows]
    return written(folder / "points.csv", lines)


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


FORMS: dict[str, tuple[str, Callable[[Case, Path], Path]]] = {
    "nanogpt": ("log", as_nanogpt),
    "llm_c": ("log", as_llm_c),
    "megatron": ("log", as_megatron),
    "torchtitan": ("log", as_torchtitan),
    "olmo": ("log", as_olmo),
    "rows": ("log", as_rows),
    "trainer": ("hf", as_trainer),
    "mlflow": ("mlflow", as_mlflow),
    "tensorboard": ("tensorboard", as_tensorboard),
    "wandb": ("wandb", as_wandb),
    "table": ("csv", as_table),
}


def check(layout: str, write: Callable[[Case, Path], Path], case: Case, folder: Path) -> None:
    """Assert that a disturbed log gives what it says, told, or a refusal."""
    options = Options(source="lab")
    try:
        (document,) = importer(layout)(str(write(case, folder)), options)
    except InputError:
        if not case.told:
            raise
        return
    curves = {c["metric"]: c for c in document.get("curves", ())}
    train = curves.get("train/loss")
    found = dict(zip(train["step"], train["value"], strict=True)) if train else {}
    assert found == pytest.approx(case.expected, abs=1e-5), case.kind
    outcome = document["outcome"]
    if case.kind == "nan_end":
        assert outcome["status"] == "diverged"
        assert "final_loss" not in outcome
        return
    loss = outcome["final_loss"]
    assert loss == pytest.approx(curves[outcome["final_loss_metric"]]["value"][-1])
    # Of a table without an order, pandas' NaN is a gap; everything else is told.
    is_gap = case.kind == "nan_inside" and layout == "csv"
    assert options.notes or not case.told or is_gap, case.kind


@pytest.mark.parametrize("form", FORMS)
def test_a_disturbed_log_is_split_purged_marked_or_refused(form: str, tmp_path: Path) -> None:
    run_cases(form, FAST, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_thousand_disturbed_logs_are_never_wrong(form: str, tmp_path: Path) -> None:
    run_cases(form, SLOW, tmp_path)


def run_cases(form: str, n_cases: int, folder: Path) -> None:
    layout, write = FORMS[form]
    for seed in range(n_cases):
        own = folder / str(seed)
        own.mkdir()
        case = disturbed(random.Random(seed))
        try:
            check(layout, write, case, own)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {case.kind}: {case.rows}") from error


WORDS = ("BPC", "bpb", "bits per byte", "bits/char", "bits per token", "in bits")


@pytest.mark.parametrize("n_cases", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_a_unit_word_at_any_place_is_no_loss_in_nats(n_cases: int, tmp_path: Path) -> None:
    """Behind a number, at the end of a line, or on a line of its own."""
    for seed in range(n_cases):
        chance = random.Random(seed)
        rows = made(chance)
        path = as_nanogpt(Case(rows, {}, "unit"), tmp_path)
        lines = path.read_text().splitlines()
        word, index = chance.choice(WORDS), chance.randrange(len(lines))
        place = chance.choice(("behind", "end", "own line"))
        if place == "own line":
            lines.insert(index, f"all losses are {word}")
        elif place == "end":
            lines[index] += f" ({word})"
        else:
            head, comma, rest = lines[index].rpartition(", time")
            lines[index] = f"{head} {word}{comma}{rest}" if comma else f"{lines[index]} {word}"
        written(path, lines)
        options = Options(source="lab")
        try:
            (document,) = importer("log")(str(path), options)
        except InputError:
            continue
        touched = "val" if place != "own line" and "val loss" in lines[index] else "train"
        units = {m["name"]: m["unit"] for m in document["outcome"]["metrics"]}
        names = units if place == "own line" else {m for m in units if touched in m}
        assert all(units[m] != "nats_per_token" for m in names if "loss" in m), (seed, place, word)
        assert options.notes
