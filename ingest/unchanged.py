"""Whether a source was read before as it is now: then there is nothing to read.

An ingest leaves its mark, as the source's cursor: the hash of the files it read, that of the code
that reads, and that of the rows which came of both. The next one compares all three, the rows with
what the catalog holds by then, before it reads the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.outcome import Outcome, rejects_table
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.store import RUN_TABLES, Catalog
from ncpl_data.catalog.tables import EncodedRun
from ncpl_data.catalog.verified import known_sha256
from ncpl_data.terminal.version import __version__

CODE = ("schema", "catalog", "ingest")
"""Folders whose files decide what a source's rows are."""

CODE_SUFFIXES = (".py", ".toml", ".json")


@cache
def code_digest() -> str:
    """Return the SHA-256 of the version and of every file of code and facts that readers use."""
    root = Path(__file__).parents[1]
    found = hashlib.sha256(__version__.encode())
    for folder in CODE:
        base = root / folder
        for path in sorted(p for p in base.rglob("*") if p.suffix in CODE_SUFFIXES):
            content = path.read_bytes()
            name = path.relative_to(root).as_posix()
            found.update(f"\0{name}\0{len(content)}\0".encode())
            found.update(content)
    return found.hexdigest()


def files_digest(origin: str, paths: Mapping[str, Path]) -> str:
    """Return the SHA-256 of the files of an origin, by name."""
    found = hashlib.sha256(origin.encode())
    for name, path in sorted(paths.items()):
        found.update(f"\0{name}\0{known_sha256(path)}".encode())
    return found.hexdigest()


def mark(
    origin: str,
    paths: Mapping[str, Path],
    runs: Sequence[EncodedRun],
    skipped: Sequence[Skipped],
    source: str,
) -> dict[str, str]:
    """Return the mark of an ingest that read some files."""
    n_points = sum(len(curve.step) for run in runs for curve in run.curves)
    n_evals = sum(len(run.evals) for run in runs)
    names = ((run.run_id, run.content_hash()) for run in runs)
    rows = rows_digest(names, n_points, n_evals, rejects_table(source, skipped))
    return {"files": files_digest(origin, paths), "code": code_digest(), "rows": rows}


def rows_digest(
    runs: Iterable[tuple[str, str]], n_points: int, n_evals: int, rejects: pa.Table
) -> str:
    """Return the SHA-256 of what a source has in the catalog: names, hashes, counts, refusals."""
    found = hashlib.sha256(f"{n_points} {n_evals}".encode())
    for run_id, run_hash in sorted(runs):
        found.update(f"\0{run_id}\0{run_hash}".encode())
    for row in rejects.sort_by("ref").to_pylist():
        found.update(f"\0{sorted(row.items())!r}".encode())
    return found.hexdigest()


def unchanged(
    source: str, sheet: Mapping[str, Any], origin: str, paths: Mapping[str, Path], catalog: Catalog
) -> Outcome | None:
    """Return the outcome of reading files once more where it is known; None where they must be.

    Raises IntegrityError if a file of the catalog with rows of the source is damaged.
    """
    manifest = catalog.manifest()
    known = manifest.cursors.get(source)
    if not isinstance(known, dict) or manifest.sources.get(source) != sheet:
        return None
    if known.get("code") != code_digest() or known.get("files") != files_digest(origin, paths):
        return None
    files = {t: [f for f in manifest.tables[t] if f.source == source] for t in RUN_TABLES}
    if not all(file.hashed for own in files.values() for file in own):
        return None  # an older release wrote them: their hashes may not be those of their rows
    for file in (file for own in files.values() for file in own):
        catalog.trusted(file)
    rows = catalog.read("runs", ["run_id", "run_hash"], source=source, manifest=manifest)
    rejects = catalog.read("rejects", source=source, manifest=manifest)
    n_points, n_evals = (sum(f.rows for f in files[table]) for table in ("curves", "evals"))
    names = zip(rows["run_id"].to_pylist(), rows["run_hash"].to_pylist(), strict=True)
    if known.get("rows") != rows_digest(names, n_points, n_evals, rejects):
        return None
    reasons = rejects["reason"].to_pylist()
    return Outcome(
        unchanged=rows.num_rows, rejected={reason: reasons.count(reason) for reason in reasons}
    )
