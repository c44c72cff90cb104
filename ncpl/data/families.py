"""Families of comparable losses, each with the configurations and losses of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config, derive
from ncpl.data.sizes import size_of, worth_of
from ncpl.data.snapshot import Family, Runs, Snapshot

Array = npt.NDArray[np.float64]
UNITS = ("nats_per_token", "")
MORE = ("unique_tokens", "params_active_non_embedding", "n_experts", "params_active")
"""Columns read beside the fields of a configuration."""
WRONG = frozenset({"diverged", "truncated", "failed", "unstable"})
"""Status of a run whose loss is not that of its configuration."""
FARTHEST = 2.2
"""Losses beyond this many times the family's lowest are no evidence: the run hardly learned."""


@dataclass(frozen=True)
class FamilyRuns:
    """Finished runs of one family of comparable losses."""

    name: str
    sources: frozenset[str]
    """Every source that any of its runs comes from."""
    run_ids: Sequence[str]
    rows: Sequence[Config]
    """Derived configurations."""
    loss: Array
    """Nats per token."""
    family: Family
    split: Sequence[str | None] = ()
    """train, id, ood or None, by run."""

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.rows)

    def take(self, at: Sequence[int]) -> FamilyRuns:
        """Return the runs at these places."""
        return replace(
            self,
            run_ids=[self.run_ids[i] for i in at],
            rows=[self.rows[i] for i in at],
            loss=self.loss[list(at)],
            split=[self.split[i] for i in at] if self.split else (),
        )

    def where(self, split: str | None) -> FamilyRuns:
        """Return the runs of one part of the split."""
        return self.take([i for i, part in enumerate(self.split) if part == split])


def name_of(family: Family) -> str:
    """Return a family's parts as one name, the empty ones left out."""
    return "/".join(part for part in family[:4] if part)


def families_in(snapshot: Snapshot, runs: Runs | None = None) -> list[FamilyRuns]:
    """Return the families of a snapshot whose runs state size, data and a loss in nats.

    Runs that went wrong are left out; so are those outside the split where the split holds a
    published part of their family.
    """
    runs = snapshot.runs() if runs is None else runs
    table = snapshot.table("runs", ["run_id", *MORE])
    more = {} if table is None else {row.pop("run_id"): row for row in table.to_pylist()}
    published = {f for f, part in zip(runs.family, runs.split, strict=True) if part == "id"}
    found: dict[Family, list[tuple[int, dict[str, Any]]]] = {}
    for i in np.flatnonzero(np.isfinite(runs.loss)).tolist():
        family = runs.family[i]
        if runs.status[i] in WRONG or family[4] not in UNITS or runs.loss[i] <= 0:
            continue
        if family in published and runs.split[i] is None:
            continue
        extra = {k: v for k, v in more.get(runs.run_ids[i], {}).items() if v is not None}
        row = derive(runs.configs[i]) | extra
        if size_of(row) > 0 and worth_of(row) > 0:
            found.setdefault(family, []).append((i, row))
    families = []
    for family, items in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        lowest = min(runs.loss[i] for i, _ in items)
        kept = [(i, row) for i, row in items if runs.loss[i] <= FARTHEST * lowest]
        families.append(
            FamilyRuns(
                name_of(family),
                frozenset(runs.run_ids[i].split("/", 1)[0] for i, _ in kept),
                [runs.run_ids[i] for i, _ in kept],
                [row for _, row in kept],
                runs.loss[[i for i, _ in kept]],
                family,
                [runs.split[i] for i, _ in kept],
            )
        )
    return families
