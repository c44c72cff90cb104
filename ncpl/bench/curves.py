"""The curve board: predicted loss along a run, beside what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench import curve_methods as methods
from ncpl.bench import schedule_studies as studies
from ncpl.bench.board import frozen
from ncpl.bench.curve_methods import CurvePredictor
from ncpl.bench.curve_points import CurvePoints, points_of, scores_of
from ncpl.bench.learners import NotApplicableError
from ncpl.bench.methods import OWN_FIT, SEEN_DRIFT, SEEN_FORM, chinchilla_refit
from ncpl.bench.part import Part
from ncpl.data.snapshot import Family, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.scores import SPLITS
from ncpl.laws import chinchilla
from ncpl.laws.multipower import multipower
from ncpl.laws.tissue import tissue
from ncpl.model.bundle import Bundle

Array = npt.NDArray[np.float64]
MIN_POINTS = 100
SHOWN_CURVES = 4
FORMAT = "ncpl-curve-board/1"


@dataclass
class CurveBoard:
    """Scores of curves, the points they are scored on, and some curves for the figures."""

    about: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    seconds: list[dict[str, Any]] = field(default_factory=list)
    wanted: list[tuple[str, int]] = field(default_factory=list)
    """(run_id, step) of every scored point of the split's sources."""
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A few measured and predicted curves a part."""

    def to_json(self) -> dict[str, Any]:
        """Return the board without timings: the same snapshot gives the same bytes."""
        return {"format": FORMAT, **self.about, "rows": self.rows, "left_out": self.left_out}


def run_curves(
    snapshot: Snapshot,
    joined: Sequence[tuple[str, Path]] = (),
    bundles: Sequence[tuple[str, Bundle]] = (),
    *,
    split: str = "ncpl",
    sources: Sequence[str] = (),
    seed: int = 0,
    on_method: Callable[[str, str], None] | None = None,
) -> CurveBoard:
    """Return the curve board; `sources` empty means all that have curves.

    Raises SnapshotError where no source has curves of its training runs.
    """
    runs = frozen(snapshot, split)
    board = CurveBoard(
        {"snapshot_id": snapshot.id, "split": split, "seed": seed, "unit": "nats per token"}
    )
    tell = on_method or (lambda _source, _method: None)
    for family in runs.families():
        if sources and family[0] not in sources:
            continue
        measured = snapshot.curves(family[1])
        parts = {s: Part(runs.where(family=family, split=s)) for s in ("train", *SPLITS)}
        found = {s: points_of(p.take(p.has_recipe), measured) for s, p in parts.items() if len(p)}
        if len(found.get("train", ())) < MIN_POINTS:
            reason = f"fewer than {MIN_POINTS} points on training curves"
            board.left_out.append({"source": family[0], "method": "all", "reason": reason})
            continue
        held = {s: found[s] for s in SPLITS if s in found and len(found[s])}
        _family(board, family, found["train"], held, joined, bundles, seed, tell)
    for source in studies.METRICS:
        if not sources or source in sources:
            cells = studies.cells_of(snapshot, runs, source)
            if cells:
                _study(board, source, cells, seed, tell)
    if not board.rows:
        raise SnapshotError(
            f"{snapshot.path} has no curves of its training runs; take one that has: "
            "ncpl-data ingest losscast --offline, then ncpl-data snapshot"
        )
    return board


def _family(
    board: CurveBoard,
    family: Family,
    train: CurvePoints,
    held: dict[str, CurvePoints],
    joined: Sequence[tuple[str, Path]],
    bundles: Sequence[tuple[str, Bundle]],
    seed: int,
    tell: Callable[[str, str], None],
) -> None:
    Named = list[tuple[str, str, CurvePredictor]]

    def one(name: str, saw: str, make: Callable[[], CurvePredictor]) -> Callable[[], Named]:
        return lambda: [(name, saw, make())]

    def shapes() -> Named:
        finals = [(name, fit(train.part, seed)) for name, fit in methods.final_methods()]
        saw = {"boosted trees": OWN_FIT, "mean of baselines on Chinchilla": SEEN_DRIFT}
        found = methods.tree_shape(train, finals, seed)
        return [
            (f"Boosted trees for the shape, {name}", saw.get(name, SEEN_FORM), predict)
            for name, predict in found
        ]

    def law() -> chinchilla.Chinchilla:
        return chinchilla.fit(*train.part.sizes, train.part.loss, seed=seed)

    def of_law(seen: bool) -> Callable[[], CurvePredictor]:
        return lambda: methods.tree_residual(train, law(), seen=seen, seed=seed)

    makers: list[tuple[str, Callable[[], Named]]] = [
        ("average shape", one(
            "Average shape, Chinchilla refit", OWN_FIT,
            lambda: methods.average_shape(train, chinchilla_refit(train.part, seed)))),
        ("trees on Chinchilla", one(
            "Boosted trees on Chinchilla, final data", OWN_FIT, of_law(seen=False))),
        ("trees on Chinchilla", one(
            "Boosted trees on Chinchilla, data seen so far", OWN_FIT, of_law(seen=True))),
        ("trees for the shape", shapes),
        ("deep power laws", one(
            "Deep power laws", OWN_FIT, lambda: methods.deep_power_law(train, seed))),
        ("tissue", one(
            "Tissue + size term", OWN_FIT, lambda: methods.curve_law(tissue, train, seed))),
        ("multipower", one(
            "Multi-power law + size term", OWN_FIT,
            lambda: methods.curve_law(multipower, train, seed))),
        *((name, one(name, "no: a bundle trained before", partial(methods.of_bundle, own, train)))
          for name, own in bundles),
        *((name, one(name, "not stated: joined from outside", partial(methods.of_file, path)))
          for name, path in joined),
    ]  # fmt: skip
    source = family[0]
    for label, make in makers:
        tell(source, label)
        began = time.perf_counter()
        try:
            named = make()
            predicted = [
                (name, saw, {s: predict(points) for s, points in held.items()})
                for name, saw, predict in named
            ]
        except NotApplicableError as problem:
            board.left_out.append({"source": source, "method": label, "reason": str(problem)})
            continue
        seconds = time.perf_counter() - began
        board.seconds.append({"source": source, "method": label, "seconds": seconds})
        for name, saw, losses in predicted:
            for s, points in held.items():
                _add(board, source, s, name, saw, points, losses[s], seed)
    for points in held.values():
        ids = points.part.runs.run_ids
        board.wanted += [(ids[r], int(at)) for r, at in zip(points.run, points.step, strict=True)]


def _study(
    board: CurveBoard,
    source: str,
    cells: Sequence[studies.StudyCell],
    seed: int,
    tell: Callable[[str, str], None],
) -> None:
    splits = sorted({s for cell in cells for s in cell.held})
    held = {
        s: CurvePoints.joined([cell.held[s] for cell in cells if s in cell.held]) for s in splits
    }
    for name, fit in studies.CELL_METHODS.items():
        tell(source, name)
        began = time.perf_counter()
        found: dict[str, list[Array]] = {s: [] for s in splits}
        for cell in cells:
            predict = fit(cell, seed)
            for s, points in cell.held.items():
                found[s].append(predict(points))
        board.seconds.append(
            {"source": source, "method": name, "seconds": time.perf_counter() - began}
        )
        for s in splits:
            _add(board, source, s, name, OWN_FIT, held[s], np.concatenate(found[s]), seed)
    tell(source, "Deep power laws")
    from ncpl.laws.dpl import fit_dpl

    train = CurvePoints.joined([cell.train for cell in cells])
    fitted = fit_dpl(studies.shape_features(train), train.fraction, train.loss, seed=seed)
    for s in splits:
        losses = fitted.predict(studies.shape_features(held[s]), held[s].fraction)[0]
        _add(board, source, s, "Deep power laws", OWN_FIT, held[s], losses, seed)
    reason = "these runs are outside the split that bundles, trees and average shapes are fitted on"
    board.left_out.append(
        {"source": source, "method": "NCPL, trees, average shape", "reason": reason}
    )


def _add(
    board: CurveBoard,
    source: str,
    split: str,
    name: str,
    saw_test: str,
    points: CurvePoints,
    predicted: Array,
    seed: int,
) -> None:
    row = {"source": source, "split": split, "method": name, "saw_test": saw_test}
    board.rows.append(row | scores_of(points, predicted - points.loss, seed))
    shown = board.shown.setdefault(f"{source}/{split}", {"runs": [], "predicted": {}})
    if not shown["runs"]:
        last = [float(points.loss[points.run == r][-1]) for r in np.unique(points.run)]
        order = np.unique(points.run)[np.argsort(last, kind="stable")]
        at = np.linspace(0, len(order) - 1, SHOWN_CURVES + 2)[1:-1].round().astype(int)
        for run in order[np.unique(at)]:
            mine = np.flatnonzero(points.run == run)
            shown["runs"].append(
                {"run_id": points.part.runs.run_ids[run], "rows": mine,
                 "fraction": points.fraction[mine], "loss": points.loss[mine]}
            )  # fmt: skip
    shown["predicted"][name] = [predicted[run["rows"]] for run in shown["runs"]]
