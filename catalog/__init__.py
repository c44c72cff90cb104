"""The catalog: normalized runs in Parquet, frozen by manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ncpl_data.catalog.door import Opened


def open(path: str | Path, at: int | None = None) -> Opened:  # noqa: A001, "open" is the word for it
    """Return a catalog for reading: `open(path).runs().polars()`, or arrow, pandas, duckdb."""
    from ncpl_data.catalog.door import open_catalog

    return open_catalog(path, at)
