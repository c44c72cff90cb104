"""The prefix board: held-out runs forecast from their start, ours beside simple ways.

Frozen: every finished held-out run with a curve, cut at CUTS of its length. Nothing is fitted to a
held-out run but what its own start allows.

Legend: B runs, P points, Q points of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.bench.prefix_study import study_board, study_text
from ncpl.data.fields import derive
from ncpl.data.schedules import FIRST, Array
from ncpl.data.snapshot import Points, Runs, Snapshot
from ncpl.evaluate.scores import SPLITS
from ncpl.model.bundle import Bundle
from ncpl.model.ensemble import Fit
from ncpl.model.prefix import PrefixModel
from ncpl.model.prefix_features import Prefixes, is_spiky, noise_and_rise
from ncpl.plan.surrogates import offset_powers

FORMAT = "ncpl-prefix-board/1"
CUTS = (0.1, 0.3, 0.5, 0.8)
KILL_AT = 0.3
MIN_GROUP = 6
MOST_GROUPS = 30
POINTS = 200
OURS = "NCPL with the prefix"
ALONE = "configuration only"
LAST = "last value"
DROP = "last value and mean remaining drop"
POWER = "power law with offset"
SHAPE = "any curve's shape, shared numbers"
SHIFTED = "predicted curve, shifted"
METHODS = (ALONE, LAST, DROP, POWER, SHAPE, SHIFTED, OURS)


@dataclass
class PrefixBoard:
    """Scores a cell and method, and the kill rule."""

    about: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    spiky: list[dict[str, Any]] = field(default_factory=list)
    kill: list[dict[str, Any]] = field(default_factory=list)
    study: list[dict[str, Any]] = field(default_factory=list)
    """Of a set-up that no bundle knows (`prefix_study`); empty where the snapshot lacks it."""

    def to_json(self) -> dict[str, Any]:
        """Return the board as plain values."""
        return {
            "format": FORMAT, **self.about, "rows": self.rows, "spiky": self.spiky,
            "kill": self.kill, "study": self.study,
        }  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What one method says of one run."""

    final: float
    rest: Array
    """(Q,) losses at the measured points past the cut; NaN where a method has none."""
    half: float = math.nan
    """Half width of the 90% interval of the final loss."""


def run_prefix(
    snapshot: Snapshot,
    bundle: Bundle,
    model: PrefixModel,
    *,
    tell: Callable[[str], None] = lambda _text: None,
) -> PrefixBoard:
    """Return the board of a bundle's families that a model of prefixes knows."""
    runs = snapshot.runs()
    board = PrefixBoard({"snapshot_id": snapshot.id, "cuts": list(CUTS), "unit": "nats"})
    groups: list[tuple[Array, dict[str, Array]]] = []
    for fit in bundle.fits:
        if fit.family[0] not in model.families:
            continue
        train, train_points = part_of(snapshot, runs, fit, "train")
        drops = {cut: remaining(train, train_points, cut) for cut in CUTS}
        for split in SPLITS:
            part, points = part_of(snapshot, runs, fit, split)
            if not len(part):
                continue
            tell(f"{fit.family[0]} {split}: {len(part)} runs")
            finals = cell(board, bundle, model, fit, split, part, points, drops)
            names = np.array([g or "" for g in part.group])
            groups += [
                (part.loss[names == g], {m: v[names == g] for m, v in finals.items()})
                for g in sorted(set(names.tolist()))
            ]
    board.kill = kill_rule(groups)
    tell("lr_scheduling: half of its cells left out")
    board.study = study_board(snapshot, CUTS)
    return board


def part_of(snapshot: Snapshot, runs: Runs, fit: Fit, split: str) -> tuple[Runs, Points]:
    """Return the finished runs of a part that have a curve, and their points."""
    part = runs.where(family=fit.family, split=split).readable().finished()
    points = snapshot.points(part, count=POINTS)
    keep = np.asarray(np.isfinite(points.frac).any(axis=1), dtype=np.bool_).reshape(-1)
    return part.take(keep), points.take(keep)


def remaining(train: Runs, points: Points, cut: float) -> float:
    """Return the mean drop of training runs from their last point before a cut to their end."""
    last = last_before(points, cut)
    return float(np.nanmean(last - train.loss))


def last_before(points: Points, cut: float) -> Array:
    """Return each run's last loss up to a cut (B,); NaN where there is none."""
    known = np.where(points.frac <= cut, points.frac, -1.0)
    at = known.argmax(1)
    rows = np.arange(len(at))
    return np.where(known[rows, at] > 0, points.loss[rows, at], np.nan)


def cell(
    board: PrefixBoard,
    bundle: Bundle,
    model: PrefixModel,
    fit: Fit,
    split: str,
    part: Runs,
    points: Points,
    drops: dict[float, float],
) -> dict[str, Array]:
    """Put the rows of one part on the board; return final losses at the kill rule's cut."""
    alone = bundle.intervals(fit, part.configs)
    rows = [derive(config) for config in part.configs]
    given = np.isfinite(points.frac)
    places = np.column_stack(
        [np.where(given, points.frac, 1.0), np.tile([*CUTS, 1.0], (len(rows), 1))]
    )
    curve_BP = bundle.curves_of(fit, rows, places)
    kept: dict[str, Array] = {}
    for j, cut in enumerate(CUTS):
        answers: dict[str, list[Answer]] = {name: [] for name in METHODS}
        truths = []
        for i, row in enumerate(rows):
            known = given[i] & (points.frac[i] > FIRST) & (points.frac[i] <= cut)
            later = given[i] & (points.frac[i] > cut)
            frac, loss = points.frac[i, known], points.loss[i, known]
            truths.append(points.loss[i, later])
            at = np.append(points.frac[i, later], 1.0)
            predicted, final = curve_BP[i, : given.shape[1]], curve_BP[i, -1:]
            base = np.append(predicted[later], final)
            half = float(alone.high[i] - alone.low[i]) / 2
            answers[ALONE].append(Answer(float(alone.loss[i]), base[:-1], half))
            at_cut = curve_BP[i, given.shape[1] + j][None]
            prefix = Prefixes(frac[None], loss[None], predicted[known][None], at_cut, final)
            found = model.families[fit.family[0]].correct(row, prefix, cut, at, half)
            width = half if found.weight == 0 else float(found.half[-1])
            ours = base + found.shift
            answers[OURS].append(Answer(float(ours[-1]), ours[:-1], width))
            simple(answers, model, row, prefix, cut, at, base, drops[cut])
        for name in METHODS:
            board.rows.append(
                scores(fit.family[0], split, cut, name, answers[name], truths, part.loss)
            )
        if cut == KILL_AT:
            kept = {n: np.array([a.final for a in found]) for n, found in answers.items()}
            current = last_before(points, cut)
            kept["current loss"] = np.where(np.isfinite(current), current, np.inf)
        marks(board, fit.family[0], split, cut, points)
    return kept


def simple(
    answers: dict[str, list[Answer]],
    model: PrefixModel,
    row: Any,
    prefix: Prefixes,
    cut: float,
    at_Q: Array,
    base_Q: Array,
    drop: float,
) -> None:
    """Add what the simple ways say of one run; without a point they say the configuration's."""
    frac_P, loss_P = prefix.frac[0], prefix.loss[0]
    if not len(frac_P):
        for name in (LAST, DROP, POWER, SHAPE, SHIFTED):
            answers[name].append(Answer(float(base_Q[-1]), base_Q[:-1]))
        return
    last = float(loss_P[-1])
    nothing = np.full(len(at_Q) - 1, np.nan)
    answers[LAST].append(Answer(last, np.full(len(at_Q) - 1, last)))
    answers[DROP].append(Answer(last - drop, nothing))
    law = power_law(frac_P, loss_P, at_Q)
    answers[POWER].append(Answer(float(law[-1]), law[:-1]))
    told = model.anywhere.tell(row, frac_P, loss_P, cut, at_Q)
    answers[SHAPE].append(Answer(float(told.shift[-1]), told.shift[:-1], float(told.half[-1])))
    moved = base_Q + last - float(prefix.predicted[0, -1])
    answers[SHIFTED].append(Answer(float(moved[-1]), moved[:-1]))


def power_law(frac_P: Array, loss_P: Array, at_Q: Array) -> Array:
    """Return E + A f^-alpha at Q shares, fitted to a prefix; the last value for under 3 points."""
    if len(frac_P) < 3:
        return np.full(len(at_Q), loss_P[-1])
    best, found = np.inf, np.full(len(at_Q), loss_P[-1])
    for alpha, level, scale, error in offset_powers(frac_P, loss_P, np.linspace(0.05, 2.0, 40)):
        if error < best and level > 0:
            best, found = error, level + scale * at_Q**-alpha
    return found


def scores(
    source: str,
    split: str,
    cut: float,
    name: str,
    answers: list[Answer],
    truths: list[Array],
    loss_B: Array,
) -> dict[str, Any]:
    """Return one row: MAE of the final loss and of the rest, and coverage, NaN as None."""
    error = np.array([a.final for a in answers]) - loss_B
    rest = np.concatenate([a.rest - t for a, t in zip(answers, truths, strict=True)])
    half = np.array([a.half for a in answers])
    has = np.isfinite(half).all()
    return {
        "source": source, "split": split, "cut": cut, "method": name, "n": len(answers),
        "final_mae": float(np.abs(error).mean()),
        "rest_mae": float(np.abs(rest).mean()) if np.isfinite(rest).all() else None,
        "coverage": float((np.abs(error) <= half).mean()) if has else None,
    }  # fmt: skip


def marks(board: PrefixBoard, source: str, split: str, cut: float, points: Points) -> None:
    """Count runs that rise by more than .05 before a cut, and how many of them are marked."""
    known = (points.frac > FIRST) & (points.frac <= cut)
    _, rise = noise_and_rise(points.loss, known)
    rising = rise > 0.05
    marked = is_spiky(points.loss, known)
    board.spiky.append(
        {
            "source": source, "split": split, "cut": cut, "spiky": int(rising.sum()),
            "marked": int((marked & rising).sum()), "runs": len(rise),
        }
    )  # fmt: skip


def kill_rule(groups: list[tuple[Array, dict[str, Array]]]) -> list[dict[str, Any]]:
    """Return in how many groups the final best is among the third kept at KILL_AT, by method.

    The MOST_GROUPS largest groups of at least MIN_GROUP runs.
    """
    large = sorted((g for g in groups if len(g[0]) >= MIN_GROUP), key=lambda g: -len(g[0]))
    large = large[:MOST_GROUPS]
    found = []
    for name in (*METHODS, "current loss"):
        hits = 0
        for loss, finals in large:
            keep = max(1, math.ceil(len(loss) / 3))
            hits += int(loss.argmin() in np.argsort(finals[name], kind="stable")[:keep])
        found.append({"method": name, "kept": hits, "groups": len(large)})
    return found


def text_of(board: PrefixBoard) -> str:
    """Return the board as a Markdown text, nats."""
    lines = [f"Snapshot {board.about['snapshot_id'][:12]}; MAE in nats, final / rest / 90% covers."]
    cells = list(dict.fromkeys((r["source"], r["split"], r["n"]) for r in board.rows))
    for source, split, n in cells:
        lines += ["", f"{source} {split.upper()}, {n} runs", ""]
        lines.append("| method | " + " | ".join(f"{100 * c:.0f}%" for c in CUTS) + " |")
        lines.append("|---|" + "---|" * len(CUTS))
        for name in METHODS:
            own = [
                r for r in board.rows
                if (r["source"], r["split"], r["method"]) == (source, split, name)
            ]  # fmt: skip
            lines.append(f"| {name} | " + " | ".join(map(_entry, own)) + " |")
    lines += ["", f"Final best among the third kept at {100 * KILL_AT:.0f}%:"]
    lines += [f"- {k['method']}: {k['kept']} of {k['groups']}" for k in board.kill]
    lines += ["", "Runs that rise by more than .05 nats before the cut, marked:"]
    lines += [
        f"- {s['source']} {s['split'].upper()} {100 * s['cut']:.0f}%: {s['marked']} of {s['spiky']}"
        for s in board.spiky
    ]
    return "\n".join([*lines, *study_text(board.study, CUTS)]) + "\n"


def _entry(row: dict[str, Any]) -> str:
    values = [f"{row['final_mae']:.4f}"]
    values.append("-" if row["rest_mae"] is None else f"{row['rest_mae']:.4f}")
    values.append("-" if row["coverage"] is None else f"{row['coverage']:.2f}")
    return " / ".join(values)
