"""A model repository of the hub, as one reads it: its commit and files of bounded size."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from ncpl.errors import HubError

PUBLIC_HUB = "https://huggingface.co"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_PAGES = 200
MOST_LISTING_BYTES = 8 << 20
TIMEOUT = httpx.Timeout(60, connect=10)


@dataclass(frozen=True)
class StoredFile:
    """What the hub lists of one file."""

    n_bytes: int
    sha256: str | None
    """Of files kept beside git only."""
    git_sha1: str | None

    def is_content(self, content: bytes) -> bool:
        """Return whether this is the content of the file, by the hash that the hub lists."""
        if self.sha256 is not None:
            return hashlib.sha256(content).hexdigest() == self.sha256
        header = f"blob {len(content)}\0".encode()
        found = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
        return found == self.git_sha1


def is_name(text: str) -> bool:
    """Return whether a text can be OWNER/NAME."""
    return NAME.fullmatch(text) is not None and ".." not in text


def check_revision(revision: str) -> None:
    """Raise HubError for what can be no branch, tag or commit."""
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise HubError(f'"{revision[:80]}" is no branch, tag or commit')


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT, else the public hub. HubError for what is none."""
    address = (os.environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise HubError(f'HF_ENDPOINT is "{address[:80]}"; expected https://HOST')
    return address


def access_key() -> str | None:
    """Return the user's key for the hub: HF_TOKEN, or what `hf auth login` saved.

    None where there is none, and over a plain connection to another machine, which would show it.
    """
    address = urlsplit(endpoint())
    if address.scheme != "https" and not _is_this_machine(address.hostname or ""):
        return None
    try:
        from huggingface_hub import get_token
    except ImportError:
        return os.environ.get("HF_TOKEN") or None
    return get_token() or None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ModelRepository:
    """A model repository, read over one connection; use it as a context manager."""

    def __init__(self, name: str) -> None:
        """Take OWNER/NAME."""
        self.name = name
        self.endpoint = endpoint()
        self.key = access_key()
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.client = httpx.Client(
            base_url=self.endpoint, headers=headers, timeout=TIMEOUT, follow_redirects=True,
            max_redirects=5,
        )  # fmt: skip

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
        self.client.close()

    def commit(self, revision: str) -> str | None:
        """Return the commit a branch or tag stands for; None where there is nothing to see."""
        place = f"/api/models/{self.name}/revision/{quote(revision, '')}"
        with self._answer(place) as answer:
            if answer.status_code in (401, 404):  # the hub says the same of absent and of hidden
                return None
            told = self._json(answer)
        found = told.get("sha") if isinstance(told, dict) else None
        if not isinstance(found, str) or not COMMIT.fullmatch(found):
            raise HubError(f"the hub did not name a commit of {self.name}")
        return found

    def files(self, commit: str) -> Mapping[str, StoredFile]:
        """Return the files at a commit by path."""
        found: dict[str, StoredFile] = {}
        place: str | None = f"/api/models/{self.name}/tree/{commit}?recursive=true"
        for _ in range(MOST_PAGES):
            if place is None:
                return found
            with self._answer(place) as answer:
                entries = self._json(answer)
                place = answer.links.get("next", {}).get("url")
                if place is not None and answer.url.join(place).host != answer.url.host:
                    raise HubError(f"the list of files of {self.name} goes on on another host")
            if not isinstance(entries, list):
                break
            for entry in entries:
                if isinstance(entry, dict) and entry.get("type") == "file":
                    found[str(entry.get("path"))] = _stored(entry)
        raise HubError(f"the hub did not list the files of {self.name}")

    def read(self, commit: str, path: str, most_bytes: int) -> bytes:
        """Return a small file. HubError for one that is larger."""
        return b"".join(self._parts(commit, path, most_bytes))

    def write(self, commit: str, path: str, place: Path, n_bytes: int) -> str:
        """Write a file of so many bytes and return its SHA-256. HubError for a larger one."""
        found = hashlib.sha256()
        with place.open("wb") as file:
            for part in self._parts(commit, path, n_bytes):
                file.write(part)
                found.update(part)
        return found.hexdigest()

    def _parts(self, commit: str, path: str, most_bytes: int) -> Iterator[bytes]:
        size = 0
        with self._answer(f"/{self.name}/resolve/{commit}/{quote(path)}") as answer:
            self._check(answer)
            for part in answer.iter_bytes():
                size += len(part)
                if size > most_bytes:
                    raise HubError(f"{self.name} {path} has more than {most_bytes:,} bytes")
                yield part

    @contextmanager
    def _answer(self, place: str) -> Iterator[httpx.Response]:
        try:
            with self.client.stream("GET", place) as answer:
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise HubError(
                f"{self.name} could not be read from {self.endpoint} ({reason}); try again later, "
                "or give the folder of a bundle you have"
            ) from error

    def _check(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            hint = "; log in: hf auth login" if answer.status_code in (401, 403) else ""
            raise HubError(
                f"{self.name} could not be read from {self.endpoint} (status "
                f"{answer.status_code}){hint}"
            )

    def _json(self, answer: httpx.Response) -> Any:
        self._check(answer)
        parts, size = [], 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > MOST_LISTING_BYTES:
                raise HubError(f"the hub's answer about {self.name} is too long to be one")
            parts.append(part)
        try:
            return httpx.Response(200, content=b"".join(parts)).json()
        except (ValueError, RecursionError) as error:
            raise HubError(f"the hub did not answer with JSON about {self.name}") from error


def _stored(entry: Mapping[str, Any]) -> StoredFile:
    large = entry.get("lfs")
    sha256 = large.get("oid") if isinstance(large, dict) else None
    size = entry.get("size")
    if not isinstance(size, int):
        raise HubError(f"the hub lists a file without its size: {entry!r:.200}")
    return StoredFile(size, sha256, entry.get("oid"))
