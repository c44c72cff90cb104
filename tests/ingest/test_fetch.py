"""The downloader against a loopback server that misbehaves in every way seen in the wild."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ncpl_data.catalog.errors import InputError, RawFileError, SourceUnreachableError
from ncpl_data.ingest.base import RawFile
from ncpl_data.ingest.fetch import cached, fetch, retry_after_seconds

CONTENT = bytes(range(256)) * 4000  # one megabyte, generated
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A web server that answers the next requests as its plan says, then as it should."""

    url: str = ""
    plan: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on the loopback interface."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            state.ranges.append(self.headers.get("Range"))
            act = state.plan.pop(0) if state.plan else "serve"
            if act.isdigit():
                self.send_response(int(act))
                self.send_header("Retry-After", "7")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if act.startswith("to:"):
                self.send_response(302)
                self.send_header("Location", act.removeprefix("to:"))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if state.ranges[-1] and act != "whole":
                match = re.fullmatch(r"bytes=(\d+)-", state.ranges[-1] or "")
                assert match
                start = int(match[1])
            body = CONTENT[start:]
            if act == "corrupt":
                body = body[:-1] + bytes([body[-1] ^ 1])
            if act == "page":
                body = b"<html>" + b" " * 2 * len(CONTENT)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/*")
            if act == "gzip":
                self.send_header("Content-Encoding", "gzip")
                body = gzip.compress(bytes(10 * len(CONTENT)))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if act == "drip":
                for at in range(20):
                    self.wfile.write(body[at : at + 1])
                    self.wfile.flush()
                    time.sleep(0.05)
                self.close_connection = True
                return
            if act in {"cut", "stall"}:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if act == "stall":
                    time.sleep(1.0)
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                """The client, or a cut of ours, closed the connection."""

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                """As above."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/data.bin"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def file(server: Server) -> RawFile:
    """The pinned file."""
    return RawFile("data.bin", sha256=SHA256, n_bytes=len(CONTENT), url=server.url)


def get(file: RawFile, cache: Path, **options: object) -> tuple[Path, list[float]]:
    """Fetch without really waiting; return the path and the waits that were asked for."""
    waits: list[float] = []
    path = fetch(file, cache, source="acme", wait=waits.append, stall_seconds=0.3, **options)  # type: ignore[arg-type]
    return path, waits


@pytest.mark.parametrize(
    ("plan", "n_requests"),
    [
        ([], 1),
        (["cut"], 2),
        (["cut", "cut", "cut"], 4),
        (["stall"], 2),
        (["503", "503"], 3),
        (["429"], 2),
        (["cut", "503", "whole"], 3),  # a server that forgets how to resume
        (["to:/elsewhere"], 2),
        (["cut", "page", "serve"], 3),
    ],
)
def test_the_file_arrives_whole(
    server: Server, file: RawFile, tmp_path: Path, plan: list[str], n_requests: int
) -> None:
    server.plan = list(plan)
    path, _ = get(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.ranges) == n_requests
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["data.bin"]


def test_a_cut_is_resumed_where_it_ended(server: Server, file: RawFile, tmp_path: Path) -> None:
    server.plan = ["cut"]
    get(file, tmp_path)
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_killed_download_is_resumed_by_the_next_run(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    server.plan = ["cut", "404"]
    with pytest.raises(SourceUnreachableError, match="status 404"):
        get(file, tmp_path)
    get(file, tmp_path)
    assert server.ranges[-1] == f"bytes={len(CONTENT) // 2}-"


def test_a_damaged_piece_of_an_earlier_run_is_thrown_away(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    part = tmp_path / SHA256[:2] / SHA256 / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert get(file, tmp_path)[0].read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.skipif(os.name != "posix", reason="no locks of this kind")
def test_several_that_want_one_file_download_it_once(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    server.plan = ["cut"]
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: get(file, tmp_path)[0], range(4)))
    assert len(paths) == 1
    assert paths.pop().read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_cache_that_can_not_be_written_is_one_sentence(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    (tmp_path / SHA256[:2]).write_text("in the way")
    with pytest.raises(InputError, match=r"could not write .* set NCPL_CACHE"):
        get(file, tmp_path)


def test_retry_after_is_heeded(server: Server, file: RawFile, tmp_path: Path) -> None:
    server.plan = ["429", "503"]
    assert get(file, tmp_path)[1] == [7.0, 7.0]


def test_an_altered_file_is_refused_and_not_kept(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    server.plan = ["corrupt"]
    with pytest.raises(RawFileError, match=r"acme data\.bin: .* the file was altered"):
        get(file, tmp_path)
    assert cached(file, tmp_path) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_an_error_page_larger_than_the_file_is_not_downloaded_whole(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    server.plan = ["page"]
    seen: list[int] = []
    with pytest.raises(RawFileError):
        get(file, tmp_path, progress=seen.append)
    assert sum(seen) <= len(CONTENT)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (["404"], "status 404"),
        (["503"] * 9, "status 503"),
        (["to:http://192.0.2.1/secret"], "another host without https"),
        (["to:file:///etc/passwd"], "another host without https"),
        (["to:/again"] * 9, "more than 5 redirects"),
        (["cut"] * 30, "the answer ended|RemoteProtocolError|ReadError"),
    ],
)
def test_a_server_without_the_file_is_one_sentence(
    server: Server, file: RawFile, tmp_path: Path, plan: list[str], message: str
) -> None:
    server.plan = list(plan)
    with pytest.raises(SourceUnreachableError, match=message) as caught:
        get(file, tmp_path)
    assert "ncpl-data ingest acme --from FOLDER" in str(caught.value)
    assert caught.value.exit_code == 3


def test_nobody_listening_is_one_sentence_at_once(tmp_path: Path) -> None:
    file = RawFile("data.bin", sha256=SHA256, n_bytes=9, url="http://127.0.0.1:9/data.bin")
    with pytest.raises(SourceUnreachableError, match="could not be read from"):
        get(file, tmp_path)


def test_a_cached_file_asks_nobody_and_offline_serves_it(
    server: Server, file: RawFile, tmp_path: Path
) -> None:
    with pytest.raises(SourceUnreachableError, match="--offline forbids a download"):
        get(file, tmp_path, offline=True)
    path, _ = get(file, tmp_path)
    assert get(file, tmp_path, offline=True)[0] == path
    assert len(server.ranges) == 1
    path.write_bytes(CONTENT[:-1] + b"?")  # a damaged cache is never served
    assert get(file, tmp_path)[0].read_bytes() == CONTENT
    assert len(server.ranges) == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("9999", 60.0), ("", None), (None, None), ("soon", None), ("-3", None)],
)
def test_retry_after_values(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_seconds("Fri, 31 Dec 2100 23:59:59 GMT") == 60.0


def test_an_encoded_answer_is_refused_before_it_is_unpacked(server: Server, tmp_path: Path) -> None:
    server.plan = ["gzip"]
    pinned = RawFile("data.bin", url=server.url, sha256=SHA256, n_bytes=len(CONTENT))
    with pytest.raises(SourceUnreachableError, match="Content-Encoding gzip"):
        fetch(pinned, tmp_path, source="made", wait=lambda _s: None)
    assert server.plan == []


def test_a_server_that_drips_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.plan = ["drip"]
    pinned = RawFile("data.bin", url=server.url, sha256=SHA256, n_bytes=len(CONTENT))
    path = fetch(pinned, tmp_path, source="made", wait=lambda _s: None, stall_seconds=0.3)
    assert path.read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert server.ranges[1] is not None  # what had come was kept
