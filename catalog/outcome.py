"""What an upsert did, and the rows of `rejects` and `ingests` that record it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.canonical import canonical_json
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.schema.load import SCHEMA_VERSION


@dataclass(frozen=True)
class Outcome:
    """What an upsert did, or would do."""

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Refused records by reason."""
    version: int | None = None
    """The manifest that holds the result; None where nothing had to be written."""

    @property
    def n_rejected(self) -> int:
        """Refused records in all."""
        return sum(self.rejected.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "added": len(self.added),
            "updated": len(self.updated),
            "unchanged": self.unchanged,
            "rejected": self.n_rejected,
            "rejected_by_reason": dict(sorted(self.rejected.items())),
            "manifest": self.version,
        }


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def count_reasons(skipped: Sequence[Skipped]) -> dict[str, int]:
    """Return how often each reason was given."""
    counts: dict[str, int] = {}
    for item in skipped:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    return counts


def rejects_table(source: str, skipped: Sequence[Skipped]) -> pa.Table:
    """Return refused records as the table `rejects`, sorted by what names them."""
    rows = [
        {
            "source": source,
            "ref": item.ref,
            "reason": item.reason,
            "detail": item.detail,
            "payload": None if item.payload is None else canonical_json(spelt(item.payload)),
            "schema_version": SCHEMA_VERSION,
        }
        for item in sorted(skipped, key=lambda s: s.ref)
    ]
    return pa.Table.from_pylist(rows, schema=table_schemas()["rejects"])


def spelt(value: Any) -> Any:
    """Return a value with numbers that are not finite as text: what was refused may hold any."""
    if isinstance(value, Mapping):
        return {key: spelt(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [spelt(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def ingest_row(source: str, origin: str, outcome: Outcome, tool_version: str) -> pa.Table:
    """Return the row of the table `ingests` for one commit."""
    row = {
        "ingest_id": uuid.uuid4().hex,
        "source": source,
        "origin": origin,
        "at": datetime.now(UTC),
        "added": len(outcome.added),
        "updated": len(outcome.updated),
        "unchanged": outcome.unchanged,
        "rejected": outcome.n_rejected,
        "tool_version": tool_version,
    }
    return pa.Table.from_pylist([row], schema=table_schemas()["ingests"])
