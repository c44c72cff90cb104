"""The board: every method fitted on the training rows, scored on the held-out parts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.learners import NotApplicableError, PredictedLosses
from ncpl.bench.methods import Method
from ncpl.bench.part import Part
from ncpl.bench.quoted import QUOTED
from ncpl.data.snapshot import Family, Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.scores import SPLITS, score

Array = npt.NDArray[np.float64]
FORMAT = "ncpl-board/1"
RESAMPLES = 1000
MIN_TRAIN = 50
"""Families with fewer training runs are left out of the board."""
log = logging.getLogger("ncpl.bench")


@dataclass
class Board:
    """Scores, and how long each method took (kept apart: it changes from run to run)."""

    about: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    seconds: list[dict[str, Any]] = field(default_factory=list)
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Predicted and measured losses of every part, for the figures."""

    def to_json(self) -> dict[str, Any]:
        """Return the board without timings: the same snapshot gives the same bytes."""
        return {"format": FORMAT, **self.about, "rows": self.rows, "left_out": self.left_out}


def frozen(snapshot: Snapshot, split: str) -> Runs:
    """Return the runs, if runs and split are the frozen ones of the manifest.

    Raises SnapshotError if a file differs from its hash, has none, or the split is another policy.
    """
    policy = (snapshot.manifest.get("selection") or {}).get("policy")
    if policy is not None and policy != split:
        raise SnapshotError(
            f"{snapshot.path} carries the split {policy!r}, not {split!r}; take another snapshot: "
            f"ncpl-data snapshot --split {split}"
        )
    for table in ("runs", "splits"):
        for entry in snapshot.manifest["tables"][table]:
            if not entry.get("sha256"):
                raise SnapshotError(
                    f"{snapshot.path}: the manifest gives no sha256 of {entry['path']}, so the "
                    "board cannot know that it is the frozen one; take it again: ncpl-data snapshot"
                )
    return snapshot.runs()


def run_board(
    snapshot: Snapshot,
    methods: Sequence[Method],
    *,
    split: str = "ncpl",
    sources: Sequence[str] = (),
    seed: int = 0,
    on_method: Callable[[str, str], None] | None = None,
) -> Board:
    """Return the board of these methods on a snapshot; `sources` empty means all of them."""
    runs = frozen(snapshot, split)
    board = Board(
        about={
            "snapshot_id": snapshot.id,
            "split": split,
            "seed": seed,
            "split_files": [e["sha256"] for e in snapshot.manifest["tables"]["splits"]],
            "unit": "nats per token",
            "parts": [],
        }
    )
    for family in runs.families():
        if sources and family[0] not in sources:
            continue
        train = _complete(Part(runs.where(family=family, split="train")))
        if len(train) < MIN_TRAIN:
            reason = f"{len(train)} training runs with size, data, rate and batch"
            board.left_out.append({"source": family[0], "method": "all", "reason": reason})
            continue
        _family(board, runs, family, train, methods, seed, on_method)
    if not board.rows:
        raise SnapshotError(
            f"{snapshot.path}: no source has {MIN_TRAIN} training runs in the split {split!r}; "
            "see: ncpl-data coverage"
        )
    return board


def _complete(part: Part) -> Part:
    return part if part.has_recipe.all() else part.take(part.has_recipe)


def _family(
    board: Board,
    runs: Runs,
    family: Family,
    train: Part,
    methods: Sequence[Method],
    seed: int,
    on_method: Callable[[str, str], None] | None,
) -> None:
    source = family[0]
    parts = {s: _complete(Part(runs.where(family=family, split=s))) for s in SPLITS}
    parts = {s: part for s, part in parts.items() if len(part)}
    board.about["parts"].append(
        {
            "source": source,
            "metric": family[1],
            "runs": {"train": len(train), **{s: len(part) for s, part in parts.items()}},
            "groups": {s: len(set(part.runs.group)) for s, part in parts.items()},
        }
    )
    for s, part in parts.items():
        board.points[f"{source}/{s}"] = {"measured": part.loss, "predicted": {}}
    for method in methods:
        if on_method is not None:
            on_method(source, method.name)
        began = time.perf_counter()
        try:
            predictor = method.fit(train, seed)
            fitted = time.perf_counter()
            predicted = {s: predictor(part) for s, part in parts.items()}
        except NotApplicableError as error:
            board.left_out.append({"source": source, "method": method.name, "reason": str(error)})
            continue
        done = time.perf_counter()
        board.seconds.append(
            {
                "source": source,
                "method": method.name,
                "fit_seconds": fitted - began,
                "predict_seconds": done - fitted,
            }
        )
        for s, part in parts.items():
            board.rows.append(_row(source, s, method, part, predicted[s], seed))
            if method.predicts_loss:
                board.points[f"{source}/{s}"]["predicted"][method.name] = predicted[s].loss
    for quoted in QUOTED:
        if quoted.source == source and quoted.split in parts:
            values = asdict(quoted)
            where = values.pop("where")
            board.rows.append({**values, "kind": "quoted", "n": None, "quoted_from": where})


def _row(
    source: str, split: str, method: Method, part: Part, predicted: PredictedLosses, seed: int
) -> dict[str, Any]:
    interval = None
    if predicted.low is not None and predicted.high is not None:
        interval = (predicted.low, predicted.high)
    found: dict[str, Any] = asdict(score(predicted.loss, part.loss, part.runs.group, interval))
    if not method.reads_recipe:  # one loss a group: the first row of a tie is no choice
        found["spearman_in_group"] = found["choice_gap_percent"] = None
    error = predicted.loss - part.loss
    if not method.predicts_loss:
        found["mae"] = found["rmse"] = found["spearman"] = None
    row = {"source": source, "split": split, "method": method.name, "kind": method.kind, **found}
    row["saw_test"] = method.saw_test
    if method.predicts_loss:
        row["bias"] = float(error.mean())
        row["mae_90"] = bootstrap(np.abs(error), part.runs.group, seed)
        row["by_size"] = _by(error, [f"{n / 1e6:.0f}M" for n in part.sizes[0]])
        row["by_optimizer"] = _by(error, part.optimizer)
    shown: dict[str, Any] = rounded(row)
    return shown


def _by(error: Array, keys: Sequence[str]) -> list[dict[str, Any]]:
    names = np.array(keys)
    ordered = sorted(set(keys), key=lambda k: (len(k), k))
    return [
        {
            "of": name,
            "n": int((names == name).sum()),
            "mae": float(np.abs(error[names == name]).mean()),
            "bias": float(error[names == name].mean()),
        }
        for name in ordered
    ]


def bootstrap(absolute: Array, groups: Sequence[str | None], seed: int) -> list[float]:
    """Return the 90% interval of the mean, whole groups drawn with replacement.

    Runs of a group share their size, budget and most of their error: drawing runs would pretend
    to far more evidence than there is.
    """
    names = np.array([g or "" for g in groups])
    distinct = sorted(set(names.tolist()))
    total = np.array([absolute[names == name].sum() for name in distinct])
    count = np.array([(names == name).sum() for name in distinct])
    draws = np.random.default_rng(seed).integers(len(distinct), size=(RESAMPLES, len(distinct)))
    means = total[draws].sum(1) / count[draws].sum(1)
    return [float(v) for v in np.quantile(means, [0.05, 0.95])]


def rounded(value: Any) -> Any:
    """Return JSON values with floats at 6 digits; what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
