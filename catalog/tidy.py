"""Small files are merged as they come: a source never has more than a few dozen of them.

A commit of ten runs writes four files. As soon as `MERGE_FILES` files of a source and table are of
one size, the commit puts one in their place; sizes grow by that factor, so each row is written
again at most three times. What is larger is for `compact`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.manifest import DataFile
from ncpl_data.catalog.merge import SORT_KEYS
from ncpl_data.catalog.parquet import fit_schema, read_parquet
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas

MERGE_FILES = 16
SMALL_ROWS = 1 << 14
SMALL_BYTES = 1 << 16
"""A file of more rows or bytes is left alone: what is merged is in memory at once."""

Done = dict[frozenset[str], tuple[DataFile, ...]]
"""What was merged already, by the files it stands for: kept over the tries of a commit."""


def size_class(file: DataFile) -> int:
    """Return how often `MERGE_FILES` divides the rows of a file."""
    return max(file.rows.bit_length() - 1, 0) // (MERGE_FILES.bit_length() - 1)


def tidied(
    catalog: Catalog,
    table: str,
    source: str,
    files: Sequence[DataFile],
    before: Sequence[DataFile],
    done: Done,
) -> tuple[DataFile, ...]:
    """Return a table's files with small ones of a source merged where there are many.

    Only files of the state `before` are merged: one that this commit has just written would else
    be in no state at all. Raises IntegrityError if one of them is damaged.
    """
    found, listed = tuple(files), {f.path for f in before}
    classes: dict[int, list[DataFile]] = {}
    for file in found:
        is_small = file.rows < SMALL_ROWS and file.bytes < SMALL_BYTES
        if file.source == source and is_small and file.path in listed:
            classes.setdefault(size_class(file), []).append(file)
    for group in classes.values():
        if len(group) >= MERGE_FILES:
            key = frozenset(f.path for f in group)
            if key not in done:
                done[key] = merged_file(catalog, table, source, group)
            found = (*(f for f in found if f.path not in key), *done[key])
    return found


def merged_file(
    catalog: Catalog, table: str, source: str, files: Sequence[DataFile]
) -> tuple[DataFile, ...]:
    """Write the rows of some files as one and return it."""
    schema = table_schemas()[table]
    parts = [fit_schema(read_parquet(catalog.trusted(f)), schema) for f in files]
    rows = pa.concat_tables(parts)
    rows = rows.take(pc.sort_indices(sort_columns(rows, table), order_of(table)))
    return catalog.write(table, source, rows, hashed=all(f.hashed for f in files))


def order_of(table: str) -> list[tuple[str, str]]:
    """Return the sort keys of a table as Arrow takes them."""
    return [(key, "ascending") for key in SORT_KEYS[table]]


def sort_columns(rows: pa.Table, table: str) -> pa.Table:
    """Return the columns a table is sorted by; an absent step comes before all others."""
    columns = rows.select(list(SORT_KEYS[table]))
    if table != "evals":
        return columns
    at = columns.schema.get_field_index("step")
    return columns.set_column(at, "step", pc.fill_null(columns["step"], -1))
