"""Published findings, checked again on public points, each inside a stated band."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.csv
import pyarrow.parquet as pq

from ncpl.errors import ConfigError
from ncpl.laws import chinchilla, data_constrained, farseer, overtraining, parscale, steplaw
from ncpl.laws.base import Array
from ncpl.laws.bnsl import bnsl
from ncpl.laws.fitting import MIN_AGREEING, fit_law
from ncpl.laws.multipower import PUBLISHED, fit_multipower, multipower
from ncpl.laws.schedules import Curves
from ncpl.laws.tissue import tissue

Table = dict[str, npt.NDArray[np.generic]]
FITTED_ON = ("constant_24000", "cosine_24000", "wsdcon_9")
"""The three schedules the multi-power law's authors fit on; the other six are predicted."""


@dataclass(frozen=True)
class Check:
    """One finding: what was measured and the band it must lie in."""

    name: str
    what: str
    value: float
    low: float
    high: float
    agreeing: int = MIN_AGREEING
    """Starts that agree on the fit behind the value, the fewest where there are several fits."""

    @property
    def passed(self) -> bool:
        """Return whether the value lies in its band, and would on another machine."""
        return self.low <= self.value <= self.high and self.agreeing >= MIN_AGREEING


def points(name: str) -> Table:
    """Return one shipped table of public points, column by column."""
    with (files("ncpl.laws.points") / f"{name}.parquet").open("rb") as file:
        table = pq.read_table(file)
    return {column: table[column].to_numpy() for column in table.column_names}


def numbers(table: Table, column: str, keep: npt.NDArray[np.bool_] | None = None) -> Array:
    """Return a column as floats, only the kept rows."""
    values = np.asarray(table[column], dtype=np.float64)
    return values if keep is None else values[keep]


def r_squared(measured: Array, predicted: Array) -> float:
    """Return the share of variance explained."""
    return float(
        1 - ((measured - predicted) ** 2).sum() / ((measured - measured.mean()) ** 2).sum()
    )


def check_overtraining(seed: int) -> Iterator[Check]:
    """Fit each data set's runs below 1B parameters, predict its three larger runs."""
    table = points("overtraining")
    close, n_large, agreeing = 0, 0, MIN_AGREEING
    for dataset in np.unique(table["dataset"]):
        mine = table["dataset"] == dataset
        inputs = overtraining.inputs_from(
            numbers(table, "params", mine), numbers(table, "train_tokens", mine)
        )
        loss = numbers(table, "loss", mine)
        small = numbers(table, "params", mine) < 1e9
        fit = fit_law(
            overtraining.LAW, {k: v[small] for k, v in inputs.items()}, loss[small], seed=seed
        )
        agreeing = min(agreeing, fit.n_starts_agreeing)
        error = np.abs(fit.predict(inputs)[~small] / loss[~small] - 1)
        close += int((error <= 0.02).sum())
        n_large += len(error)
    yield Check(
        "overtraining",
        f"of {n_large} runs above 1B predicted within 2%",
        close,
        8,
        n_large,
        agreeing,
    )


def check_parscale(seed: int) -> Iterator[Check]:
    """Fit one, two and four streams, predict eight."""
    table = points("parscale")
    for corpus in np.unique(table["corpus"]):
        mine = table["corpus"] == corpus
        inputs = {name: numbers(table, name, mine) for name in parscale.LAW.inputs}
        loss = numbers(table, "loss", mine)
        few = inputs["parallel_streams"] <= 4
        fit = fit_law(parscale.LAW, {k: v[few] for k, v in inputs.items()}, loss[few], seed=seed)
        score = r_squared(loss[~few], fit.predict(inputs)[~few])
        yield Check(
            "parscale", f"R2 on 8 streams, {corpus}", score, 0.99, 1.0, fit.n_starts_agreeing
        )


def check_farseer(seed: int) -> Iterator[Check]:
    """Score the published constants on the held-out runs."""
    del seed  # nothing is fitted
    table = points("farseer")
    test = table["part"] == "test"
    inputs = {name: numbers(table, name, test) for name in farseer.LAW.inputs}
    loss = numbers(table, "loss", test)
    error = np.abs(farseer.LAW.predict(farseer.PUBLISHED, inputs) / loss - 1).mean()
    yield Check("farseer", "percent error of the published constants", 100 * float(error), 0, 0.5)


def check_data_constrained(seed: int) -> Iterator[Check]:
    """Fit the runs that have not over-fitted; the law is monotone in tokens and cannot rise."""
    table = points("data_constrained")
    keep = not_overfitted(table)
    inputs = {name: numbers(table, name, keep) for name in data_constrained.LAW.inputs}
    loss = numbers(table, "loss", keep)
    fit = fit_law(data_constrained.LAW, inputs, loss, seed=seed)
    n_kept, n_all = int(keep.sum()), len(keep)
    yield Check(
        "data_constrained",
        f"R2 on {n_kept} of {n_all} runs, over-fitted ones left out",
        r_squared(loss, fit.predict(inputs)),
        0.95,
        1.0,
        fit.n_starts_agreeing,
    )


def not_overfitted(table: Table) -> npt.NDArray[np.bool_]:
    """Return which runs are no worse than a shorter run of the same size and unique tokens."""
    params, unique = numbers(table, "params"), numbers(table, "unique_tokens")
    tokens, loss = numbers(table, "train_tokens"), numbers(table, "loss")
    keep = np.ones(len(loss), dtype=bool)
    for i in range(len(loss)):
        shorter = (params == params[i]) & (unique == unique[i]) & (tokens < tokens[i])
        keep[i] = not (loss[shorter] < loss[i]).any()
    return keep


def check_step_law(seed: int) -> Iterator[Check]:
    """Choose by the published Step Law on the held-out groups of the NCPL split."""
    del seed  # nothing is fitted
    from ncpl.evaluate.scores import score

    table = points("steplaw")
    for split, middle in (("id", 0.18), ("ood", 0.09)):
        mine = table["split"] == split
        columns = ("params_non_embedding", "train_tokens", "learning_rate", "batch_tokens")
        distance = steplaw.PUBLISHED.distance(*(numbers(table, c, mine) for c in columns))
        groups = [str(g) for g in table["split_group"][mine]]
        gap = score(distance, numbers(table, "loss", mine), groups).choice_gap_percent
        what = f"choice gap in percent, {split.upper()}"
        yield Check("steplaw", what, gap, middle - 0.01, middle + 0.01)


def curves_of(table: Table, size: str, schedules: tuple[str, ...]) -> tuple[Curves, Array]:
    """Return some schedules of one model size as curves, with their losses."""
    rows = np.concatenate(
        [
            np.flatnonzero((table["size"] == size) & (table["schedule"] == schedule))
            for schedule in schedules
        ]
    )
    names = table["schedule"][rows].tolist()
    return (
        Curves(
            curve=np.array([schedules.index(name) for name in names]),
            step=numbers(table, "step")[rows],
            learning_rate=numbers(table, "learning_rate")[rows],
        ),
        numbers(table, "loss")[rows],
    )


def curve_errors(seed: int, law: str) -> Iterator[tuple[str, float, int]]:
    """Yield (model size, mean over six unseen schedules of the MAE, starts that agree)."""
    table = points("multipower")
    everything = tuple(sorted({str(s) for s in table["schedule"]}))
    others = tuple(s for s in everything if s not in FITTED_ON)
    for size in ("25M", "100M", "400M"):
        known, loss = curves_of(table, size, FITTED_ON)
        unseen, measured = curves_of(table, size, others)
        if law == "tissue":
            fit = fit_law(tissue(known), known.rows, loss, seed=seed, n_starts=8)
            agreeing = fit.n_starts_agreeing
            predicted = tissue(unseen).predict(fit.values, unseen.rows)
        elif law == "multipower":
            fit = fit_multipower(known, loss, seed=seed, n_starts=3)
            agreeing = fit.n_starts_agreeing
            predicted = multipower(unseen).predict(fit.values, unseen.rows)
        else:
            agreeing = MIN_AGREEING  # nothing is fitted
            predicted = multipower(unseen).predict(PUBLISHED[size], unseen.rows)
        errors = np.abs(predicted - measured)
        yield size, float(np.mean([errors[piece].mean() for piece in unseen.pieces])), agreeing


def check_tissue(seed: int) -> Iterator[Check]:
    """Fit three schedules, predict six."""
    for size, error, agreeing in curve_errors(seed, "tissue"):
        yield Check("tissue", f"MAE on six unseen schedules, {size}", error, 0, 0.0075, agreeing)


def check_multipower(seed: int) -> Iterator[Check]:
    """Fit three schedules, predict six; and the same with the published constants."""
    for size, error, agreeing in curve_errors(seed, "multipower"):
        yield Check(
            "multipower", f"MAE on six unseen schedules, {size}", error, 0, 0.0055, agreeing
        )
    for size, error, agreeing in curve_errors(seed, "published"):
        yield Check(
            "multipower", f"the same, published constants, {size}", error, 0, 0.0055, agreeing
        )


def check_bnsl(seed: int) -> Iterator[Check]:
    """Fit the first 60% of a constant-rate curve of each size, predict its tail."""
    table = points("multipower")
    for size in ("25M", "100M", "400M"):
        curves, loss = curves_of(table, size, ("constant_72000",))
        x = curves.step
        head = x <= 0.6 * x.max()
        law = bnsl(x[head], n_breaks=1)
        fit = fit_law(law, {"x": x[head]}, loss[head], seed=seed, n_starts=8)
        error = float(np.abs(fit.predict({"x": x})[~head] - loss[~head]).mean())
        yield Check(
            "bnsl",
            f"MAE on the last 40% of a curve, {size}",
            error,
            0,
            0.002,
            fit.n_starts_agreeing,
        )


def check_epoch(file: Path, seed: int) -> Iterator[Check]:
    """Refit Chinchilla on 240 of the 245 points of its figure 4 (the five highest losses out).

    Raises ConfigError if the file is not the authors' svg_extracted_data.csv.
    """
    try:
        table = pyarrow.csv.read_csv(file)
        size, flop, loss = (table[c].to_numpy() for c in ("Model Size", "Training FLOP", "loss"))
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise ConfigError(
            f"{file} cannot be read as the points of Chinchilla's figure 4 ({error}); expected "
            "svg_extracted_data.csv of epoch-research/analyzing-chinchilla"
        ) from error
    keep = np.argsort(-loss)[5:]
    n, d = size[keep], flop[keep] / (6 * size[keep])
    full = chinchilla.fit_full(n, d, loss[keep], seed=seed)
    fit = chinchilla.of_fit(full)
    for name, value, middle, half in (
        ("alpha", fit.alpha, 0.348, 0.002),
        ("beta", fit.beta, 0.366, 0.003),
        ("E", fit.c, 1.817, 0.001),
    ):
        what = f"{name} on {len(keep)} of {len(loss)} points"
        yield Check("chinchilla", what, value, middle - half, middle + half, full.n_starts_agreeing)


CHECKS: dict[str, Callable[[int], Iterator[Check]]] = {
    "overtraining": check_overtraining,
    "parscale": check_parscale,
    "farseer": check_farseer,
    "data_constrained": check_data_constrained,
    "steplaw": check_step_law,
    "tissue": check_tissue,
    "multipower": check_multipower,
    "bnsl": check_bnsl,
}
