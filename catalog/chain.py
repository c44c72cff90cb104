"""The history of a catalog: each manifest follows from the one before it, and none is lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ncpl_data.catalog.errors import IntegrityError, NcplDataError
from ncpl_data.catalog.folder import TEMPORARY_PREFIX, Storage
from ncpl_data.catalog.heads import Head, heads, remembered
from ncpl_data.catalog.history import numbers_of, packs, read_pack, states
from ncpl_data.catalog.manifest import Manifest, loose, manifest_name, render

HISTORY = "history"
"""The law of everything this module finds."""
SEE = "see what can be saved: ncpl-data repair"
MERGED = f"two copies that went apart were put together, so runs of one are not listed; {SEE}"


@dataclass(frozen=True)
class CatalogProblem:
    """One law that is broken, and where."""

    law: str
    where: str
    """File, run or manifest."""
    detail: str

    def __str__(self) -> str:
        """Return the problem in one line."""
        return f"{self.where}: {self.detail} [{self.law}]"

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Chain:
    """What is known of every state without its list of files."""

    digests: dict[int, str]
    """SHA-256 of each manifest that can be read, by its number."""
    parents: dict[int, str | None]
    catalog: str | None
    """Which catalog it is, as the newest manifest that says so says."""
    acknowledged: frozenset[str]
    """Files whose loss or damage a repair has dealt with."""
    problems: tuple[CatalogProblem, ...]

    @property
    def newest(self) -> int:
        """The highest number there is."""
        return max(self.digests, default=0)


def read_chain(folder: Storage, passed: Iterable[tuple[int, Manifest | NcplDataError]]) -> Chain:
    """Return what is known of all states, which come newest first."""
    digests: dict[int, str] = {}
    parents: dict[int, str | None] = {}
    catalog = None
    acknowledged: set[str] = set()
    problems = []
    names = numbers_of(folder)
    for version, state in passed:
        name = names.get(version, manifest_name(version))
        if isinstance(state, NcplDataError):
            problems.append(CatalogProblem("manifest", name, str(state)))
            continue
        if state.version != version:
            detail = f"calls itself version {state.version}"
            problems.append(CatalogProblem("manifest", name, detail))
            continue
        digests[version], parents[version] = state.sha256 or "", state.parent
        catalog = catalog or state.catalog
        acknowledged.update(state.acknowledged)
    own = frozenset(acknowledged)
    return Chain(digests, parents, catalog, own, tuple(problems[::-1]))


def manifest_problems(folder: Storage) -> Iterator[CatalogProblem]:
    """Yield the loose manifests that are not written the way this program writes."""
    for version in loose(folder):
        with contextlib.suppress(NcplDataError, ValueError, RecursionError):
            content = folder.read(manifest_name(version))
            if content != render(json.loads(content)):
                detail = "is not written the way this program writes"
                yield CatalogProblem("manifest", manifest_name(version), detail)


def history_problems(folder: Storage, chain: Chain | None = None) -> list[CatalogProblem]:
    """Return what is wrong with the history of a catalog, one sentence each, and what helps.

    What a repair has acknowledged is passed over.
    """
    chain = chain or read_chain(folder, states(folder))
    known, receipts = list(numbers_of(folder)), heads(folder)
    if not known:
        found = list(nothing_listed(folder, receipts))
    else:
        found = [
            *chain.problems,
            *lost_manifests(known),
            *lost_heads(chain, known, receipts),
            *forks(chain),
            *unlike_packed(folder, chain),
            *older_copy(chain, known, remembered(folder)),
        ]
    unknown = (p for p in found if p.where not in chain.acknowledged)
    return list({p.where: p for p in reversed(list(unknown))}.values())[::-1]


def nothing_listed(folder: Storage, receipts: list[Head]) -> Iterator[CatalogProblem]:
    """Yield that a catalog without any manifest had one."""
    if receipts:
        detail = f"is empty, although manifest {receipts[-1].version} was committed; {SEE}"
        yield CatalogProblem(HISTORY, "manifests", detail)
        return
    n_files = len(data_files(folder))
    if n_files:
        detail = f"is empty, so nothing says what the {n_files:,} files below data/ are; {SEE}"
        yield CatalogProblem(HISTORY, "manifests", detail)


def lost_manifests(known: list[int]) -> Iterator[CatalogProblem]:
    """Yield each number that lies between two others and is not there."""
    for version in sorted({n + 1 for n in known[:-1]} - set(known)):
        detail = f"is missing, although a later one is there; that state can not be read; {SEE}"
        yield CatalogProblem("manifest", manifest_name(version), detail)


def lost_heads(chain: Chain, known: list[int], receipts: list[Head]) -> Iterator[CatalogProblem]:
    """Yield the receipts of commits whose manifest is gone, or is another now."""
    for head in receipts:
        if head.version > known[-1]:
            detail = f"is missing, although it was committed as the newest state; {SEE}"
            yield CatalogProblem(HISTORY, manifest_name(head.version), detail)
        elif head.version in chain.digests and not head.is_of(chain.digests[head.version]):
            detail = f"is another one than was committed ({head.digest}...): {MERGED}"
            yield CatalogProblem(HISTORY, manifest_name(head.version), detail)


def forks(chain: Chain) -> Iterator[CatalogProblem]:
    """Yield each manifest that goes on from another one than the one before it."""
    for version, parent in sorted(chain.parents.items()):
        before = chain.digests.get(version - 1)
        if parent is not None and before is not None and parent != before:
            detail = f"does not go on from manifest {version - 1}: {MERGED}"
            yield CatalogProblem(HISTORY, manifest_name(version), detail)


def unlike_packed(folder: Storage, chain: Chain) -> Iterator[CatalogProblem]:
    """Yield each loose manifest whose number a pack holds with other content."""
    beside = set(loose(folder))
    for first, last, name in packs(folder):
        if any(first <= version <= last for version in beside):
            with contextlib.suppress(IntegrityError):
                for state in read_pack(folder, name)["states"]:
                    version, digest = state["version"], state["digest"]
                    if version in beside and chain.digests.get(version, digest) != digest:
                        detail = f"is another one than {name} holds: {MERGED}"
                        yield CatalogProblem(HISTORY, manifest_name(version), detail)


def older_copy(chain: Chain, known: list[int], last: Head | None) -> Iterator[CatalogProblem]:
    """Yield that this machine has seen a newer state of the catalog than is there."""
    if last is None or last.catalog is None or last.catalog != chain.catalog:
        return
    name = manifest_name(last.version)
    if last.version > known[-1]:
        detail = (
            f"was committed from this machine, but the newest here is {known[-1]}: an older copy "
            f"of the catalog was put in its place; bring the newer one back, or {SEE}"
        )
        yield CatalogProblem(HISTORY, name, detail)
    elif last.version in chain.digests and not last.is_of(chain.digests[last.version]):
        detail = f"is another one than this machine committed: {MERGED}"
        yield CatalogProblem(HISTORY, name, detail)


def data_files(folder: Storage) -> list[str]:
    """Return the names of all finished data files, listed or not."""
    names = (name for name, _ in folder.ages("data"))
    return sorted(n for n in names if not n.rpartition("/")[2].startswith(TEMPORARY_PREFIX))
