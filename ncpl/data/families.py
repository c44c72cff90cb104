"""Families of comparable losses, each with the configurations and losses of its runs."""

from __future__ import annotations

import json
import math
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
KIN = (
    frozenset({"chinchilla", "kyo_takano"}),
    frozenset({"datablations", "colpret"}),
    frozenset({"marin", "marin_isoflops", "marin_speedruns"}),
    frozenset({"steplaw", "scalebench"}),
)
"""Sources that tell of the same experiments, or of one owner's: what one knows, the other does."""
MOST_MIXTURES = 5
"""Mixtures of data in a family beyond which its losses tell of them more than of size and data."""
MOST_REPEATS = 1.5
"""Times a token is seen beyond which a training loss tells of memory."""
MORE = (
    "extra",
    "mixture",
    "unique_tokens",
    "params_active_non_embedding",
    "n_experts",
    "params_active",
)
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
    """Every source that any of its runs comes from, and their kin."""
    run_ids: Sequence[str]
    rows: Sequence[Config]
    """Derived configurations."""
    loss: Array
    """Nats per token."""
    family: Family
    split: Sequence[str | None] = ()
    """train, id, ood or None, by run."""
    is_mixed: bool = False
    """Whether its runs are of many mixtures of data, of which no law here reads anything."""

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
        if is_apart(row, family):
            continue
        if size_of(row) > 0 and worth_of(row) > 0:
            found.setdefault(family, []).append((i, row))
    families = []
    for family, items in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        lowest = min(runs.loss[i] for i, _ in items)
        kept = [(i, row) for i, row in items if runs.loss[i] <= FARTHEST * lowest]
        mixtures = {str(row.pop("mixture", "")) for _, row in kept}
        families.append(
            FamilyRuns(
                name_of(family),
                with_kin({runs.run_ids[i].split("/", 1)[0] for i, _ in kept}),
                [runs.run_ids[i] for i, _ in kept],
                [row for _, row in kept],
                runs.loss[[i for i, _ in kept]],
                family,
                [runs.split[i] for i, _ in kept],
                len(mixtures) > MOST_MIXTURES,
            )
        )
    return families


def is_apart(row: dict[str, Any], family: Family) -> bool:
    """Return whether a run's loss tells of what no law here reads.

    A network trained in few bits, or a training loss on tokens seen before, which are remembered.
    """
    quantizer = json.loads(row.pop("extra", None) or "{}").get("quest.weight_quantizer")
    repeats = (row.get("data_tokens") or 0) / (row.get("unique_tokens") or math.inf)
    return quantizer not in (None, "NoQuantizer") or (
        family[1].startswith("train/") and repeats > MOST_REPEATS
    )


def with_kin(sources: set[str]) -> frozenset[str]:
    """Return sources with those that tell of the same experiments."""
    return frozenset(sources).union(*(kin for kin in KIN if kin & sources))
