"""What a contribution will do: which runs are learned from, which are not, and what they lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl_data.catalog.families import Family, family_of
from ncpl_data.catalog.model_ready import NEEDED, model_ready
from ncpl_data.catalog.readable import advice, indistinct_runs
from ncpl_data.catalog.record import Run

MAX_SHOWN = 5
"""Reasons, families and fields that are written out."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Outlook:
    """What a model will make of some runs."""

    n_runs: int
    n_learned: int
    not_learned: Mapping[str, int]
    """Runs that are not learned from, by reason."""
    families: Mapping[str, int]
    """Runs that are learned from, by family of comparable losses."""
    nearest: Mapping[str, str]
    """For each family the one of the catalog that is most like it, where there is another."""
    lacking: Mapping[str, int]
    """Runs that lack a field a model reads, by what would give it."""
    n_known: int
    """Families of the catalog it was held against."""
    indistinct: Sequence[str]
    """Sentences on configurations that no model can tell apart."""

    def as_dict(self) -> dict[str, Any]:
        """Return the outlook as a JSON object."""
        return {
            "runs": self.n_runs,
            "learned": self.n_learned,
            "not_learned": dict(self.not_learned),
            "families": dict(self.families),
            "nearest": dict(self.nearest),
            "lacking": dict(self.lacking),
            "indistinct": list(self.indistinct),
        }

    def lines(self) -> list[str]:
        """Return the outlook as text, a line each."""
        if not self.n_runs:
            return []
        lines = [f"{self.n_learned:,} of {self.n_runs:,} runs will be learned from"]
        lines += [f"  {n:,} will not: {why}" for why, n in most(self.not_learned)]
        for family, n in most(self.families):
            lines.append(f"  {n:,} for {family}{self.told_nearest(family)}")
        lines += [f"  {n:,} do not state {field}" for field, n in most(self.lacking)]
        return [*lines, *self.indistinct[:MAX_SHOWN]]

    def told_nearest(self, family: str) -> str:
        """Return what to say of the family of the catalog that is most like one."""
        if family in self.nearest:
            return f"; nearest of the catalog: {self.nearest[family]}"
        return "; none of the catalog shares its data, tokenizer or metric" if self.n_known else ""


def most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the largest counts, the largest first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_SHOWN]


def outlook(
    runs: Iterable[Run], known: Iterable[Family] = (), waiting: Mapping[str, str] | None = None
) -> Outlook:
    """Return what a model will make of some runs.

    `known` are the families of the catalog, `waiting` the reason for each run that waits for
    review, by id.
    """
    rows = [vars(run) for run in runs]
    not_learned: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    families: Counter[Family] = Counter()
    for row in rows:
        ready = model_ready(row)
        why = reason_not(row, ready.needs, waiting or {})
        if why is None:
            family = family_of(row)
            assert family is not None
            families[family] += 1
        else:
            not_learned[why] += 1
        lacking.update(need for name, need in ready.needs.items() if name not in NEEDED)
    kinds = set(known) - set(families)
    near = {family.key: nearest_family(family, kinds) for family in families}
    found = indistinct_runs(run_row(row) for row in rows)
    told = [one.sentence for one in found]
    if told and (more := advice(found)):
        told.insert(0, more)
    return Outlook(
        n_runs=len(rows),
        n_learned=sum(families.values()),
        not_learned=dict(not_learned),
        families={family.key: n for family, n in families.items()},
        nearest={key: other for key, other in near.items() if other is not None},
        lacking=dict(lacking),
        n_known=len(kinds),
        indistinct=told,
    )


def run_row(row: Row) -> dict[str, Any]:
    """Return the values of a run without its curves."""
    return {name: value for name, value in row.items() if name not in ("curves", "evals")}


def reason_not(row: Row, needs: Mapping[str, str], waiting: Mapping[str, str]) -> str | None:
    """Return why a run is not learned from; None where it is."""
    if row["run_id"] in waiting:
        return f"it waits for review: {waiting[row['run_id']]}"
    if row.get("stage") not in (None, "pretrain"):
        return f"its stage is {row['stage']}"
    if row.get("initial_weights") not in (None, "random"):
        return "it starts from weights of elsewhere"
    if row.get("modality") not in (None, "text"):
        return f"its tokens are {row['modality']}"
    lacks = [needs[name] for name in NEEDED if name in needs]
    return f"it lacks {'; '.join(lacks)}" if lacks else None


def nearest_family(family: Family, known: Iterable[Family]) -> str | None:
    """Return the known family that has most in common with one; None if none has anything."""
    best, best_score = None, 0
    for other in sorted(known):
        if other.unit != family.unit:
            continue
        score = sum(
            weight * (getattr(family, part) == getattr(other, part) != "?")
            for part, weight in (("dataset", 4), ("tokenizer", 3), ("metric", 2))
        )
        if score > best_score:
            best, best_score = other.key, score
    return best
