"""Limits of the work that a contributed file can ask for, stated once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much one file may hold; more is refused before it is read, or where it is reached."""

    bytes: int = 256 << 20
    """Of a curve file; of a Parquet file also what its columns take unpacked."""
    rows: int = 5_000_000
    """Points of all curves of a file: about .6 GB while they are checked."""
    metrics: int = 1_000
    """As many curves as the schema allows a run."""
    seconds: float = 40.0
    """For the rows of one curve file."""


LIMITS = Limits()
MAX_JSON_BYTES = 64 << 20
"""Of one document, which is a line of a .jsonl file."""
MAX_YAML_BYTES = 8 << 20
"""A YAML text of this size already takes seconds to read."""
