"""Make the table of hidden hyperparameters of LossCast-Bench's Marin runs.

It takes a minute, too long for every ingest, so the result ships. A reader checks each entry
against the run's name again, so a wrong table can not put a wrong value into the catalog.

    python -m ncpl_data.ingest.studies.recover_marin ingest/data/losscast/marin_hidden.parquet
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.catalog.canonical import canonical_json
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.ingest.studies import losscast, marin
from ncpl_data.ingest.studies.marin_hidden import GRIDS, recover

SCHEMA = pa.schema([("name", pa.string()), ("fits", pa.string())])

Fits = list[dict[str, Any]]
"""The choices that fit one run: one is an answer, more are ambiguous."""


def recoverable(records: Iterator[losscast.Record]) -> Iterator[tuple[str, Fits]]:
    """Yield (name, choices that fit) for each Marin run with hidden fields and a digest."""
    for record in records:
        fits = fits_of(record)
        if fits is not None:
            yield record.native, fits


def fits_of(record: losscast.Record) -> Fits | None:
    """Return the choices that fit one run; None if it is no Marin run with hidden fields."""
    named = marin.parse_name(record.native) if record.study == "marin" else None
    if named is None or named.digest is None or named.optimizer not in GRIDS:
        return None
    listed = losscast.marin_config(named.optimizer, record.config)
    steps = marin.steps_of(named.nominal_tokens, listed["train_batch_size"])
    return recover(record.native, named.optimizer, listed, steps)


def write_table(rows: list[tuple[str, Fits]], path: Path) -> None:
    """Write the table, sorted by name; equal results give equal bytes."""
    lines = [{"name": name, "fits": canonical_json(fits)} for name, fits in sorted(rows)]
    pq.write_table(
        pa.Table.from_pylist(lines, schema=SCHEMA),
        path,
        compression="zstd",
        compression_level=22,
        write_statistics=False,
        store_schema=False,
    )


def read_table(path: Path) -> dict[str, Fits]:
    """Return the choices that fit by run name.

    Raises RawFileError if the file is not that table.
    """
    try:
        table = pq.read_table(path, columns=SCHEMA.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise RawFileError(
            f"{losscast.NAME} {path.name}: not the table of hidden hyperparameters ({error}). "
            "Install the program again",
            source=losscast.NAME,
            file=path.name,
        ) from error
    return {row["name"]: json.loads(row["fits"]) for row in table.to_pylist()}


def main(arguments: list[str]) -> int:
    """Make the table at the path given."""
    (path,) = arguments
    shipped = losscast.SHIPPED.bundled_path()
    assert shipped is not None
    ood = losscast.SHIPPED_OOD.bundled_path()
    assert ood is not None
    records = itertools.chain(losscast.read_shipped(shipped), losscast.read_gzip(ood))
    rows = list(recoverable(records))
    write_table(rows, Path(path))
    found = sum(len(fits) == 1 for _, fits in rows)
    sys.stdout.write(f"{found} of {len(rows)} runs found, {path} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
