"""The catalog: normalized runs in Parquet, frozen by manifests.

import ncpl_data.catalog as cat

cat.open("ncpl-catalog").runs()              # a lazy frame of Polars
cat.open("ncpl-catalog").curves("pandas")    # or "arrow", "duckdb"
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ncpl_data.catalog.door import Opened

__all__ = ["open"]


def open(path: Path | str, at: int | None = None) -> Opened:  # noqa: A001 it is said as cat.open
    """Return the catalog of a folder or s3://bucket/prefix, by default its newest state.

    Raises InputError if there is none.
    """
    from ncpl_data.catalog.door import open_catalog

    return open_catalog(path, at)
