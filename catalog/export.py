"""Register a catalog's files as Delta or Iceberg tables, for Spark, Trino, Daft and others.

Nothing is copied: the export holds hard links to the data files (copies only where a file system
has none) beside the log of the other format. It shows one state; a later one is a new export.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.folder import write_error
from ncpl_data.catalog.manifest import DataFile
from ncpl_data.catalog.parquet import fit_schema, has_schema, read_parquet, write_parquet
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas

TABLES = ("runs", "curves", "evals")


def export_catalog(catalog: Catalog, layout: str, out: Path) -> dict[str, dict[str, Any]]:
    """Write an export into a new folder and return for each table its place, files and rows.

    Raises InputError if the folder is there already, or without the package of the format.
    """
    register = WRITERS[layout]
    if out.exists():
        raise InputError(f"{out} is there already; an export goes into a new folder")
    manifest = catalog.manifest()
    found = {}
    is_whole = False
    try:
        for table in TABLES:
            files = manifest.tables[table]
            if not files:
                continue
            folder = out / table
            (folder / "data").mkdir(parents=True)
            linked = {f"data/{Path(f.path).name}": f for f in files}
            for name, file in linked.items():
                link(catalog.trusted(file), folder / name, table)
            place = register(folder, table, linked)
            rows = sum(f.rows for f in files)
            found[table] = {"place": place, "files": len(files), "rows": rows}
        is_whole = True
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        if not is_whole:
            shutil.rmtree(out, ignore_errors=True)
    return found


def link(path: Path, target: Path, table: str) -> None:
    """Put a data file into the export; one of an older release is written again, all columns."""
    schema = table_schemas()[table]
    if not has_schema(path, schema):
        write_parquet(fit_schema(read_parquet(path), schema), target)
        return
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copyfile(path, target)


def write_delta(folder: Path, table: str, files: Mapping[str, DataFile]) -> str:
    """Register files as a Delta table and return its place."""
    try:
        from deltalake import Schema
        from deltalake.transaction import AddAction, create_table_with_add_actions
    except ImportError as error:
        raise needs("deltalake", "delta") from error
    actions = [
        AddAction(
            path=name,
            size=(folder / name).stat().st_size,
            partition_values={},
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": file.rows}),
        )
        for name, file in files.items()
    ]
    schema = Schema.from_arrow(table_schemas()[table])
    create_table_with_add_actions(str(folder), schema, actions, name=table)
    return str(folder)


def write_iceberg(folder: Path, table: str, files: Mapping[str, DataFile]) -> str:
    """Register files as an Iceberg table of the catalog file beside it; return its metadata."""
    try:
        from pyiceberg.catalog.sql import SqlCatalog
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise needs("pyiceberg[sql-sqlite]", "iceberg") from error
    root = folder.parent.resolve()
    if any(c in "#?%" for c in str(root)):
        raise InputError(f'{root} has one of "#", "?" and "%" in it, which Iceberg can not read')
    try:
        return register_iceberg(SqlCatalog, root, folder, table, files)
    except SQLAlchemyError as error:  # it keeps its catalog in a file of SQLite
        raise OSError(str(error).partition("\n")[0]) from error


def register_iceberg(
    open_catalog: Callable[..., Any],
    root: Path,
    folder: Path,
    table: str,
    files: Mapping[str, DataFile],
) -> str:
    """Create a table in the Iceberg catalog of an export; return the place of its metadata."""
    catalog = open_catalog("ncpl", uri=f"sqlite:///{root / 'iceberg.db'}", warehouse=address(root))
    catalog.create_namespace_if_not_exists("ncpl")
    made = catalog.create_table(
        f"ncpl.{table}",
        schema=table_schemas()[table],
        location=address(folder),
        properties={"format-version": "2"},
    )
    made.add_files([address(folder / name) for name in files])
    place = str(made.metadata_location)
    catalog.close()
    return place


def address(path: Path) -> str:
    """Return a path the way Iceberg writes it: spaces and quotes stand for themselves."""
    return f"file://{path.resolve().as_posix()}"


def needs(package: str, extra: str) -> InputError:
    """Return the error of a missing package."""
    return InputError(f"this export needs {package}; install it: pip install 'ncpl-data[{extra}]'")


WRITERS: Mapping[str, Callable[[Path, str, Mapping[str, DataFile]], str]] = {
    "delta": write_delta,
    "iceberg": write_iceberg,
}
