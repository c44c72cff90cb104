"""Publish a snapshot: one commit that makes a dataset repository hold it and no other table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from ncpl_data.catalog.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    NcplDataError,
    SourceUnreachableError,
)
from ncpl_data.catalog.parquet import file_sha256, read_parquet
from ncpl_data.catalog.snapshots.read import MANIFEST, PAGES, TABLE_FILE, label_of, table_files
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.ingest.hub.repository import Repository, check_names, holds
from ncpl_data.ingest.live.hub_dataset import HubFile

HUB_OWN = re.compile(r"\.gitattributes|README\.md|LICENSE[^/]*|\.gitignore")
"""What may lie in a repository before its first snapshot."""
LOST_RACE = {409, 412}
"""Somebody committed since the newest commit was read."""
FORBIDDEN = {401, 403}


@dataclass(frozen=True)
class Plan:
    """What a commit would change in a repository."""

    send: tuple[str, ...]
    keep: tuple[str, ...]
    """Files the repository has already, by hash."""
    remove: tuple[str, ...]
    """Tables' files of another snapshot, which readers that list the folder would read."""
    send_bytes: int


@dataclass(frozen=True)
class Published:
    """What was published, or would be."""

    repository: str
    revision: str
    commit: str | None
    """The commit that holds the snapshot; None in a dry run that would make one."""
    id: str
    label: str
    plan: Plan
    is_new: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
            "id": self.id,
            "label": self.label,
            "is_new": self.is_new,
            "sent": list(self.plan.send),
            "sent_bytes": self.plan.send_bytes,
            "kept": list(self.plan.keep),
            "removed": list(self.plan.remove),
        }


def publish(
    path: Path,
    repository: str,
    *,
    revision: str = "main",
    is_private: bool = False,
    accepts_unlicensed: bool = False,
    shows_progress: bool = False,
    dry_run: bool = False,
) -> Published:
    """Make a dataset repository hold a snapshot, in one commit, and return what that did.

    The repository is created if it is not there. A file it has already is not sent again, nor is
    one that an interrupted publication sent. Raises IntegrityError if the snapshot is damaged,
    InputError for runs without a licence or a repository that holds something else,
    ConflictError if somebody committed meanwhile, SourceUnreachableError if the hub refuses.
    """
    check_names(repository, revision)
    manifest = verify_snapshot(path)
    entries = table_files(manifest)
    local = {name: str(entry["sha256"]) for name, entry in entries.items()}
    local |= {name: file_sha256(path / name) for name in PAGES if (path / name).is_file()}
    with Repository(repository) as hub:
        head = hub.head(revision)
        base = head or hub.head("main")  # a new branch begins where the main one is
        remote = hub.files(base) if base is not None else {}
        check_is_ours(repository, remote)
        if not accepts_unlicensed and not (hub.is_private() if base is not None else is_private):
            check_licences(path, entries)
        plan = compare(path, local, remote)
        label = label_of(manifest)
        found = Published(repository, revision, head, manifest["id"], label, plan, is_new=False)
        if head is not None and not plan.send and not plan.remove:
            return found
        if dry_run:
            return replace(found, commit=None, is_new=True)
        writer = Writer(hub, revision, shows_progress=shows_progress)
        parent = head or writer.create(is_private=is_private)
        if parent != base:
            plan = compare(path, local, hub.files(parent))
        commit = writer.commit(path, plan, parent, label, manifest)
        check_arrived(hub, commit, path, local)
    return replace(found, commit=commit, plan=plan, is_new=True)


def check_is_ours(repository: str, remote: Mapping[str, HubFile]) -> None:
    """Raise InputError if a repository holds something else than a snapshot."""
    others = sorted(name for name in remote if not HUB_OWN.fullmatch(name))
    if others and MANIFEST not in remote:
        raise InputError(
            f"{repository} holds {len(others):,} files that are no snapshot ({others[0]}); publish "
            "to a repository of its own"
        )


def check_licences(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InputError if runs state no licence, so that nobody knows whether they may be shown."""
    counts: dict[str, int] = {}
    for name in entries:
        if name.startswith("runs/"):
            rows = read_parquet(path / name, ["source", "licence"])
            for source in rows.filter(pc.is_null(rows["licence"]))["source"].to_pylist():
                counts[source] = counts.get(source, 0) + 1
    if counts:
        named = ", ".join(f"{n:,} of {source}" for source, n in sorted(counts.items()))
        raise InputError(
            f"{sum(counts.values()):,} runs state no licence ({named}). Leave them out: ncpl-data "
            'snapshot --where "licence is not null"; or, if you may show them, add '
            "--accept-unlicensed"
        )


def compare(path: Path, local: Mapping[str, str], remote: Mapping[str, HubFile]) -> Plan:
    """Return what has to change for a repository to hold the local files and no other table."""
    keep = tuple(n for n in sorted(local) if holds(remote.get(n), path / n, local[n]))
    send = tuple(n for n in sorted(local) if n not in keep)
    remove = tuple(
        n for n in sorted(remote) if n not in local and (TABLE_FILE.fullmatch(n) or n in PAGES)
    )
    return Plan(send, keep, remove, sum((path / n).stat().st_size for n in send))


def check_arrived(hub: Repository, commit: str, path: Path, local: Mapping[str, str]) -> None:
    """Raise IntegrityError if a commit does not hold what was sent."""
    remote = hub.files(commit)
    plan = compare(path, local, remote)
    wrong = [*plan.send, *plan.remove]
    if wrong:
        raise IntegrityError(
            f"{hub.name} at {commit[:12]} does not hold the snapshot: {wrong[0]} is not there as "
            "it was sent (a .gitignore in the repository?). Look at it there and publish again"
        )


class Writer:
    """What is changed in a repository, through the hub's own library."""

    def __init__(self, hub: Repository, revision: str, *, shows_progress: bool) -> None:
        """Take the repository and a branch. Raises InputError without huggingface_hub."""
        try:
            from huggingface_hub import HfApi
            from huggingface_hub.errors import HfHubHTTPError
            from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
        except ImportError as error:
            raise InputError(
                "publishing needs huggingface_hub; install it: pip install 'ncpl-data[hub]'"
            ) from error
        if not shows_progress:
            disable_progress_bars()
        self.hub = hub
        self.revision = revision
        self.api: Any = HfApi(endpoint=hub.endpoint, token=hub.key or False)
        # The library's failures are those of its HTTP client, which differs between releases.
        self.failures: tuple[type[Exception], ...] = (
            OSError,
            ValueError,
            RuntimeError,  # of an upload
            *(c for c in HfHubHTTPError.__mro__ if issubclass(c, Exception) and c is not Exception),
        )

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn a failure of the hub into one sentence."""
        name = self.hub.name
        try:
            yield
        except NcplDataError:
            raise
        except self.failures as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in LOST_RACE:
                raise ConflictError(
                    f"somebody else committed to {name} meanwhile, or your key may only open pull "
                    "requests; nothing of yours is visible there. Look at it and publish again"
                ) from error
            if status in FORBIDDEN or (status is not None and self.hub.key is None):
                raise SourceUnreachableError(
                    f"the hub does not let you write to {name} (status {status}). Log in with a "
                    "key that may write (hf auth login), or set HF_TOKEN"
                ) from error
            reason = f"{error} {error.__cause__ or ''}".strip()
            reason = " ".join(reason.split())[:300] or type(error).__name__
            if self.hub.key:
                reason = reason.replace(self.hub.key, "...")
            raise SourceUnreachableError(
                f"{name} could not be written ({reason}). Publish again: what was sent is not "
                "sent twice"
            ) from error

    def create(self, *, is_private: bool) -> str:
        """Create the repository or the branch and return its newest commit."""
        with self.answering():
            self.api.create_repo(
                self.hub.name, repo_type="dataset", private=is_private, exist_ok=True
            )
            if self.hub.head(self.revision) is None:
                self.api.create_branch(
                    self.hub.name, branch=self.revision, repo_type="dataset", exist_ok=True
                )
        head = self.hub.head(self.revision)
        if head is None:
            raise SourceUnreachableError(f"{self.hub.name} was created but is not shown yet")
        return head

    def commit(
        self, path: Path, plan: Plan, parent: str, label: str, manifest: Mapping[str, Any]
    ) -> str:
        """Send files and commit them on top of one commit only; return the new one."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [
            *(CommitOperationDelete(name, is_folder=False) for name in plan.remove),
            *(CommitOperationAdd(name, str(path / name)) for name in plan.send),
        ]
        counts = manifest["counts"]
        with self.answering():
            done = self.api.create_commit(
                self.hub.name,
                operations,
                repo_type="dataset",
                revision=self.revision,
                parent_commit=parent,
                commit_message=f"Snapshot {label}",
                commit_description=(
                    f"{counts['runs']:,} runs, {counts['curves']:,} curve points; "
                    f"id {manifest['id']}"
                ),
            )
        return str(done.oid)
