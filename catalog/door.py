"""The catalog's door for Python: its tables in the form one works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.history import versions
from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

Form = Literal["polars", "arrow", "pandas", "duckdb"]
FORMS: tuple[Form, ...] = ("polars", "arrow", "pandas", "duckdb")


class Opened:
    """One state of a catalog. Each table comes as Polars (lazy), Arrow, pandas or DuckDB.

    It stays that state while others write; `open` again for the newest.
    """

    def __init__(self, catalog: Catalog) -> None:
        """Take a catalog; its state is read once."""
        self.manifest: Manifest = catalog.manifest()
        self.catalog = catalog.at(self.manifest.version)

    def __repr__(self) -> str:
        """Return where it lies, its state and how many runs it has."""
        n = sum(file.rows for file in self.manifest.tables["runs"])
        place = self.catalog.folder.place
        return f"<catalog {place}, state {self.manifest.version}, {n:,} runs>"

    @overload
    def runs(self, form: Literal["polars"] = "polars") -> pl.LazyFrame: ...
    @overload
    def runs(self, form: Literal["arrow"]) -> pa.Table: ...
    @overload
    def runs(self, form: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def runs(self, form: Literal["duckdb"]) -> duckdb.DuckDBPyRelation: ...
    def runs(self, form: Form = "polars") -> Any:
        """Return one row a run; columns and units: schema/FIELDS.md. InputError: another form."""
        return self.table("runs", form)

    @overload
    def curves(self, form: Literal["polars"] = "polars") -> pl.LazyFrame: ...
    @overload
    def curves(self, form: Literal["arrow"]) -> pa.Table: ...
    @overload
    def curves(self, form: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def curves(self, form: Literal["duckdb"]) -> duckdb.DuckDBPyRelation: ...
    def curves(self, form: Form = "polars") -> Any:
        """Return one row a point: run_id, source, metric, step, tokens, value."""
        return self.table("curves", form)

    @overload
    def evals(self, form: Literal["polars"] = "polars") -> pl.LazyFrame: ...
    @overload
    def evals(self, form: Literal["arrow"]) -> pa.Table: ...
    @overload
    def evals(self, form: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def evals(self, form: Literal["duckdb"]) -> duckdb.DuckDBPyRelation: ...
    def evals(self, form: Form = "polars") -> Any:
        """Return one row a downstream measurement."""
        return self.table("evals", form)

    def table(self, name: str, form: Form = "polars") -> Any:
        """Return a table in one form. Files are held against their hashes first.

        Raises InputError for a form there is none of, IntegrityError for a damaged file.
        """
        if form == "polars":
            return self.lazy(name)
        if form == "arrow":
            return self.catalog.read(name, manifest=self.manifest)
        if form == "pandas":
            check_pandas()
            return self.catalog.read(name, manifest=self.manifest).to_pandas()
        if form == "duckdb":
            from ncpl_data.catalog.query import connect

            return connect(self.catalog).table(name)
        raise InputError(f'there is no form "{form}" of a table; there are: {", ".join(FORMS)}')

    def lazy(self, name: str) -> pl.LazyFrame:
        """Return a table as a lazy frame of Polars; a column a file lacks is null there."""
        import polars as pl

        empty = pl.from_arrow(table_schemas()[name].empty_table())
        assert isinstance(empty, pl.DataFrame)
        files = [self.catalog.trusted(file) for file in self.manifest.tables[name]]
        parts = [pl.scan_parquet(path, glob=False) for path in files]
        return pl.concat([empty.lazy(), *parts], how="diagonal_relaxed")


def check_pandas() -> None:
    """Raise InputError where pandas, which no base install brings, is not installed."""
    try:
        import pandas as pd  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        raise InputError(
            'the form "pandas" needs pandas: pip install pandas; "polars", "arrow" and "duckdb" '
            "need nothing more"
        ) from error


def open_catalog(path: Path | str, at: int | None = None) -> Opened:
    """Return a catalog that is there, by default its newest state.

    Raises InputError if there is none.
    """
    catalog = Catalog(path, at)
    if not versions(catalog.folder):
        raise InputError(
            f"{catalog.folder.place} holds no catalog; begin one: "
            f"ncpl-data ingest steplaw --catalog {path}"
        )
    return Opened(catalog)
