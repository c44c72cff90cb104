"""Give a bundle to a model repository: one commit that makes it hold the bundle and no other."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ncpl.errors import HubError, NcplError
from ncpl.model.bundle import read_card
from ncpl.model.hub.card import with_head
from ncpl.model.hub.repository import ModelRepository, access_key, check_revision, endpoint, is_name
from ncpl.model.seal import FILES, SEAL, check_seal, seal

PAGE = "README.md"
HUB_OWN = {".gitattributes", ".gitignore", PAGE, "LICENSE"}
"""What may lie in a repository before its first bundle."""


def push(
    folder: Path,
    repository: str,
    *,
    licence: str = "apache-2.0",
    is_private: bool = False,
    revision: str = "main",
) -> str:
    """Make a model repository hold a bundle, with a card the hub reads, and return the commit.

    The repository and the branch are made if they are not there. `licence` is the one you give the
    weights. Raises BundleError if the folder's files are damaged, HubError if the repository holds
    something else, somebody committed meanwhile, or the hub refuses.
    """
    if not is_name(repository):
        raise HubError(f'"{repository[:80]}" is no repository; expected OWNER/NAME')
    check_revision(revision)
    card = read_card(folder)
    check_seal(folder)
    with tempfile.TemporaryDirectory(prefix="ncpl-push-") as temporary:
        draft = Path(temporary)
        for name in FILES:
            if (folder / name).is_file():
                (draft / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(folder / name, draft / name)
        page = draft / PAGE
        text = page.read_text("utf-8") if page.is_file() else "# NCPL bundle\n"
        page.write_text(with_head(text, card, repository, licence), encoding="utf-8")
        seal(draft)  # the page has a head now
        return _commit(draft, repository, revision, is_private=is_private)


def _commit(folder: Path, repository: str, revision: str, *, is_private: bool) -> str:
    try:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    except ImportError as error:
        raise HubError(
            "giving a bundle to the hub needs huggingface_hub; install it: pip install "
            "'ncpl-data[hub]'"
        ) from error
    names = [name for name in (*FILES, SEAL) if (folder / name).is_file()]
    key = access_key()
    api: Any = HfApi(endpoint=endpoint(), token=key or False)
    with _answering(repository, key), warnings.catch_warnings():
        # The training runs are a Parquet file, and are meant to lie beside the weights.
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        api.create_repo(repository, repo_type="model", private=is_private, exist_ok=True)
        if revision != "main":
            api.create_branch(repository, branch=revision, repo_type="model", exist_ok=True)
        with ModelRepository(repository) as hub:
            parent = hub.commit(revision)
            if parent is None:
                raise HubError(f"{repository} was made but is not shown yet; push again")
            there = set(hub.files(parent))
        others = sorted(there - HUB_OWN - {*FILES, SEAL})
        if others:
            raise HubError(
                f"{repository} holds {len(others):,} files that are no bundle's ({others[0]}); "
                "push to a repository of its own"
            )
        operations: list[Any] = [
            *(CommitOperationDelete(n) for n in sorted(there - HUB_OWN - set(names))),
            *(CommitOperationAdd(n, str(folder / n)) for n in names),
        ]
        done = api.create_commit(
            repository, operations, repo_type="model", revision=revision,
            parent_commit=parent, commit_message="NCPL bundle",
        )  # fmt: skip
    return str(done.oid)


@contextmanager
def _answering(repository: str, key: str | None) -> Iterator[None]:
    """Turn a failure of the hub, or of its library, into one sentence without the key."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    # An upload's failure is a RuntimeError; which HTTP client answers differs between releases.
    failures = (OSError, ValueError, RuntimeError, httpx.HTTPError, HfHubHTTPError)
    try:
        yield
    except NcplError:
        raise
    except failures as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (409, 412):
            raise HubError(
                f"somebody else committed to {repository} meanwhile; look at it there and push "
                "again"
            ) from error
        if status in (401, 403):
            raise HubError(
                f"the hub does not let you write to {repository} (status {status}). Log in with a "
                "key that may write (hf auth login), or set HF_TOKEN"
            ) from error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if key:
            reason = reason.replace(key, "...")
        raise HubError(f"{repository} could not be written ({reason})") from error
