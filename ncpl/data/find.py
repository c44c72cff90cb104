"""The snapshots of a catalog folder: which one is meant."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ncpl.data.snapshot import Snapshot
from ncpl.errors import SnapshotError


def catalog_folder(given: Path | None = None) -> Path:
    """Return the catalog folder: given, NCPL_CATALOG, ./ncpl-catalog, else the user data folder."""
    if given is not None:
        return given
    if os.environ.get("NCPL_CATALOG"):
        return Path(os.environ["NCPL_CATALOG"])
    if Path("ncpl-catalog").is_dir():
        return Path("ncpl-catalog")
    from platformdirs import user_data_dir

    return Path(user_data_dir("ncpl-data")) / "catalog"


def find_snapshot(name: str, catalog: Path | None = None) -> Snapshot:
    """Return a snapshot by path, by id or its beginning, by name, or the newest for "latest".

    Raises SnapshotError if none, or more than one, fits.
    """
    if (Path(name) / "manifest.json").is_file() or (Path(name).is_dir() and "/" in name):
        return Snapshot.open(Path(name))
    folder = catalog_folder(catalog) / "snapshots"
    found = list(_manifests(folder, name))
    if name == "latest":
        found = sorted(found, key=lambda item: _time_taken(item[1]))[-1:]
    else:
        found = [
            (path, m)
            for path, m in found
            if name in (m.get("name"), path.name)
            or (len(name) >= 4 and str(m.get("id")).startswith(name))
        ]
    if not found:
        raise SnapshotError(
            f"no snapshot {name!r} in {folder}; see: ncpl-data snapshot list, or take one: "
            "ncpl-data snapshot"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise SnapshotError(f"{name!r} names {len(found)} snapshots in {folder}: {names}")
    return Snapshot.open(found[0][0])


def _time_taken(manifest: Mapping[str, Any]) -> datetime:
    try:
        stated = datetime.fromisoformat(str(manifest.get("created_at")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return stated if stated.tzinfo else stated.replace(tzinfo=UTC)


def _manifests(folder: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each snapshot folder with its manifest; a damaged one stops only who may mean it."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        file = path / "manifest.json"
        if not file.is_file():
            continue
        try:
            manifest = json.loads(file.read_bytes())
            if not isinstance(manifest, dict):
                raise ValueError("it holds no object")
        except ValueError as error:
            if name in ("latest", path.name):
                raise SnapshotError(
                    f"{file} is damaged ({error}); restore the folder, or remove it and take the "
                    "snapshot again: ncpl-data snapshot"
                ) from error
            continue
        yield path, manifest
