"""Take a bundle from a model repository: every file by its hash, the folder whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from ncpl.errors import BundleError, HubError
from ncpl.model.hub.repository import COMMIT, ModelRepository, StoredFile, check_revision
from ncpl.model.seal import MOST_BYTES, SEAL, check_seal, read_seal

MAX_BYTES = 8 << 30
"""Of a bundle; the largest base of the paper's mode has 3.4 GB in two bytes a weight."""
MAX_TEXT_BYTES = 64 << 20
"""Of a file that is no tensors: cards, tokenizer, training runs."""


def pulled(repository: str, revision: str = "main", max_bytes: int = MAX_BYTES) -> Path:
    """Return the folder of the bundle that a model repository holds, downloaded if need be.

    Only the files of a bundle are taken, each held against SHA256SUMS; nothing else in the
    repository is read, and none of it is run. A commit that was taken before is not asked for
    again. Raises HubError if the hub can not be read, BundleError for a repository that holds no
    sealed bundle, one beyond `max_bytes`, or files that are not what they should be.
    """
    check_revision(revision)
    cache = _cache() / "bundles" / repository.replace("/", "--")
    if COMMIT.fullmatch(revision) and (cache / revision / SEAL).is_file():
        return cache / revision
    with ModelRepository(repository) as hub:
        commit = hub.commit(revision)
        if commit is None:
            raise HubError(
                f"{repository} is no folder here, and the hub shows no model {repository} with a "
                f'revision "{revision}"; check both, and if it is private, log in (hf auth login) '
                "or set HF_TOKEN"
            )
        target = cache / commit
        if not (target / SEAL).is_file():
            _take(hub, commit, target, max_bytes)
    return target


def _cache() -> Path:
    given = os.environ.get("NCPL_CACHE")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("ncpl-data")


def _take(hub: ModelRepository, commit: str, target: Path, max_bytes: int) -> None:
    files = hub.files(commit)
    if SEAL not in files:
        raise BundleError(
            f"{hub.name} at {commit[:12]} holds no bundle that can be checked: it has no {SEAL}"
        )
    text = hub.read(commit, SEAL, MOST_BYTES)
    if not files[SEAL].is_content(text):
        raise BundleError(f"{hub.name} {SEAL} has not the hash that the hub lists; try again")
    draft = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        draft.mkdir(parents=True)
        (draft / SEAL).write_bytes(text)
        listed = read_seal(draft / SEAL, f"{hub.name} {SEAL}")
        _check_sizes(hub.name, listed, files, max_bytes)
        for name, sha256 in listed.items():
            place = draft / name
            place.parent.mkdir(exist_ok=True)
            if hub.write(commit, name, place, files[name].n_bytes) != sha256:
                raise BundleError(
                    f"{hub.name} {name} does not have the hash in {SEAL}; nothing was kept"
                )
        check_seal(draft)
        _publish(draft, target)
    except OSError as error:
        raise BundleError(f"{target} can not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_sizes(
    repository: str, listed: Mapping[str, str], files: Mapping[str, StoredFile], max_bytes: int
) -> None:
    for name in listed:
        if name not in files:
            raise BundleError(f"{repository}: {SEAL} names {name}, which is not there")
        size = files[name].n_bytes
        if not name.endswith(".safetensors") and size > MAX_TEXT_BYTES:
            raise BundleError(
                f"{repository} {name} has {size:,} bytes, more than the {MAX_TEXT_BYTES:,} that "
                "one of a bundle has"
            )
    total = sum(files[name].n_bytes for name in listed)
    if total > max_bytes:
        raise BundleError(
            f"{repository} has {total:,} bytes, more than the limit of {max_bytes:,}; raise it "
            "with max_bytes"
        )


def _publish(draft: Path, target: Path) -> None:
    """Give a whole folder its name; another process may have done so meanwhile."""
    try:
        draft.rename(target)
    except OSError:
        if not (target / SEAL).is_file():
            raise
