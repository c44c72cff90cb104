"""Pack gathered files into the one file that ships, byte for byte.

    python -m ncpl_data.ingest.pack ingest/data/marin/marin.parquet runs.jsonl eval_curves.jsonl
    python -m ncpl_data.ingest.pack ingest/data/losscast/losscast.parquet runs.jsonl.gz

A file in gzip is packed as what it holds, under its name without .gz. Prints the pin of the sheet.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.ingest.packed import write_packed


def main(arguments: Sequence[str]) -> int:
    """Write the packed file named first from the files named after it."""
    target, *names = (Path(argument) for argument in arguments)
    contents = {
        path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in names
    }
    write_packed(contents, target)
    sys.stdout.write(f"{target.name} {target.stat().st_size} {file_sha256(target)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
