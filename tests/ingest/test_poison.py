"""A thousand poisoned documents against the split `ncpl-open`: none is trained on unreviewed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.splits import ncpl_names
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.waiting import left_out
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.ingest.submissions.lookup import find_runs

Document = dict[str, Any]
Poison = Callable[[Document, random.Random], None]


def scale(document: Document, factor: float) -> None:
    """Let a run be longer, with everything that says so."""
    schedule, outcome = document["schedule"], document["outcome"]
    steps = schedule.get("train_steps")
    for name in ("train_steps", "train_tokens", "nominal_train_tokens"):
        if schedule.get(name):
            schedule[name] = round(schedule[name] * factor)
    if schedule.get("train_tokens") and steps:
        per_step = schedule["batch_size_sequences"] * schedule["sequence_length"]
        schedule["train_tokens"] = schedule["train_steps"] * per_step
    if outcome.get("final_step"):
        outcome["final_step"] = round(outcome["final_step"] * factor)
    for curve in document.get("curves") or ():
        curve["step"] = [round(step * factor) for step in curve["step"]]
        curve.pop("tokens", None)


def move(document: Document, nats: float) -> None:
    """Move every loss of a run."""
    document["outcome"]["final_loss"] += nats
    document["outcome"].pop("metrics", None)
    metric = document["outcome"]["final_loss_metric"]
    own = [c for c in document.get("curves") or () if c["metric"] == metric]
    document["curves"] = [{**c, "value": [v + nats for v in c["value"]]} for c in own]


def round_all(document: Document, digits: int) -> None:
    """Round the losses of a run."""
    document["outcome"]["final_loss"] = round(document["outcome"]["final_loss"], digits)
    for curve in document.get("curves") or ():
        curve["value"] = [round(v, digits) for v in curve["value"]]
    for metric in document["outcome"].get("metrics") or ():
        metric["value"] = round(metric["value"], digits) if "value" in metric else None


def near(document: Document, rng: random.Random) -> None:
    """Move size and tokens by up to four percent, and the loss a little."""
    model = document["model"]
    for name in ("params_total", "params_non_embedding"):
        if model.get(name):
            model[name] = round(model[name] * 1.03)
    scale(document, rng.uniform(0.96, 1.04))
    move(document, rng.uniform(-0.01, 0.01))


def another_metric(document: Document, rng: random.Random) -> None:
    """Call the metric, the data and the tokenizer something else."""
    outcome = document["outcome"]
    old, new = outcome["final_loss_metric"], "train/loss"
    outcome["final_loss_metric"] = new
    outcome.pop("metrics", None)
    document["curves"] = [
        {**c, "metric": new} for c in document.get("curves") or () if c["metric"] == old
    ]
    document["data"] = {"dataset": "own_text", "tokenizer": "own_bpe"}
    move(document, rng.uniform(-0.02, 0.02))


def another_rate(document: Document, rng: random.Random) -> None:
    """Say another learning rate."""
    document["optimizer"]["learning_rate"] *= rng.choice([0.5, 2.0])
    document["optimizer"].pop("learning_rate_groups", None)


def renamed(document: Document, rng: random.Random) -> None:
    """Call the optimizer something else."""
    document["optimizer"]["name"] = rng.choice(["sgd", "own_optimizer", "adafactor"])


POISONS: dict[str, Poison] = {
    "copy": lambda _d, _r: None,
    "rounded to six digits": lambda d, _: round_all(d, 6),
    "rounded to four digits": lambda d, _: round_all(d, 4),
    "steps x 1.06": lambda d, _: scale(d, 1.06),
    "steps x 1.5": lambda d, _: scale(d, 1.5),
    "loss - 0.5": lambda d, _: move(d, -0.5),
    "loss - 0.02": lambda d, _: move(d, -0.02),
    "another optimizer's name": renamed,
    "another learning rate": another_rate,
    "near the group": near,
    "other data and metric": another_metric,
    "without its curves": lambda d, _: (d.pop("curves", None), move(d, -0.1))[0],
}


def poisoned(catalog: Catalog, n: int) -> list[tuple[str, Document]]:
    """Return (kind, document) of poisons made of published runs, held-out ones and others."""
    rng = random.Random(17)
    rows = catalog.read("runs", ["run_id", "source", "source_run", "final_loss", "status"])
    known = [
        row
        for row in rows.to_pylist()
        if row["final_loss"] is not None
        and row["status"] == "finished"
        and row["source_run"] in ncpl_names(row["source"])
    ]
    chosen = rng.sample(known, min(len(known), n))
    runs = find_runs(catalog, [row["run_id"] for row in chosen])
    found = []
    for number, row in enumerate(chosen):
        kind = list(POISONS)[number % len(POISONS)]
        document = json.loads(json.dumps(runs[row["run_id"]].to_document()))
        document |= {"run_id": f"labx/{number}", "source": "labx"}
        for name in ("same_as", "source_run", "evals"):
            document.pop(name, None)
        document["provenance"] = {"contributor": "A stranger", "licence": "MIT"}
        POISONS[kind](document, rng)
        found.append((kind, document))
    return found


def caught(documents: Sequence[tuple[str, Document]], root: Path, folder: Path) -> Counter[Any]:
    """Submit documents and return how many of each kind each check caught."""
    file = folder / "poison.jsonl"
    file.write_text("".join(json.dumps(d) + "\n" for _, d in documents))
    done = CliRunner().invoke(main, ["submit", str(file), "--catalog", str(root), "--json"])
    result = json.loads(done.stdout)
    found: Counter[Any] = Counter()
    kinds = {document["run_id"]: kind for kind, document in documents}
    for problem in {p["run_id"]: p for p in reversed(result["problems"])}.values():
        by = "repeats a run" if problem["rule"] == "duplicate" else "contradicts itself"
        found[kinds.pop(problem["run_id"]), by] += 1
    catalog = Catalog(root)
    for one in left_out(catalog, catalog.manifest()):
        words = one.reason.split(" of ")[0] if one.published else "comparable with published losses"
        found[kinds.pop(one.run_id), f"waits: {words}"] += 1
    for kind in kinds.values():
        found[kind, "entered"] += 1
    return found


def trained_on(catalog: Catalog) -> set[str]:
    """Return the runs of contributors in train of `ncpl-open`."""
    splits = pq.read_table(take_snapshot(catalog, policy="ncpl-open").path / "splits.parquet")
    return {
        row["run_id"]
        for row in splits.to_pylist()
        if row["split"] == "train" and row["run_id"].startswith("labx/")
    }


@pytest.mark.parametrize("n", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_poisoned_document_is_trained_on_unreviewed(
    n: int, filled: Catalog, tmp_path: Path
) -> None:
    if n == 1000:
        ingest(SOURCES["marin"], filled, offline=True)
        ingest(SOURCES["losscast"], filled, offline=True)
    documents = poisoned(filled, n)
    before = take_snapshot(filled, policy="ncpl-open").id
    found = caught(documents, filled.root, tmp_path)
    for (kind, by), count in sorted(found.items()):
        print(f"{kind:28} {by:45} {count:5}")
    assert sum(found.values()) == n
    assert not [key for key in found if key[1] == "entered"]
    assert trained_on(filled) == set()
    assert take_snapshot(filled, policy="ncpl-open").id == before


def test_what_a_maintainer_accepts_still_gives_no_held_out_run_away(
    filled: Catalog, tmp_path: Path
) -> None:
    kept = [(k, d) for k, d in poisoned(filled, 240) if k in ("steps x 1.06", "loss - 0.02")]
    names = ncpl_names("steplaw")
    caught(kept, filled.root, tmp_path)
    waiting = left_out(filled, filled.manifest())
    assert waiting
    place = ["--catalog", str(filled.root)]
    accept = ["review", "accept", "labx/", "--reason", "a test", *place]
    assert CliRunner().invoke(main, accept).exit_code == 0
    assert left_out(filled, filled.manifest()) == []
    stored = {row["run_id"]: row["source_run"] for row in filled.read("runs").to_pylist()}
    held_out = {
        one.run_id
        for one in waiting
        if one.published and names.get(stored[one.published] or "") in ("id", "ood")
    }
    entered = trained_on(filled)
    assert entered
    assert held_out
    assert not entered & held_out
