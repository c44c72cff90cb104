"""Download pinned files: resumed where cut, retried where refused, checked by hash, cached.

The only module that opens a socket. The cache is content-addressed: a file lies under its
SHA-256, so a second run downloads nothing and a damaged file is never served.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from ncpl_data.catalog.errors import InputError, RawFileError, SourceUnreachableError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.ingest.base import RawFile

if TYPE_CHECKING:
    import httpx

MAX_TRIES = 6
MAX_REDIRECTS = 5
MAX_WAIT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
LOWEST_RATE = 1_000
"""Bytes a second, over READ_TIMEOUT_SECONDS; slower is as good as nothing."""
DEADLINE_SECONDS = 4 * 3600.0
"""For one file, all tries together."""
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}

Progress = Callable[[int], object]
"""Called with the number of new bytes."""


def cache_folder() -> Path:
    """Return where downloads are kept: NCPL_CACHE, else the user's cache folder."""
    given = os.environ.get("NCPL_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("ncpl-data")


def place_of(file: RawFile, cache: Path) -> Path:
    """Return where a file of known hash lies in the cache, if it is there."""
    return cache / file.sha256[:2] / file.sha256 / file.name


def cached(file: RawFile, cache: Path) -> Path | None:
    """Return the cached copy of a pinned file, if it is there and whole."""
    path = place_of(file, cache)
    if path.is_file() and path.stat().st_size == file.n_bytes and file_sha256(path) == file.sha256:
        return path
    return None


def fetch(
    file: RawFile,
    cache: Path,
    *,
    source: str,
    offline: bool = False,
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
    stall_seconds: float = READ_TIMEOUT_SECONDS,
    key: str | None = None,
    advice: str = "",
) -> Path:
    """Return the path of a pinned file, downloading it if it is not in the cache.

    A server that sends nothing for `stall_seconds` is asked again. `key` goes to the file's own
    host and to no other; `advice` says what else to do, by default to give a folder. Processes
    that want the same file take turns. Raises SourceUnreachableError if it can not be had now,
    RawFileError if what arrives is not the pinned file, InputError if it can not be kept.
    """
    found = cached(file, cache)
    if found is not None:
        return found
    advice = advice or f"give a folder: ncpl-data ingest {source} --from FOLDER"
    if offline or file.url is None:
        raise SourceUnreachableError(
            f"{file.name} is not in the cache {cache}, and --offline forbids a download. "
            f"Run once with a network, or {advice}"
        )
    target = place_of(file, cache)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(target.parent):
            return cached(file, cache) or download_whole(
                file,
                target,
                source=source,
                progress=progress,
                wait=wait,
                stall_seconds=stall_seconds,
                key=key,
                advice=advice,
            )
    except OSError as error:
        raise InputError(
            f"could not write {target}: {error.strerror or error}; free space, or set NCPL_CACHE "
            "to another folder"
        ) from error


def fetch_as_is(
    url: str,
    name: str,
    cache: Path,
    *,
    progress: Progress | None = None,
    advice: str,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Return the path, under its hash, of a file as it now lies at an address.

    It is downloaded each time, and as many bytes are read as the server states. Raises as `fetch`.
    """
    file = RawFile(name, sha256="", n_bytes=size_at(url, name, advice=advice), url=url)
    arriving = cache / "arriving" / hashlib.sha256(url.encode()).hexdigest()
    try:
        (arriving / name).parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(arriving):
            found = download_whole(
                file,
                arriving / name,
                source="",
                progress=progress,
                wait=wait,
                stall_seconds=READ_TIMEOUT_SECONDS,
                key=None,
                advice=advice,
            )
            digest = file_sha256(found)
            kept = place_of(replace(file, sha256=digest), cache)
            kept.parent.mkdir(parents=True, exist_ok=True)
            return found.replace(kept)
    except OSError as error:
        raise InputError(
            f"could not write {arriving}: {error.strerror or error}; free space, or set NCPL_CACHE "
            "to another folder"
        ) from error


def size_at(url: str, name: str, *, advice: str) -> int:
    """Return how many bytes a server states for a file.

    Raises SourceUnreachableError if it does not answer or states none.
    """
    import httpx

    limits = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    reason, place = f"more than {MAX_REDIRECTS} redirects", httpx.URL(url)
    try:
        with httpx.Client(timeout=limits) as client:
            for _ in range(MAX_REDIRECTS + 1):
                answer = client.head(place, headers={"Accept-Encoding": "identity"})
                if answer.has_redirect_location:
                    place = redirected(place, answer)
                    continue
                stated = answer.headers.get("Content-Length", "")
                if answer.status_code == 200 and stated.isdigit():
                    return int(stated)
                reason = f"status {answer.status_code}"
                if answer.status_code == 200:
                    reason = "it does not state the size"
                break
    except (httpx.HTTPError, RefusedError) as error:
        reason = str(error) or type(error).__name__
    raise SourceUnreachableError(
        f"{name} could not be read from {url} ({reason}). Try again later, or {advice}"
    )


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder; the lock of a killed one is gone with it.

    Where the system knows no such lock, a file that two processes write at once is found by its
    hash and read again.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network mounts have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def download_whole(
    file: RawFile,
    target: Path,
    *,
    source: str,
    progress: Progress | None,
    wait: Callable[[float], None],
    stall_seconds: float,
    key: str | None,
    advice: str,
) -> Path:
    """Download a file until its hash is right, give it its name and return that."""
    part = target.with_name(f"{target.name}.part")
    import httpx  # most ingests read what is there already

    limits = httpx.Timeout(stall_seconds, connect=CONNECT_TIMEOUT_SECONDS)
    pace = Pace(stall_seconds, time.monotonic() + DEADLINE_SECONDS)
    reason = "no answer"
    with httpx.Client(timeout=limits) as client:
        for attempt in range(MAX_TRIES):
            if not file.sha256:  # nothing would tell a piece of another version
                part.unlink(missing_ok=True)
            try:
                was_resumed = download(client, file, part, pace, progress, key)
            except RefusedError as error:
                reason = str(error)
                if not error.may_retry:
                    break
                wait(error.wait_seconds or backoff_seconds(attempt))
                continue
            except httpx.ConnectError as error:
                reason = str(error) or "no connection"
                break  # without a network another try only costs time
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                wait(backoff_seconds(attempt))
                continue
            is_whole = part.stat().st_size == file.n_bytes
            if is_whole and file.sha256 in ("", file_sha256(part)):
                part.replace(target)
                return target
            if not file.sha256:
                reason = "it has another size than the server states"
                continue
            found_digest, n_bytes = file_sha256(part), part.stat().st_size
            part.unlink()
            if was_resumed:  # the piece from an earlier run may be what is wrong
                reason = "the resumed file has another sha256"
                continue
            raise RawFileError(
                f"{source} {file.name}: {file.url} gave {n_bytes:,} bytes with sha256 "
                f"{found_digest[:16]}..., expected {file.n_bytes:,} bytes with {file.sha256[:16]}"
                "...; the file was altered on the way or at its source",
                source=source,
                file=file.name,
            )
    raise SourceUnreachableError(
        f"{file.name} could not be read from {file.url} ({reason}). Try again later, or {advice}"
    )


@dataclass(frozen=True)
class Pace:
    """How slowly an answer may come."""

    window_seconds: float
    """In each such time at least `LOWEST_RATE` bytes a second come."""
    until: float
    """When the whole download ends, on the monotonic clock."""

    def kept(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield chunks as long as they come fast enough.

        Raises httpx.ReadTimeout below the lowest rate, RefusedError after the deadline.
        """
        import httpx

        began, n_bytes = time.monotonic(), 0
        for chunk in chunks:
            yield chunk
            n_bytes += len(chunk)
            now = time.monotonic()
            if now > self.until:
                raise RefusedError(
                    f"it took more than {DEADLINE_SECONDS / 3600:g} hours", may_retry=False
                )
            if now - began >= self.window_seconds:
                rate = n_bytes / (now - began)
                if rate < LOWEST_RATE:
                    raise httpx.ReadTimeout(
                        f"{rate:,.0f} bytes a second came, the least is {LOWEST_RATE:,}"
                    )
                began, n_bytes = now, 0


class RefusedError(Exception):
    """A server that answered, but not with the file."""

    def __init__(self, message: str, *, may_retry: bool, wait_seconds: float | None = None) -> None:
        """Say whether and when to ask again."""
        super().__init__(message)
        self.may_retry = may_retry
        self.wait_seconds = wait_seconds


def download(
    client: httpx.Client,
    file: RawFile,
    part: Path,
    pace: Pace,
    progress: Progress | None = None,
    key: str | None = None,
) -> bool:
    """Append what is missing of a file to its partial copy; return whether there was one.

    Raises RefusedError for an answer that is not the file, httpx.HTTPError for a broken one.
    """
    have = part.stat().st_size if part.exists() else 0
    if have >= file.n_bytes:
        part.unlink()
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    headers["Accept-Encoding"] = "identity"  # a range of a compressed answer would not fit
    assert file.url is not None
    import httpx

    first = url = httpx.URL(file.url)
    for _ in range(MAX_REDIRECTS + 1):
        with client.stream("GET", url, headers=headers | key_header(key, first, url)) as answer:
            if answer.has_redirect_location:
                url = redirected(url, answer)
                continue
            if answer.status_code in RETRY_STATUS:
                raise RefusedError(
                    f"status {answer.status_code}",
                    may_retry=True,
                    wait_seconds=retry_after_seconds(answer.headers.get("Retry-After")),
                )
            if answer.status_code not in (200, 206):
                raise RefusedError(f"status {answer.status_code}", may_retry=False)
            resumed = answer.status_code == 206 and answer.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {have}-")
            save(answer, file, part, have if resumed else 0, progress, pace)
            return resumed
    raise RefusedError(f"more than {MAX_REDIRECTS} redirects", may_retry=False)


def key_header(key: str | None, first: httpx.URL, url: httpx.URL) -> dict[str, str]:
    """Return the header with a key, for the host it is meant for only."""
    is_same = (first.scheme, first.netloc) == (url.scheme, url.netloc)
    return {"Authorization": f"Bearer {key}"} if key and is_same else {}


def redirected(url: httpx.URL, answer: httpx.Response) -> httpx.URL:
    """Return where an answer redirects to.

    Another host is trusted over https only: what it sends is checked by its hash all the same,
    but a plain connection could be sent to any machine of the user's network. Raises
    RefusedError otherwise.
    """
    target = url.join(answer.headers["Location"])
    if target.scheme == "https" or (target.scheme, target.netloc) == (url.scheme, url.netloc):
        return target
    raise RefusedError(
        f"it redirects to {target.scheme}://{target.host}, which is another host without https",
        may_retry=False,
    )


def save(
    answer: httpx.Response,
    file: RawFile,
    part: Path,
    have: int,
    progress: Progress | None,
    pace: Pace,
) -> None:
    """Write an answer behind the `have` bytes that are there.

    Raises RefusedError for an answer that is encoded or too late, httpx.HTTPError if it ends early
    or comes too slowly.
    """
    import httpx

    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # a small answer that unpacks without end, or another file
        raise RefusedError(
            f"it answers with Content-Encoding {encoding[:40]}, though plain bytes were asked for",
            may_retry=False,
        )
    total = have
    with part.open("ab" if have else "wb") as out:
        for chunk in pace.kept(answer.iter_raw()):
            total += len(chunk)
            if total > file.n_bytes:  # never fill a disk with somebody's error page
                break
            out.write(chunk)
            if progress is not None:
                progress(len(chunk))
    if total < file.n_bytes:
        raise httpx.RemoteProtocolError(
            f"the answer ended after {total:,} of {file.n_bytes:,} bytes"
        )


def retry_after_seconds(value: str | None) -> float | None:
    """Return the seconds a Retry-After header asks for, at most MAX_WAIT_SECONDS."""
    if not value:
        return None
    if value.strip().isdigit():
        return min(float(value), MAX_WAIT_SECONDS)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), MAX_WAIT_SECONDS)


def backoff_seconds(attempt: int) -> float:
    """Return how long to wait before try number `attempt` + 2: doubling, with jitter."""
    return float(min(2.0**attempt, MAX_WAIT_SECONDS) * (0.5 + random.random() / 2))
