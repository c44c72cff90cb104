"""Scores of predictions, and the table that sets NCPL beside the baselines.

Legend: B runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.snapshot import WHOLE, Runs, Snapshot, sizes
from ncpl.laws.chinchilla import REFERENCE, Chinchilla
from ncpl.model.bundle import Bundle
from ncpl.model.curve_head import LATE
from ncpl.model.ensemble import Fit

Array = npt.NDArray[np.float64]
SPLITS = ("id", "ood")
MIN_GROUP = 5
"""Groups with fewer runs say nothing about ranks or choices."""


@dataclass(frozen=True)
class Score:
    """How well predictions fit one split."""

    n: int
    mae: float
    """Nats per token."""
    rmse: float
    spearman: float
    spearman_in_group: float
    """Mean over the groups of (optimizer, N, D)."""
    choice_gap_percent: float
    """Mean percent above the best measured run at the run the predictor would choose."""
    coverage: float | None = None
    """Share of runs inside the 90% interval."""
    width: float | None = None
    """Mean width of the 90% interval, nats."""


def score(
    predicted_B: Array,
    measured_B: Array,
    groups: Sequence[str | None],
    interval: tuple[Array, Array] | None = None,
) -> Score:
    """Return the scores of predictions against measurements, both nats per token."""
    error = predicted_B - measured_B
    ranks, gaps = [], []
    for group in sorted({g for g in groups if g is not None}):
        rows = np.array([g == group for g in groups])
        if rows.sum() < MIN_GROUP:
            continue
        ranks.append(spearman(predicted_B[rows], measured_B[rows]))
        best, chosen = measured_B[rows].min(), measured_B[rows][predicted_B[rows].argmin()]
        gaps.append(100 * (chosen / best - 1))
    inside = width = None
    if interval is not None:
        inside = float(((interval[0] <= measured_B) & (measured_B <= interval[1])).mean())
        width = float((interval[1] - interval[0]).mean())
    return Score(
        n=len(error),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        spearman=spearman(predicted_B, measured_B),
        spearman_in_group=_mean(ranks),
        choice_gap_percent=_mean(gaps),
        coverage=inside,
        width=width,
    )


def spearman(a_B: Array, b_B: Array) -> float:
    """Return the rank correlation, ties at their mean rank; NaN where one side is constant."""
    ranks = [_ranks(a_B), _ranks(b_B)]
    if any(np.ptp(r) == 0 for r in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values_B: Array) -> Array:
    _, inverse, counts = np.unique(values_B, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if math.isfinite(value)]
    return float(np.mean(kept)) if kept else math.nan


def held_out(bundle: Bundle, runs: Runs) -> Iterator[tuple[Fit, str, Runs]]:
    """Yield each fit with each held-out part of its family that has runs."""
    for fit in bundle.fits:
        for split in SPLITS:
            part = runs.where(family=fit.family, split=split).readable()
            if len(part):
                yield fit, split, part


def score_table(bundle: Bundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a (source, split, predictor): baselines, each member's mean, the ensemble."""
    rows: list[dict[str, Any]] = []
    for fit, split, part in held_out(bundle, runs):
        for name, value in _scores(bundle, fit, part).items():
            rows.append({"source": fit.family[0], "split": split, "predictor": name, **value})
    return rows


def law_score(law: Chinchilla, params_B: Array, tokens_B: Array, part: Runs) -> dict[str, Any]:
    """Return the scores of a law of size and data.

    One loss a group: such a law ranks nothing inside a group, and chooses nothing.
    """
    found = asdict(score(law.predict(params_B, tokens_B), part.loss, part.group))
    return found | {"spearman_in_group": math.nan, "choice_gap_percent": math.nan}


def plain(value: Any) -> Any:
    """Return a table's value with NaN as None: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scores(bundle: Bundle, fit: Fit, part: Runs) -> dict[str, dict[str, Any]]:
    params, tokens = sizes(part)

    table: dict[str, dict[str, Any]] = {}
    if fit.family[0] in REFERENCE:
        table["Chinchilla, reference"] = law_score(REFERENCE[fit.family[0]], params, tokens, part)
    table["Chinchilla, refit"] = law_score(fit.baseline, params, tokens, part)
    losses_MB = fit.read(fit.encoder.encode(part.configs)).loss
    members = [asdict(score(loss_B, part.loss, part.group)) for loss_B in losses_MB]
    names = [name for name, value in members[0].items() if isinstance(value, float)]
    mean: dict[str, Any] = {"n": len(part)}
    mean |= {name: float(np.mean([m[name] for m in members])) for name in names}
    if len(members) > 1:
        mean["sd"] = {name: float(np.std([m[name] for m in members], ddof=1)) for name in names}
    table[f"NCPL, mean of {len(members)} seeds"] = mean
    interval = bundle.intervals(fit, part.configs)
    table["NCPL, ensemble"] = asdict(
        score(interval.loss, part.loss, part.group, (interval.low, interval.high))
    )
    early = part.share < WHOLE
    if fit.heads is not None and early.any():
        # Some logs stop before the run: the same predictions, read where the loss was measured.
        rows = [derive(config) for config in part.configs]
        there = bundle.curves_of(fit, rows, part.share[:, None])[:, 0]
        loss = np.where(early, there, interval.loss)
        table["NCPL, ensemble, where measured"] = asdict(score(loss, part.loss, part.group))
    return table


def curve_table(bundle: Bundle, snapshot: Snapshot, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a (source, split): errors along the run, over points past 10% of it.

    MAE past 10% and past half of the run, and the mean Huber loss (threshold 0.01), as the paper's
    training uses.
    """
    rows = []
    for fit, split, part in held_out(bundle, runs):
        if fit.heads is None:
            continue
        points = snapshot.points(part)
        given = np.isfinite(points.frac) & (points.frac > LATE)
        if not given.any():
            continue
        frac_BP = np.where(np.isfinite(points.frac), points.frac, 1.0)
        rows_of = [derive(config) for config in part.configs]
        error = np.abs(bundle.curves_of(fit, rows_of, frac_BP) - points.loss)
        late = given & (points.frac > 0.5)
        huber = np.where(error < 0.01, error**2 / 2, 0.01 * (error - 0.005))
        rows.append(
            {
                "source": fit.family[0],
                "split": split,
                "n": int(given.any(1).sum()),
                "points": int(given.sum()),
                "mae": float(error[given].mean()),
                "mae_second_half": float(error[late].mean()),
                "huber_1e4": float(1e4 * huber[given].mean()),
            }
        )
    return rows


def coverage_table(bundle: Bundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a (source, split): what the 90% intervals cover near the optimum and far.

    Near: within 1% of the best measured run of the group; far: more than 5% above it.
    """
    rows = []
    for fit, split, part in held_out(bundle, runs):
        found = bundle.intervals(fit, part.configs)
        inside = (found.low <= part.loss) & (part.loss <= found.high)
        best: dict[str | None, float] = {}
        for group, loss in zip(part.group, part.loss.tolist(), strict=True):
            best[group] = min(loss, best.get(group, math.inf))
        excess = part.loss / np.array([best[group] for group in part.group]) - 1
        row: dict[str, Any] = {"source": fit.family[0], "split": split}
        for name, keep in (
            ("all", excess >= 0), ("near", excess <= 0.01),
            ("between", (excess > 0.01) & (excess <= 0.05)), ("far", excess > 0.05),
        ):  # fmt: skip
            row[name] = float(inside[keep].mean()) if keep.any() else None
            row[f"n_{name}"] = int(keep.sum())
        rows.append(row)
    return rows


def risk_table(bundle: Bundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a source that learned a risk: how it ranks held-out runs that diverged."""
    rows = []
    for fit in bundle.fits:
        train = runs.where(family=fit.family, split="train").readable()
        parts = [runs.where(family=fit.family, split=split).readable() for split in SPLITS]
        fine = [config for part in parts for config in part.configs]
        if fit.risk is None or not len(train) or not fine:
            continue
        diverged = runs.diverged_beside(train, held_out=True)
        if not len(diverged):
            continue
        ill = fit.divergence_risk(fit.encoder.encode(diverged.configs))
        well = fit.divergence_risk(fit.encoder.encode(fine))
        assert ill is not None
        assert well is not None
        ranks = _ranks(np.concatenate([ill, well]))[: len(ill)]
        area = (ranks.mean() - (len(ill) + 1) / 2) / len(well)
        rows.append(
            {
                "source": fit.family[0],
                "diverged": len(ill),
                "finished": len(well),
                "auc": float(area),
                "mean_risk_diverged": float(ill.mean()),
                "mean_risk_finished": float(well.mean()),
            }
        )
    return rows


def cell_table(bundle: Bundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a held-out cell (optimizer/N/D): runs, MAE of NCPL and of Chinchilla."""
    rows: list[dict[str, Any]] = []
    for fit, split, part in held_out(bundle, runs):
        params, tokens = sizes(part)
        missed = {
            "NCPL": np.abs(bundle.intervals(fit, part.configs).loss - part.loss),
            "Chinchilla, refit": np.abs(fit.baseline.predict(params, tokens) - part.loss),
        }
        for cell in sorted({g for g in part.group if g is not None}, key=_cell_order):
            own = np.array([g == cell for g in part.group])
            row = {"source": fit.family[0], "split": split, "cell": cell, "n": int(own.sum())}
            rows.append(row | {name: float(e[own].mean()) for name, e in missed.items()})
    return rows


def _cell_order(cell: str) -> tuple[str, float, float]:
    optimizer, size, data = cell.split("/")
    return optimizer, float(size), float(data)


COLUMNS = {
    "mae": ("MAE", 4),
    "rmse": ("RMSE", 4),
    "spearman": ("rank", 3),
    "spearman_in_group": ("in group", 3),
    "choice_gap_percent": ("gap %", 2),
    "coverage": ("90% covers", 3),
}


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as text, losses in nats per token."""
    head = ["source", "split", "runs", "predictor", *(title for title, _ in COLUMNS.values())]
    lines = [head]
    for row in rows:
        line = [row["source"], row["split"].upper(), str(row["n"]), row["predictor"]]
        for name, (_, digits) in COLUMNS.items():
            value, sd = row.get(name), (row.get("sd") or {}).get(name)
            if value is None or math.isnan(value):
                line.append("-")
            else:
                spread = f" ±{sd:.{digits}f}" if sd is not None else ""
                line.append(f"{value:.{digits}f}{spread}")
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)
