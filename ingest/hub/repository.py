"""A dataset repository on the hub, as one reads it: its newest commit and its files."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.live.hub_dataset import BASE_URL, HubFile, all_files, revision_of
from ncpl_data.ingest.live.transport import AnswerError, Transport

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
MAX_FILES = 100_000
ABSENT = {401, 404}
"""How the hub answers about what does not exist, or may not be seen: the same for both."""


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT, else the public hub.

    Raises InputError for what is no address.
    """
    address = (os.environ.get("HF_ENDPOINT") or BASE_URL).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise InputError(f'HF_ENDPOINT is "{address[:80]}"; expected https://HOST')
    return address


def access_key() -> str | None:
    """Return the user's key for the hub: HF_TOKEN, or what `hf auth login` saved.

    None where there is none, and over a plain connection to another machine, which would show it.
    """
    address = urlsplit(endpoint())
    if address.scheme != "https" and not is_loopback(address.hostname or ""):
        return None
    try:
        from huggingface_hub import get_token
    except ImportError:
        return os.environ.get("HF_TOKEN") or None
    return get_token() or None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_names(repository: str, revision: str | None = None) -> None:
    """Raise InputError for what can be no name of a repository or revision."""
    if not NAME.fullmatch(repository) or ".." in repository:
        raise InputError(f'"{repository[:80]}" is no repository; expected OWNER/NAME')
    if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
        raise InputError(f'"{revision[:80]}" is no branch, tag or commit')


class Repository:
    """A dataset repository, read over one connection; use it as a context manager."""

    def __init__(self, name: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        """Take OWNER/NAME. Raises InputError if it is none."""
        check_names(name)
        self.name = name
        self.endpoint = endpoint()
        self.key = access_key()
        self.transport = Transport(
            self.endpoint,
            service=f"the hub, {name}",
            bearer=self.key,
            advice="give the folder of a snapshot you have",
            wait=wait,
        )

    def __enter__(self) -> Self:
        """Return the repository."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.transport.client.close()

    def head(self, revision: str) -> str | None:
        """Return the commit a branch or tag stands for; None where there is nothing to see."""
        try:
            return revision_of(self.transport, self.name, revision)
        except AnswerError as error:
            if error.status in ABSENT:
                return None
            raise

    def is_private(self) -> bool:
        """Return whether only some may read the repository; False where it is not said."""
        answer, _ = self.transport.get_json(f"/api/datasets/{self.name}")
        return isinstance(answer, dict) and answer.get("private") is True

    def files(self, commit: str) -> Mapping[str, HubFile]:
        """Return the files at a commit by their path.

        Raises InputError for a repository of more than MAX_FILES.
        """
        found: dict[str, HubFile] = {}
        for file in all_files(self.transport, self.name, commit):
            found[file.path] = file
            if len(found) > MAX_FILES:
                raise InputError(
                    f"{self.name} has more than {MAX_FILES:,} files, so it is no snapshot"
                )
        return found

    def read(self, commit: str, path: str, max_bytes: int) -> bytes:
        """Return a small file."""
        return self.transport.get_bytes(resolved(self.name, commit, path), max_bytes)


def resolved(repository: str, commit: str, path: str) -> str:
    """Return where a file of a commit is downloaded."""
    return f"{endpoint()}/datasets/{repository}/resolve/{commit}/{quote(path)}"


def holds(file: HubFile | None, path: Path, sha256: str) -> bool:
    """Return whether the hub's file has the content of a local one, whose SHA-256 is known."""
    if file is None or file.n_bytes != path.stat().st_size:
        return False
    if file.sha256 is not None:
        return file.sha256 == sha256
    return file.git_sha1 == git_sha1(path.read_bytes())


def git_sha1(content: bytes) -> str:
    """Return git's hash of a file's content."""
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
