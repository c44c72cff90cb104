"""Families of comparable losses, each with the configurations and losses of its runs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.drawn import drawn
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
HELD_OUT = ("id", "ood")
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

    def training(self) -> FamilyRuns:
        """Return the runs that are in no held-out part."""
        return self.take([i for i, part in enumerate(self.split) if part not in HELD_OUT])

    def some(self, most: int, *, seed: int = 0) -> FamilyRuns:
        """Return at most so many runs, seeded, in order."""
        return self if len(self) <= most else self.take(drawn(len(self), most, seed=seed).tolist())


def name_of(family: Family) -> str:
    """Return a family's parts as one name, the empty ones left out."""
    return "/".join(part for part in family[:4] if part)


def families_in(snapshot: Snapshot, runs: Runs | None = None) -> list[FamilyRuns]:
    """Return the families of a snapshot whose runs state size, data and a loss in nats.

    Runs that went wrong are left out; so are those outside the split where the split holds a
    published part of their family.
    """
    runs = snapshot.runs() if runs is None else runs
    found: dict[Family, list[tuple[int, dict[str, Any]]]] = {}
    for i, row in enumerate(read_rows(snapshot, runs)):
        if not isinstance(row, str):
            found.setdefault(runs.family[i], []).append((i, row))
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


def read_rows(snapshot: Snapshot, runs: Runs) -> list[dict[str, Any] | str]:
    """Return what a law reads of each run, or why it reads nothing, as the end of a sentence."""
    table = snapshot.table("runs", ["run_id", *MORE])
    more = {} if table is None else {row.pop("run_id"): row for row in table.to_pylist()}
    published = {f for f, part in zip(runs.family, runs.split, strict=True) if part == "id"}
    found: list[dict[str, Any] | str] = []
    for i, family in enumerate(runs.family):
        extra = {k: v for k, v in more.get(runs.run_ids[i], {}).items() if v is not None}
        row = derive(runs.configs[i]) | extra
        reason = reason_against(row, family, runs.loss[i], runs.status[i])
        if not reason and family in published and runs.split[i] is None:
            reason = "lie outside the published split"
        found.append(reason or row)
    return found


def reason_against(row: dict[str, Any], family: Family, loss: float, status: str | None) -> str:
    """Return why no law reads a run, as the end of a sentence; empty where one does."""
    if family[4] not in UNITS:
        return f"have losses in {family[4]}, not in nats per token"
    if not loss > 0:  # NaN where there is none
        return "state no final loss that is comparable"
    if status in WRONG:
        return f"are {status}"
    if is_apart(row, family):
        return "are of few bits, or have training losses on tokens seen before"
    if not size_of(row) > 0:
        return "state no size"
    return "" if worth_of(row) > 0 else "state no training tokens"


def unread_families(snapshot: Snapshot, runs: Runs) -> dict[Family, str]:
    """Return the families of which no law reads a run, each with one sentence that says why."""
    rows = read_rows(snapshot, runs)
    read = {f for f, row in zip(runs.family, rows, strict=True) if not isinstance(row, str)}
    why: dict[Family, Counter[str]] = {}
    for family, row in zip(runs.family, rows, strict=True):
        if family not in read and isinstance(row, str):
            why.setdefault(family, Counter())[row] += 1
    return {
        family: f"{name_of(family)} can not be placed: "
        + " and ".join(f"its runs {reason} ({n})" for reason, n in counts.most_common())
        for family, counts in sorted(why.items())
    }


def as_read(runs: Runs, families: Sequence[FamilyRuns]) -> Runs:
    """Return the runs that these families hold, with the rows their laws read as configurations."""
    rows = {run_id: row for f in families for run_id, row in zip(f.run_ids, f.rows, strict=True)}
    some = runs.take(np.array([run_id in rows for run_id in runs.run_ids], dtype=bool))
    return replace(some, configs=[dict(rows[run_id]) for run_id in some.run_ids])


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
