"""Old states: every manifest lists all files, so all but the newest are packed as differences.

    history/0000000001-0000000032.json.gz   the states of some numbers, newest first

A pack begins at the manifest after its last number and goes back from there, commit by commit. So
the manifests of a catalog take room in proportion to its commits, a commit writes as much after
ten thousand others as after ten, and the newest states need no pack to be read.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from ncpl_data.catalog.errors import InputError, IntegrityError, NcplDataError
from ncpl_data.catalog.folder import Storage
from ncpl_data.catalog.heads import heads
from ncpl_data.catalog.manifest import (
    Manifest,
    damaged,
    digest,
    loose,
    manifest_name,
    render,
    spans,
)

FORMAT = "ncpl-history/1"
NAME = re.compile(r"history/(\d{10})-(\d{10})\.json\.gz")
KEPT_LOOSE = 16
"""Manifests that always stay files of their own."""
PACK_STATES = 32
"""States of one pack: packed as soon as so many are there beside the newest."""

Content = dict[str, Any]


def packs(folder: Storage) -> list[tuple[int, int, str]]:
    """Return first number, last number and name of each pack, oldest first."""
    found = map(NAME.fullmatch, folder.names("history"))
    return [(int(match[1]), int(match[2]), match[0]) for match in found if match]


def read_pack(folder: Storage, name: str) -> Content:
    """Return a pack.

    Raises IntegrityError if it is damaged.
    """
    try:
        content = json.loads(gzip.decompress(folder.read(name)))
        if content["format"] != FORMAT or content["sha256"] != digest(content):
            raise ValueError("its sha256 is not that of its content")
        return dict(content)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise damaged(name, error) from error


def numbers_of(folder: Storage) -> dict[int, str]:
    """Return every number of a state and the file that holds it, ascending.

    A pack that is damaged counts with all numbers of its name.
    """
    found: dict[int, str] = {}
    for first, last, name in packs(folder):
        try:
            numbers = [state["version"] for state in read_pack(folder, name)["states"]]
        except IntegrityError:
            numbers = list(range(first, last + 1))
        found.update(dict.fromkeys(numbers, name))
    found.update({version: manifest_name(version) for version in loose(folder)})
    return dict(sorted(found.items()))


def versions(folder: Storage) -> list[int]:
    """Return the numbers of all states, ascending."""
    return list(numbers_of(folder))


def read_manifest(folder: Storage, version: int | None = None) -> Manifest | None:
    """Return one state, by default the newest; None where the catalog is still empty.

    Raises InputError for a number that is not there, IntegrityError if the newest is lost.
    """
    if version is None:
        committed = heads(folder)  # before the manifests: another process may commit meanwhile
        known = loose(folder)
        if committed and committed[-1].version > (known[-1] if known else 0):
            raise IntegrityError(
                f"{folder.place} has lost manifest {committed[-1].version}, its newest: what was "
                "committed with it is not listed. See what can be saved: ncpl-data repair"
            )
        if not known:
            return None
        version = known[-1]
    name = manifest_name(version)
    try:
        content = folder.read(name)
    except IntegrityError as error:
        numbers = numbers_of(folder)
        if version not in numbers:
            raise InputError(
                f"{folder.place} has no manifest {version}; it has {spans(list(numbers)) or 'none'}"
            ) from error
        if numbers[version] == name:
            raise
        return packed_state(folder, version)
    return Manifest.from_json(content, name)


def packed_state(folder: Storage, version: int) -> Manifest:
    """Return a state that lies in a pack.

    Raises IntegrityError if a pack between it and the newest manifests is lost or damaged.
    """
    for found, state in states(folder, first=version):
        if found == version:
            if isinstance(state, NcplDataError):
                raise state
            return state
    raise IntegrityError(f"state {version} of {folder.place} is in no pack")


def states(folder: Storage, first: int = 1) -> Iterator[tuple[int, Manifest | NcplDataError]]:
    """Yield (number, state, or why it can not be read) of all states, newest first."""
    for version, content in contents(folder, first):
        if isinstance(content, NcplDataError):
            yield version, content
            continue
        try:
            yield version, Manifest.from_content(content, f"manifest {version}")
        except NcplDataError as error:
            yield version, error


def contents(folder: Storage, first: int = 1) -> Iterator[tuple[int, Content | NcplDataError]]:
    """Yield (number, content of its manifest, or why it can not be read), newest first."""
    at_hand: dict[int, Content] = {}
    """Those a pack may begin at: the oldest loose manifest, then what the last packs held. Packs
    that two processes make at once may overlap, so it need not be the oldest."""
    for version in reversed(loose(folder)):
        content = read_content(folder, version)
        if isinstance(content, dict):
            at_hand = {version: content}
        yield version, content
    seen = set(loose(folder))
    for first_packed, last_packed, name in reversed(packs(folder)):
        if last_packed < first:
            return
        try:
            pack = read_pack(folder, name)
            base = at_hand.get(pack["base"]) or read_content(folder, pack["base"])
            if not isinstance(base, dict):
                raise IntegrityError(f"{name} begins at manifest {pack['base']}, which is lost")
            unpacked = list(unpack(pack, base, name))
        except NcplDataError as error:
            for version in range(last_packed, first_packed - 1, -1):
                if version not in seen:
                    yield version, error
            continue
        near = first_packed + 4 * PACK_STATES
        at_hand = {n: c for n, c in (at_hand | dict(unpacked)).items() if n < near}
        for version, content in unpacked:
            if version not in seen:  # else it was packed and not yet removed, or by two at once
                seen.add(version)
                yield version, content


def read_content(folder: Storage, version: int) -> Content | NcplDataError:
    """Return what a manifest's file holds, or why it can not be read."""
    name = manifest_name(version)
    try:
        content = json.loads(folder.read(name))
        Manifest.from_content(content, name)
    except NcplDataError as error:
        return error
    except (ValueError, RecursionError) as error:
        return damaged(name, error)
    return dict(content)


def unpack(pack: Mapping[str, Any], base: Content, name: str) -> Iterator[tuple[int, Content]]:
    """Yield the states of a pack, newest first.

    Raises IntegrityError if one is not what was packed.
    """
    try:
        for state in pack["states"]:
            base = before(base, state)
            if digest(base) != state["digest"]:
                raise ValueError(f"state {state['version']} is not what was packed")
            yield int(state["version"]), base
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise damaged(name, error) from error


def before(later: Content, state: Mapping[str, Any]) -> Content:
    """Return a state from the one after it and the difference."""
    found = dict(state["head"])
    found["tables"] = {
        table: list(entries(parts, later["tables"].get(table, ())))
        for table, parts in state["tables"].items()
    }
    for key in ("sources", "cursors"):
        if key in state:
            kept = {k: v for k, v in later.get(key, {}).items() if k not in state[key]["drop"]}
            found[key] = kept | state[key]["set"]
    return found


def entries(parts: list[Any], later: list[Any]) -> Iterator[Any]:
    """Yield the entries of a table: ranges of the later state's, and those it lacks."""
    for part in parts:
        if isinstance(part, list):
            yield from later[part[0] : part[1]]
        else:
            yield part


def difference(earlier: Content, later: Content) -> Content:
    """Return what makes a state from the one after it."""
    state: Content = {
        "version": earlier["version"],
        "digest": digest(earlier),
        "head": {k: v for k, v in earlier.items() if k not in ("tables", "sources", "cursors")},
        "tables": {
            table: ranges(files, later["tables"].get(table, ()))
            for table, files in earlier["tables"].items()
        },
    }
    for key in ("sources", "cursors"):
        if key in earlier:
            old, new = earlier[key], later.get(key, {})
            own = {k: v for k, v in old.items() if k not in new or new[k] != v}
            state[key] = {"set": own, "drop": sorted(new.keys() - old.keys())}
    return state


def ranges(earlier: list[Any], later: list[Any]) -> list[Any]:
    """Return the entries of a table as ranges of the later state's, and those it lacks."""
    places = {file["path"]: at for at, file in enumerate(later)}
    parts: list[Any] = []
    for file in earlier:
        at = places.get(file["path"])
        if at is None or later[at] != file:
            parts.append(file)
        elif parts and isinstance(parts[-1], list) and parts[-1][1] == at:
            parts[-1][1] = at + 1
        else:
            parts.append([at, at + 1])
    return parts


def pack(folder: Storage) -> None:
    """Pack the oldest loose manifests where many are there; what can not be read stays.

    A manifest is removed after its pack is on disk. Two processes that pack at once write the same
    pack. A failure leaves everything as it was: packing is never worth a commit.
    """
    with contextlib.suppress(NcplDataError, OSError):
        known = loose(folder)
        if len(known) < KEPT_LOOSE + PACK_STATES:
            return
        wanted, base = known[:PACK_STATES], known[PACK_STATES]
        later = read_content(folder, base)
        if not isinstance(later, dict):
            return
        packed = []
        for version in reversed(wanted):
            content = read_content(folder, version)
            if isinstance(content, dict) and content["version"] == version:
                packed.append(difference(content, later))
                later = content
        content = {"format": FORMAT, "base": base, "states": packed}
        text = gzip.compress(render(content | {"sha256": digest(content)}), mtime=0)
        name = f"history/{wanted[0]:010d}-{wanted[-1]:010d}.json.gz"
        folder.put_bytes_if_absent(name, text)
        kept = {state["version"] for state in read_pack(folder, name)["states"]}
        for version in wanted:
            if version in kept:
                folder.remove(manifest_name(version))
        for head in heads(folder):
            if any(s["version"] == head.version and head.is_of(s["digest"]) for s in packed):
                folder.remove(head.name)


def is_overtaken(folder: Storage, version: int, parent: int) -> bool:
    """Return whether a number that was just taken belongs to the past.

    A writer may have been asleep while others committed, and the manifests packed whose numbers
    it goes on from: then its number was free again. The newest manifests are never packed, so
    the one before a commit that stands is there.
    """
    known = loose(folder)
    if parent:
        return parent not in known
    return bool(packs(folder)) or (len(known) > 1 and known[1] != version + 1)
