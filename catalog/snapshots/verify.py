"""The check of a frozen snapshot: each file against its hash, the content against the id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.catalog.disk import disk
from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.parquet import file_sha256, read_parquet
from ncpl_data.catalog.snapshots.read import (
    CHECKSUMS,
    MANIFEST,
    PAGES,
    TABLE_FILE,
    read_manifest,
    snapshot_id,
    table_files,
)


def verify_snapshot(path: Path) -> dict[str, Any]:
    """Check every file of a snapshot against its manifest and return the manifest.

    Raises IntegrityError that names what is missing, altered, too much, or not of the id.
    """
    problems = list(snapshot_problems(path))
    if problems:
        where, detail = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise IntegrityError(
            f"snapshot {path.name}: {where} {detail}{more}. Restore it or take it again: "
            "ncpl-data snapshot"
        )
    return read_manifest(path)


def snapshot_problems(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (file, what is wrong with it) for one snapshot."""
    try:
        manifest = read_manifest(path)
    except IntegrityError as error:
        yield MANIFEST, str(error)
        return
    try:
        listed = table_files(manifest)
    except IntegrityError as error:
        yield MANIFEST, str(error)
        return
    damaged = set()
    for name, entry in listed.items():
        place = path / name
        if not place.is_file():
            damaged.add(name)
            yield name, "is missing"
        elif place.is_symlink() or place.parent.resolve() != (path.resolve() / name).parent:
            damaged.add(name)
            yield name, "is a link; a snapshot holds its files itself"
        elif (found := file_sha256(place)) != entry["sha256"]:
            damaged.add(name)
            yield (
                name,
                f"is not what the manifest says (sha256 {found[:16]}..., expected "
                f"{entry['sha256'][:16]}...)",
            )
        elif (n_rows := pq.read_metadata(place).num_rows) != entry["rows"]:
            yield name, f"has {n_rows:,} rows, the manifest says {entry['rows']:,}"
    yield from checksum_problems(path, {name: entry["sha256"] for name, entry in listed.items()})
    for place in sorted(path.rglob("*.parquet")):
        name = place.relative_to(path).as_posix()
        if name not in listed:
            yield name, "is not in the manifest; readers that list the folder would read it"
    if damaged:
        return
    tables = {
        table: pa.concat_tables(
            [read_parquet(path / f["path"], columns) for f in manifest["tables"][table]]
        )
        for table, columns in (
            ("runs", ["run_id", "run_hash"]),
            ("splits", ["run_id", "split", "split_group"]),
        )
    }
    identity = snapshot_id(tables["runs"], tables["splits"], manifest["selection"])
    if identity != manifest["id"]:
        yield (
            MANIFEST,
            f"says id {manifest['id'][:12]}, but the content has id {identity[:12]}",
        )


def write_checksums(path: Path, known: Mapping[str, str]) -> None:
    """Write the SHA-256 of every file of a snapshot, in the format of sha256sum.

    `known` holds digests that need no second reading.
    """
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    lines = [f"{known.get(n) or file_sha256(path / n)}  {n}\n" for n in names if n != CHECKSUMS]
    write_text(path / CHECKSUMS, "".join(lines))


def write_text(path: Path, text: str) -> None:
    """Write a page of a snapshot."""
    with disk().create(path) as file:
        file.write(text.encode("utf-8"))


def checksum_problems(path: Path, checked: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the files of a snapshot that are not what its checksums say.

    `checked` are the digests of files that were compared already.
    """
    try:
        # By the line feed alone: other characters that break a line are none of ours.
        text = (path / CHECKSUMS).read_bytes().decode("utf-8")
        lines = text.removesuffix("\n").split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        yield CHECKSUMS, "is missing or damaged"
        return
    named = set()
    for line in lines:
        expected, _, name = line.partition("  ")
        place = path / name
        named.add(name)
        if name not in PAGES and not TABLE_FILE.fullmatch(name):
            yield CHECKSUMS, f'names "{name[:80]}", which is no file of the snapshot'
        elif name in checked:
            if checked[name] != expected:
                yield CHECKSUMS, f"has another sha256 for {name} than the manifest"
        elif not place.is_file():
            yield name, f"is missing, or its name in {CHECKSUMS} is damaged"
        elif file_sha256(place) != expected:
            yield (
                name,
                f"is not what {CHECKSUMS} says (sha256 {file_sha256(place)[:16]}..., expected "
                f"{expected[:16]}...)",
            )
    for name in sorted({MANIFEST, *checked} - named):
        yield CHECKSUMS, f"does not name {name}"
