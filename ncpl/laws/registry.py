"""The laws by name, and how each gets its inputs from a table or a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.laws import (
    bnsl,
    chinchilla,
    data_constrained,
    farseer,
    interaction,
    kaplan_nsb,
    mixture,
    overtraining,
    parscale,
    post_training,
    power_const,
    powerlines,
)
from ncpl.laws.base import Array, Law, LawFit
from ncpl.laws.fitting import fit_law
from ncpl.laws.multipower import fit_multipower, multipower
from ncpl.laws.schedules import Curves
from ncpl.laws.tissue import tissue

FIXED: dict[str, Law] = {
    law.name: law
    for law in (
        power_const.LAW,
        powerlines.LAW,
        chinchilla.LAW,
        kaplan_nsb.LAW,
        overtraining.LAW,
        overtraining.ERROR_LAW,
        data_constrained.LAW,
        parscale.LAW,
        farseer.LAW,
        interaction.LAW,
        mixture.DCPT,
        post_training.LAW,
        post_training.REWARD_LAW,
    )
}
CURVE_LAWS: dict[str, Callable[[Curves], Law]] = {"tissue": tissue, "multipower": multipower}
CURVE_COLUMNS = ("curve", "step", "learning_rate")
NAMES = (*FIXED, "bnsl", "mixing", *CURVE_LAWS)


BASES = ("params", "params_non_embedding", "params_total", "train_tokens", "batch_tokens")
"""What `with_derived` derives other columns from."""


@dataclass(frozen=True)
class Ready:
    """A law with the inputs of one table."""

    law: Law
    inputs: dict[str, Array]
    curves: Curves | None = None
    """Behind a curve law."""


def columns_for(name: str) -> dict[str, str]:
    """Return the columns a law reads and their units; ValueError for an unknown law."""
    if name in FIXED:
        return dict(FIXED[name].inputs)
    if name == "bnsl":
        return {"x": "any positive quantity"}
    if name == "mixing":
        return {"share_1": "share of training tokens", "share_2": "..."}
    if name in CURVE_LAWS:
        return {"curve": "name of the curve", "step": "steps", "learning_rate": "at that step"}
    raise ValueError(f"there is no law {name!r}; there are: {', '.join(NAMES)}")


def ready(name: str, table: Mapping[str, npt.NDArray[np.generic]], n_breaks: int = 1) -> Ready:
    """Return a law and its inputs taken from a table of columns.

    Compute and tokens per parameter follow from params and train_tokens where they are not given.
    Raises ValueError, naming the column, where one is missing or is not a number.
    """
    wanted = columns_for(name)
    if name in CURVE_LAWS:
        missing = [column for column in CURVE_COLUMNS if column not in table]
        if missing:
            raise ValueError(
                f"law {name} reads the columns {', '.join(CURVE_COLUMNS)}; no {missing[0]}"
            )
        curves = curves_of(table)
        return Ready(CURVE_LAWS[name](curves), curves.rows, curves)
    if name == "mixing":
        shares = sorted(
            (c for c in table if c.startswith("share_")),
            key=lambda c: int(c.removeprefix("share_")),
        )
        if len(shares) < 2:
            raise ValueError("law mixing reads the columns share_1, share_2, ...: at least two")
        law = mixture.mixing_law(len(shares))
        return Ready(law, {c: _numbers(table, c) for c in law.inputs})
    full = with_derived(table)
    missing = [column for column in wanted if column not in full]
    if missing:
        raise ValueError(
            f"law {name} reads the column {missing[0]} ({wanted[missing[0]]}); "
            f"the table has: {', '.join(table)}"
        )
    inputs = {column: _numbers(full, column) for column in wanted}
    return Ready(bnsl.bnsl(inputs["x"], n_breaks) if name == "bnsl" else FIXED[name], inputs)


def unread(name: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that a law does not read, nor anything it reads follows from."""
    known = {*columns_for(name), *BASES}
    return [
        c for c in columns if c not in known and not (name == "mixing" and c.startswith("share_"))
    ]


def with_derived(
    table: Mapping[str, npt.NDArray[np.generic]],
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the columns with compute = 6 N D and its relatives added where they follow."""
    full = dict(table)
    size = next((c for c in ("params", "params_non_embedding", "params_total") if c in full), None)
    if size is not None:
        full.setdefault("params", full[size])
        full.setdefault("params_non_embedding", full[size])
    if size is not None and "train_tokens" in full:
        n, d = _numbers(full, size), _numbers(full, "train_tokens")
        with np.errstate(over="ignore"):  # a law that reads it says that it is not finite
            full.setdefault("compute_flops", 6 * n * d)
        full.setdefault("tokens_per_param", d / n)
    if "compute_flops" in full:
        full.setdefault("x", full["compute_flops"])
    if "train_tokens" in full and "batch_tokens" in full:
        steps = _numbers(full, "train_tokens") / _numbers(full, "batch_tokens")
        full.setdefault("train_steps", steps)
    return full


def fit_ready(name: str, data: Ready, loss: Array, *, seed: int, n_starts: int) -> LawFit:
    """Return the fit of a law; the multi-power law has its own two stages."""
    if name == "multipower" and data.curves is not None:
        return fit_multipower(data.curves, loss, seed=seed, n_starts=min(n_starts, 4))
    return fit_law(data.law, data.inputs, loss, seed=seed, n_starts=n_starts)


def curves_of(table: Mapping[str, npt.NDArray[np.generic]]) -> Curves:
    """Return the curves of a table with the columns curve, step and learning_rate."""
    _, code = np.unique(np.asarray(table["curve"]).astype(str), return_inverse=True)
    return Curves(
        curve=code.astype(np.int64),
        step=_numbers(table, "step"),
        learning_rate=_numbers(table, "learning_rate"),
    )


def _numbers(table: Mapping[str, npt.NDArray[np.generic]], column: str) -> Array:
    try:
        return np.asarray(table[column], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"column {column} holds something that is not a number: {error}"
        ) from error
