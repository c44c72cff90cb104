"""What each part of the model gives, and what it does where nothing like a run was seen.

All on training runs: whole groups, one size or one optimizer are left out, one member is fitted to
the rest, and what was left out is scored. ID and OOD are never used.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.snapshot import Family, Runs, sizes
from ncpl.errors import ConfigError
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit
from ncpl.train.calibrate import folds
from ncpl.train.fit import fit_family

UNSTRUCTURED = {"is_structured": False, "residual_scale": 0.1, "residual_penalty": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "Gaussian process alone": {"process_share": 1.0},
    "law alone": {"process_share": 0.0, "steps": 0},
    "no field dropout": {"field_dropout": 0.0},
    "network alone": {"process_share": 0.0},
    "network alone, residual to Chinchilla": {"process_share": 0.0} | UNSTRUCTURED,
    "residual to Chinchilla": UNSTRUCTURED,
}
"""Changes of the configuration, by name."""
MIN_LEFT_OUT, N_FOLDS, STEPS = 20, 3, 800
COMMAND = "python -m research.ablate --json"
PAPER = "paper's mode"
"""Begins the names of variants that `research.ablate.bases` measures."""
Row = dict[str, Any]
LeftOut = tuple[str, npt.NDArray[np.bool_]]


def ablations(
    train: Runs, config: FitConfig, *, seed: int = 0, told: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Return one row a variant: MAE on left-out groups and on the left-out largest size, nats."""
    rows = []
    for name, change in VARIANTS.items():
        told(f"{train.family[0][0]}: {name}")
        row: dict[str, Any] = {"source": train.family[0][0], "variant": name}
        found: dict[str, list[float]] = {}
        for where, left_out in folds(train, N_FOLDS):
            changed = dataclasses.replace(config, **change)
            errors = _errors(train, left_out, changed, seed)
            found.setdefault(where, []).extend(errors["NCPL"])
        rows.append(row | {where: float(np.mean(values)) for where, values in found.items()})
    return rows


def joint(
    parts: Mapping[Family, Runs], config: FitConfig, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Return one row a source: MAE on left-out groups when all sources are fitted as one, nats.

    All runs are one family, and each source's optimizers have names of their own. The
    row "as shipped" of `ablations` is the same with a fit for each source.
    """
    merged = Runs([], [], np.zeros(0), [], [], [], [], np.zeros(0))
    of: list[str] = []
    for family, runs in parts.items():
        own = [c | {"optimizer": f"{family[0]}:{c.get('optimizer')}"} for c in runs.configs]
        merged = Runs(
            merged.run_ids + runs.run_ids,
            merged.configs + own,
            np.concatenate([merged.loss, runs.loss]),
            merged.status + runs.status,
            merged.family + [next(iter(parts))] * len(runs),
            merged.split + runs.split,
            merged.group + runs.group,
            np.concatenate([merged.share, runs.share]),
        )
        of += [family[0]] * len(runs)
    source = np.array(of)
    together: dict[str, list[float]] = {}
    for where, left_out in folds(merged, N_FOLDS):
        if where != "inside":
            continue
        errors = np.array(_errors(merged, left_out, config, seed)["NCPL"])
        for name in sorted(set(of)):
            together.setdefault(name, []).extend(errors[source[left_out] == name])
    return [
        {"source": name, "variant": "all sources in one fit", "inside": float(np.mean(values))}
        for name, values in together.items()
    ]


def leave_one_out(
    train: Runs, config: FitConfig, *, seed: int = 0, told: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Return one row a left-out size or optimizer: runs, MAE of NCPL and of Chinchilla, nats."""
    rows = []
    for name, left_out in _left_out(train):
        if not MIN_LEFT_OUT <= left_out.sum() <= len(train) - config.min_family_runs:
            continue
        told(f"{train.family[0][0]}: without {name}")
        errors = _errors(train, left_out, config, seed)
        row = {"source": train.family[0][0], "left_out": name, "n": int(left_out.sum())}
        rows.append(row | {key: float(np.mean(values)) for key, values in errors.items()})
    return rows


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Return the rows of a card's ablations with new ones, which replace old ones of their kind.

    Of a kind are all variants of the bundled model, and all rows of the paper's mode that agree in
    source and variant.
    """
    named = {(row["source"], row["variant"]) for row in new}
    has_own = any(not _is_paper(row) for row in new)

    def is_kept(row: Row) -> bool:
        if _is_paper(row):
            return (row["source"], row["variant"]) not in named
        return not has_own

    rows = [*filter(is_kept, old), *new]
    return sorted(rows, key=_is_paper)  # the first row gives a table its columns


def read_rows(file: Path) -> list[Row]:
    """Return the ablations in a file that `python -m research.ablate --json` wrote.

    Raises ConfigError where it is none.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["ablations"]
        is_good = bool(rows) and all(map(_is_row, rows))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{file}: expected the output of {COMMAND}") from error
    if not is_good:
        raise ConfigError(
            f"{file}: every row of ablations needs a source, a variant and the error inside, nats; "
            f"take the output of {COMMAND}"
        )
    return list(rows)


def _is_row(row: Row) -> bool:
    texts = all(isinstance(row[name], str) for name in ("source", "variant"))
    error = row["inside"]
    return texts and isinstance(error, float) and math.isfinite(error)


def _is_paper(row: Row) -> bool:
    return str(row["variant"]).startswith(PAPER)


def _left_out(train: Runs) -> Iterator[LeftOut]:
    params, _ = sizes(train)
    for size in np.unique(params[np.isfinite(params)]):
        yield f"{size / 1e6:.0f}M", params == size
    optimizers = np.array([str(config.get("optimizer")) for config in train.configs])
    if len(set(optimizers)) > 1:
        for name in sorted(set(optimizers)):
            yield name, optimizers == name


def _errors(
    train: Runs, left_out: npt.NDArray[np.bool_], config: FitConfig, seed: int
) -> dict[str, list[float]]:
    fit = fit_family(train.take(~left_out), config.of_a_fold(STEPS), seed=seed)
    rest = train.take(left_out)
    return {
        "NCPL": _missed(fit, rest),
        "Chinchilla, refit": _chinchilla_missed(fit.baseline, rest),
    }


def _missed(fit: Fit, runs: Runs) -> list[float]:
    rows = [derive(config) for config in runs.configs]
    loss_B = fit.read(fit.encoder.encode_rows(rows)).loss.mean(0)
    return list(np.abs(loss_B - runs.loss))


def _chinchilla_missed(law: Chinchilla, runs: Runs) -> list[float]:
    return list(np.abs(law.predict(*sizes(runs)) - runs.loss))
