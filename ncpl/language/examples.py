"""Examples: the runs of a snapshot with their points, residuals and laws."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config, derive
from ncpl.data.snapshot import Family, Measured, Runs
from ncpl.errors import ConfigError, SnapshotError
from ncpl.language.sequence import Query
from ncpl.language.settings import LanguageConfig
from ncpl.laws import chinchilla
from ncpl.laws.chinchilla import REFERENCE, Chinchilla

Array = npt.NDArray[np.float64]
MIN_RUNS = 60
"""Families with fewer training runs get no law."""


@dataclass(frozen=True)
class Examples:
    """Queries with targets, one a run, and where each came from."""

    queries: list[Query]
    groups: list[str]
    """Group of the split: source:optimizer/N/D."""
    run_ids: list[str]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.queries)

    def take(self, keep: Sequence[bool]) -> Examples:
        """Return the runs where `keep` is true."""
        at = [i for i, is_kept in enumerate(keep) if is_kept]
        return Examples(
            [self.queries[i] for i in at],
            [self.groups[i] for i in at],
            [self.run_ids[i] for i in at],
        )


def row_of(config: Config, source: str) -> dict[str, Any]:
    """Return a derived configuration under its family's source, with the steps it implies."""
    row = derive(config) | {"source": source}
    if row.get("train_steps") is None and row.get("data_tokens") and row.get("batch_tokens"):
        row["train_steps"] = row["data_tokens"] / row["batch_tokens"]
    return row


def laws_of(runs: Runs, config: LanguageConfig) -> dict[Family, Chinchilla]:
    """Return the law under the residual for every family to train on.

    Raises ConfigError where a wanted source has too few training runs, or no reference law.
    """
    laws: dict[Family, Chinchilla] = {}
    for family in runs.families():
        source = family[0]
        train = runs.where(family=family, split="train")
        if (config.sources and source not in config.sources) or len(train) < MIN_RUNS:
            continue
        if config.target == "reference":
            if source not in REFERENCE:
                raise ConfigError(
                    f'target "reference": the reference has no law for {source}; it has '
                    f"{', '.join(REFERENCE)}. Name them in sources, or set target to refit"
                )
            laws[family] = REFERENCE[source]
            continue
        rows = [derive(c) for c in train.configs]
        n, d = (np.array([r[k] for r in rows]) for k in ("params_non_embedding", "data_tokens"))
        laws[family] = chinchilla.fit(n, d, train.loss, seed=0)
    missing = set(config.sources) - {family[0] for family in laws}
    if missing or not laws:
        named = ", ".join(sorted(missing)) or "any source"
        raise SnapshotError(
            f"the snapshot has fewer than {MIN_RUNS} runs in the train split for {named}; take one "
            "with the ncpl split: ncpl-data snapshot"
        )
    return laws


def examples_of(
    runs: Runs,
    laws: Mapping[Family, Chinchilla],
    config: LanguageConfig,
    split: str,
    curves: Measured | None = None,
) -> Examples:
    """Return the runs of a split, every family together; with curve points where given."""
    queries, groups, run_ids = [], [], []
    for family, law in laws.items():
        part = runs.where(family=family, split=split)
        for run_id, raw, loss, group in zip(
            part.run_ids, part.configs, part.loss, part.group, strict=True
        ):
            row = row_of(raw, family[0])
            points = curve_points(row, curves.get(run_id), config) if curves else []
            fractions, losses = zip(*points, (1.0, float(loss)), strict=True)
            below = float(law.predict(row["params_non_embedding"], row["data_tokens"]))
            queries.append(Query(row, fractions, tuple(value - below for value in losses)))
            groups.append(f"{family[0]}:{group}")
            run_ids.append(run_id)
    return Examples(queries, groups, run_ids)


def curve_points(
    row: Config, curve: tuple[Array, Array] | None, config: LanguageConfig
) -> list[tuple[float, float]]:
    """Return (fraction of the run, loss) of at most `curve_points` logged points before its end."""
    steps = row.get("train_steps")
    if curve is None or not steps:
        return []
    fraction = (curve[0] + 1) / steps  # step 0 is the first: one step is done after it
    usable = (fraction >= config.curve_start) & (fraction < 1.0) & np.isfinite(curve[1])
    at = np.flatnonzero(usable)
    if not len(at):
        return []
    chosen = at[np.unique(np.linspace(0, len(at) - 1, config.curve_points).round().astype(int))]
    return list(zip(fraction[chosen].tolist(), curve[1][chosen].tolist(), strict=True))


def held_out(groups: Sequence[str], share: float) -> list[bool]:
    """Return which training runs are held out: whole groups, by their hash, at least one group."""
    names = sorted(set(groups), key=lambda g: hashlib.sha256(g.encode()).hexdigest())
    chosen = set(names[: max(1, math.ceil(share * len(names)))]) if share > 0 else set()
    if len(chosen) == len(names):
        chosen = set()
    return [group in chosen for group in groups]
