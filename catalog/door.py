"""The door for Python: a catalog's tables as Arrow, Polars, pandas or a DuckDB relation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.query import connect, stream_sql
from ncpl_data.catalog.store import Catalog

BATCH_ROWS = 131_072

if TYPE_CHECKING:
    import duckdb
    import polars as pl


@dataclass(frozen=True)
class Table:
    """Rows of a catalog, in whichever form is wanted."""

    rows: pa.Table

    def arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return self.rows

    def polars(self) -> pl.DataFrame:
        """Return a Polars frame."""
        import polars as pl

        return pl.DataFrame(self.rows)

    def pandas(self) -> Any:
        """Return a pandas frame. Raises InputError where pandas is not installed."""
        try:
            return self.rows.to_pandas()
        except ImportError as error:
            raise InputError("pandas is not installed: pip install pandas") from error

    def duckdb(self) -> duckdb.DuckDBPyRelation:
        """Return a DuckDB relation on a connection of its own."""
        import duckdb

        return duckdb.connect(":memory:").from_arrow(self.rows)


@dataclass(frozen=True)
class Opened:
    """One state of a catalog, for reading."""

    catalog: Catalog

    def runs(self, where: str | None = None) -> Table:
        """Return the runs, those of an SQL condition if there is one, sorted by id."""
        condition = f"where ({where}\n)" if where else ""
        return self.sql(f"select * from runs {condition} order by run_id")

    def sql(self, query: str) -> Table:
        """Return the rows of one reading statement. Raises InputError for any other."""
        con = connect(self.catalog, query)
        try:
            return Table(stream_sql(con, query, BATCH_ROWS).read_all())
        finally:
            con.close()


def open_catalog(path: str | Path, at: int | None = None) -> Opened:
    """Return the state of a catalog's folder that is newest now, or an older one by its number."""
    catalog = Catalog(Path(path), at)
    return Opened(catalog.at(catalog.manifest().version))
