"""The curve board: predicted loss along a run, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq

from ncpl.bench.board import frozen, rounded
from ncpl.bench.design import Design
from ncpl.bench.methods import NotApplicableError, Predictor, chinchilla_refit, trees
from ncpl.bench.part import Part
from ncpl.data import Family, Snapshot
from ncpl.errors import ConfigError, SnapshotError
from ncpl.evaluate import SPLITS

Array = npt.NDArray[np.float64]
POINTS_PER_RUN = 24
MIN_FRACTION = 0.02
SCORED_FRACTION = 0.1
HUBER_DELTA = 0.01


@dataclass(frozen=True)
class Points:
    """Points of many curves: which run of the part, how far along, the loss there."""

    part: Part
    run: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    fraction: Array
    loss: Array


CurvePredictor = Callable[[Points], Array]


def points_of(part: Part, curves: dict[str, tuple[Array, Array]]) -> Points:
    """Return at most 24 points a run, evenly spread over its logged points past 2% of the run."""
    n_steps = part.sizes[1] / part.batch_tokens
    rows: list[tuple[int, Array, Array]] = []
    for i, run_id in enumerate(part.runs.run_ids):
        if run_id not in curves:
            continue
        step, loss = curves[run_id]
        late = np.flatnonzero((step + 1 > MIN_FRACTION * n_steps[i]) & np.isfinite(loss))
        if len(late):
            chosen = late[
                np.unique(np.linspace(0, len(late) - 1, POINTS_PER_RUN).round().astype(int))
            ]
            rows.append((i, step[chosen], loss[chosen]))
    if not rows:
        return Points(part, *(np.empty(0, np.int64),) * 2, np.empty(0), np.empty(0))
    run = np.concatenate([np.full(len(step), i) for i, step, _ in rows])
    step = np.concatenate([step for _, step, _ in rows])
    fraction = np.minimum((step + 1) / n_steps[run], 1.0)
    return Points(part, run, step.astype(np.int64), fraction, np.concatenate([v for *_, v in rows]))


def read_curves(snapshot: Snapshot, metric: str) -> dict[str, tuple[Array, Array]]:
    """Return (steps, losses) of every run that has a curve of this metric."""
    table = snapshot.table("curves", ["run_id", "metric", "step", "value"])
    if table is None:
        return {}
    table = table.filter(pa.compute.equal(table["metric"], metric))
    table = table.sort_by([("run_id", "ascending"), ("step", "ascending")])
    ids = table["run_id"].to_numpy()
    step = table["step"].to_numpy().astype(np.float64)
    value = table["value"].to_numpy()
    names, first = np.unique(ids, return_index=True)
    edges = [*first.tolist(), len(ids)]
    return {
        str(name): (step[a:b], value[a:b])
        for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)
    }


def average_shape(train: Points, final: Predictor) -> CurvePredictor:
    """Return the final loss plus the median distance of training runs from theirs, by fraction."""
    above = train.loss - train.part.loss[train.run]
    edges = np.linspace(0, 1, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    cell = np.clip(np.digitize(train.fraction, edges) - 1, 0, 39)
    known = np.array([c for c in range(40) if (cell == c).any()])
    shape = np.array([np.median(above[cell == c]) for c in known])
    return lambda points: (
        final(points.part).loss[points.run] + np.interp(points.fraction, middle[known], shape)
    )


def tree_shape(train: Points, final: Predictor, seed: int) -> CurvePredictor:
    """Return the final loss plus trees for the distance from it (configuration, fraction)."""
    try:
        import lightgbm
    except ModuleNotFoundError as error:
        raise NotApplicableError("needs LightGBM: pip install ncpl[bench]") from error
    design = Design.of(train.part)

    def rows(points: Points) -> Array:
        whole = design.for_trees(points.part, physics=True)[points.run]
        seen = np.log(points.step + 1.0)
        return np.column_stack([whole, points.fraction, seen])

    settings = {"objective": "l1", "num_leaves": 31, "learning_rate": 0.05, "seed": seed}
    settings |= {"deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}
    above = train.loss - train.part.loss[train.run]
    data = lightgbm.Dataset(rows(train), above, categorical_feature=[4])
    model = lightgbm.train(settings, data, num_boost_round=600)
    return lambda points: (
        final(points.part).loss[points.run] + np.asarray(model.predict(rows(points)))
    )


def of_file(file: Path) -> CurvePredictor:
    """Return predictions read from a CSV or Parquet file: run_id, step, prediction.

    Raises ConfigError where a scored point is missing; `ncpl bench curves --points` lists them.
    """
    try:
        table = pq.read_table(file) if file.suffix == ".parquet" else pa.csv.read_csv(file)
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        values = dict(zip(keys, table["prediction"].to_pylist(), strict=True))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ConfigError(f"{file}: expected columns run_id, step, prediction ({error})") from error

    def predict(points: Points) -> Array:
        ids = points.part.runs.run_ids
        keys = [(ids[r], int(s)) for r, s in zip(points.run, points.step, strict=True)]
        missing = [key for key in keys if key not in values]
        if len(missing) == len(keys):
            raise NotApplicableError("predicts no point of this part")
        if missing:
            raise ConfigError(
                f"{file} lacks {len(missing)} of {len(keys)} scored points, first {missing[0][0]} "
                f"step {missing[0][1]}; list them with: ncpl bench curves --points points.csv"
            )
        return np.array([values[key] for key in keys], dtype=np.float64)

    return predict


def run_curves(
    snapshot: Snapshot,
    joined: Sequence[tuple[str, Path]] = (),
    *,
    split: str = "ncpl",
    seed: int = 0,
) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """Return the curve board as JSON values, and the (run_id, step) of every scored point."""
    runs = frozen(snapshot, split)
    board: dict[str, Any] = {
        "format": "ncpl-curve-board/1", "snapshot_id": snapshot.id, "split": split, "seed": seed,
        "unit": "nats per token", "rows": [], "left_out": [],
    }  # fmt: skip
    wanted: list[tuple[str, int]] = []
    for family in runs.families():
        curves = read_curves(snapshot, family[1])
        parts = {s: Part(runs.where(family=family, split=s)) for s in ("train", *SPLITS)}
        parts = {s: p.take(p.has_recipe) for s, p in parts.items()}
        found = {s: points_of(p, curves) for s, p in parts.items() if len(p)}
        if len(found.get("train", points_of(parts["train"], {})).loss) < 100:
            reason = "fewer than 100 points on training curves"
            board["left_out"].append({"source": family[0], "method": "all", "reason": reason})
            continue
        _family(board, wanted, family, found, joined, seed)
    if not board["rows"]:
        raise SnapshotError(
            f"{snapshot.path} has no curves of its training runs; take one that has: "
            "ncpl-data ingest losscast --offline, then ncpl-data snapshot"
        )
    return board, wanted


def _family(
    board: dict[str, Any],
    wanted: list[tuple[str, int]],
    family: Family,
    found: dict[str, Points],
    joined: Sequence[tuple[str, Path]],
    seed: int,
) -> None:
    train = found["train"]
    boosted = trees(physics=True, on=chinchilla_refit)
    makers: list[tuple[str, Callable[[], CurvePredictor]]] = [
        (
            "Average shape, Chinchilla refit",
            lambda: average_shape(train, chinchilla_refit(train.part, seed)),
        ),
        ("Average shape, boosted trees", lambda: average_shape(train, boosted(train.part, seed))),
        (
            "Boosted trees for shape and final loss",
            lambda: tree_shape(train, boosted(train.part, seed), seed),
        ),
        *((name, partial(of_file, file)) for name, file in joined),
    ]
    held = {s: found[s] for s in SPLITS if s in found and len(found[s].loss)}
    for name, make in makers:
        try:
            predict = make()
            errors = {s: predict(points) - points.loss for s, points in held.items()}
        except NotApplicableError as problem:
            reason = {"source": family[0], "method": name, "reason": str(problem)}
            board["left_out"].append(reason)
            continue
        for s, error in errors.items():
            row = {"source": family[0], "split": s, "method": name}
            board["rows"].append(row | scores_of(held[s], error))
    for points in held.values():
        ids = points.part.runs.run_ids
        wanted += [(ids[r], int(at)) for r, at in zip(points.run, points.step, strict=True)]


def scores_of(points: Points, error: Array) -> dict[str, Any]:
    """Return the scores of one part: past 10% and past 50% of the run."""
    late, half = points.fraction > SCORED_FRACTION, points.fraction > 0.5
    size = np.abs(error[late])
    huber = np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))
    scores: dict[str, Any] = rounded(
        {
            "runs": len(np.unique(points.run)),
            "points": int(late.sum()),
            "mae": float(size.mean()),
            "mae_second_half": float(np.abs(error[half]).mean()),
            "huber": float(huber.mean()),
        }
    )
    return scores


def markdown(board: dict[str, Any]) -> str:
    """Return the curve board as Markdown."""
    lines = [
        f"# NCPL curve board, split {board['split']}",
        "",
        f"Snapshot {board['snapshot_id']}, seed {board['seed']}. MAE in nats per token over points "
        f"past 10% (and past 50%) of the run, at most {POINTS_PER_RUN} a run; Huber: delta .01.",
        "",
        "| source | split | method | runs | points | MAE | MAE past 50% | Huber x 1e4 |",
        "|" + "---|" * 8,
    ]
    order = {"id": 0, "ood": 1}
    lines += [
        f"| {row['source']} | {row['split'].upper()} | {row['method']} | {row['runs']} | "
        f"{row['points']} | {row['mae']:.4f} | {row['mae_second_half']:.4f} | "
        f"{1e4 * row['huber']:.2f} |"
        for row in sorted(board["rows"], key=lambda r: (r["source"], order[r["split"]], r["mae"]))
    ]
    lines += ["", *(f"- {o['method']} on {o['source']}: {o['reason']}" for o in board["left_out"])]
    return "\n".join(lines).rstrip() + "\n"
