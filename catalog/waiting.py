"""Contributed runs that wait for a maintainer before a model learns from them, and why.

Anybody may submit a run. One of a set-up of its own is learned from as it is: its losses compare
with no others. One whose losses would enter a family that a source publishes, or that repeats a
published run, is left out of every snapshot until it is accepted (`ncpl-data review`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.alike import COLUMNS as ALIKE_COLUMNS
from ncpl_data.catalog.alike import Alike, have_one_size
from ncpl_data.catalog.families import Family, family_of
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.names import canonical
from ncpl_data.catalog.review import Decision, decisions
from ncpl_data.catalog.store import Catalog

COLUMNS = tuple(
    dict.fromkeys(
        (
            *("run_id", "run_hash", "source", "contributor", "same_as", "final_loss"),
            *("final_loss_metric", "final_loss_unit", "metrics", "dataset", "tokenizer"),
            *ALIKE_COLUMNS,
        )
    )
)
"""Columns of `runs` that are looked at."""

SAME_LOSS = 2e-6
"""Nats. Two runs of one size that end this near each other are one, whatever else they say."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Contributed:
    """One contributed run that waits, or was rejected."""

    run_id: str
    run_hash: str
    contributor: str | None
    final_loss: float | None
    reason: str
    """Why it waits."""
    published: str | None
    """The published run it is nearest to, where it repeats one."""
    published_loss: float | None
    decision: Decision | None
    """The rejection, where there is one."""


def left_out(catalog: Catalog, manifest: Manifest) -> list[Contributed]:
    """Return the contributed runs no snapshot takes, by id: those that wait, those rejected."""
    if not submitted_sources(manifest):
        return []
    rows = catalog.read("runs", list(COLUMNS), manifest=manifest)
    decided = decisions(catalog.folder)
    found = []
    for row, reason, twin in waiting_rows(rows, manifest.submitted):
        decision = decided.get((row["run_id"], row["run_hash"]))
        if decision is not None and decision.verdict == "accepted":
            continue
        found.append(contributed(row, reason, twin, decision))
    known = {one.run_id for one in found}
    for row in contributed_rows(rows, manifest.submitted):
        decision = decided.get((row["run_id"], row["run_hash"]))
        if decision is not None and decision.verdict == "rejected" and row["run_id"] not in known:
            found.append(contributed(row, "rejected", None, decision))
    return sorted(found, key=lambda one: one.run_id)


def contributed(row: Row, reason: str, twin: Row | None, decision: Decision | None) -> Contributed:
    """Return one contributed run with what is known of its case."""
    return Contributed(
        run_id=row["run_id"],
        run_hash=row["run_hash"],
        contributor=row["contributor"],
        final_loss=row["final_loss"],
        reason=reason,
        published=None if twin is None else twin["run_id"],
        published_loss=None if twin is None else twin["final_loss"],
        decision=decision,
    )


def submitted_sources(manifest: Manifest) -> set[str]:
    """Return the sources with runs that submissions fill."""
    filled = {file.source for file in manifest.tables["runs"]}
    return filled & manifest.submitted


def contributed_rows(rows: pa.Table, submitted: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of the sources that submissions fill."""
    named = pa.array(sorted(submitted), pa.string())
    found: list[dict[str, Any]] = rows.filter(pc.is_in(rows["source"], named)).to_pylist()
    return found


def waiting_rows(
    rows: pa.Table, submitted: Collection[str]
) -> Iterator[tuple[Row, str, Row | None]]:
    """Yield each contributed row that may not enter unreviewed, why, and the run it repeats."""
    named = pa.array(sorted(submitted), pa.string())
    judge = Judge(rows.filter(pc.invert(pc.is_in(rows["source"], named))).to_pylist())
    for row in contributed_rows(rows, submitted):
        reason, twin = judge.why(row)
        if reason is not None:
            yield row, reason, twin


def judge_of(catalog: Catalog, manifest: Manifest) -> Judge:
    """Return the judge of what the sources of a catalog publish."""
    tables = {**manifest.tables, "runs": published_files(manifest)}
    rows = catalog.read("runs", list(COLUMNS), manifest=replace(manifest, tables=tables))
    return Judge(rows.to_pylist())


def published_files(manifest: Manifest) -> tuple[DataFile, ...]:
    """Return the files of runs that no submission fills."""
    return tuple(f for f in manifest.tables["runs"] if f.source not in manifest.submitted)


class Judge:
    """What sources publish, to tell whether a contributed run touches it."""

    def __init__(self, published: Sequence[Row]) -> None:
        """Index the published rows, which have the columns `COLUMNS`."""
        self.alike = Alike(published)
        self.ids = {row["run_id"]: row for row in published}
        self.by_loss: dict[int, list[Row]] = {}
        self.families: dict[str, Family] = {}
        self.scales: dict[tuple[Any, ...], str] = {}
        for row in published:
            if row["final_loss"] is not None:
                self.by_loss.setdefault(loss_cell(row["final_loss"]), []).append(row)
                self.scales.setdefault(scale_of(row), row["source"])
            family = family_of(row)
            if family is not None:
                self.families[family.key] = family

    def why(self, row: Row) -> tuple[str | None, Row | None]:
        """Return why a contributed row waits, and the published run it repeats; None if neither."""
        claimed = (self.ids[name] for name in row["same_as"] or () if name in self.ids)
        alike = nearest_first(row, self.alike.find(row))
        for others, words in (
            (claimed, "says that it is"),
            (self.with_loss_of(row), "has the size and the final loss of"),
            (alike, "has the settings of"),
        ):
            twin = next(iter(others), None)
            if twin is not None:
                return f"{words} {twin['run_id']}", twin
        return (None if row["final_loss"] is None else self.why_comparable(row)), None

    def why_comparable(self, row: Row) -> str | None:
        """Return which published losses those of a row would be taken for; None if none."""
        family = family_of(row)
        if family is not None and family.key in self.families:
            return f"would enter the published family {family.key}"
        source = self.source_compared_with(row)
        if source is not None:
            return f"states nothing that sets its losses apart from those of {source}"
        return None

    def with_loss_of(self, row: Row) -> Iterator[Row]:
        """Yield the published runs of a row's size with its final loss, to six digits."""
        loss = row["final_loss"]
        if loss is None:
            return
        for cell in range(loss_cell(loss) - 1, loss_cell(loss) + 2):
            for other in self.by_loss.get(cell, ()):
                if abs(other["final_loss"] - loss) <= SAME_LOSS and have_one_size(row, other):
                    yield other

    def source_compared_with(self, row: Row) -> str | None:
        """Return a source whose losses a row's would be taken for, as far as it says.

        One data set and no other tokenizer; or, where one of the two names no data, one metric.
        """
        metric, unit, dataset, tokenizer = scale_of(row)
        for (other_metric, other_unit, data, tokens), source in self.scales.items():
            if unit != other_unit or (tokenizer and tokens and tokenizer != tokens):
                continue
            if (dataset == data) if dataset and data else metric == other_metric:
                return source
        return None


def scale_of(row: Row) -> tuple[Any, ...]:
    """Return what sets the losses of a row apart: metric, unit, data set and tokenizer."""
    return (
        row["final_loss_metric"],
        row["final_loss_unit"],
        canonical("datasets", row["dataset"]),
        canonical("tokenizers", row["tokenizer"]),
    )


def nearest_first(row: Row, others: Iterable[Row]) -> list[Row]:
    """Return runs by how near their loss is to that of a row, those of its optimizer first."""

    def distance(other: Row) -> tuple[bool, float, str]:
        known = row["final_loss"] is not None and other["final_loss"] is not None
        off = abs(row["final_loss"] - other["final_loss"]) if known else 1e9
        return other["optimizer"] != row["optimizer"], off, other["run_id"]

    return sorted(others, key=distance)


def loss_cell(loss: float) -> int:
    """Return the cell of a loss; losses within SAME_LOSS lie in one or in neighbouring ones."""
    return int(loss // (2 * SAME_LOSS))
