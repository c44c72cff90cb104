"""Files of a source at an address of one's own, over a loopback server."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result

from ncpl_data.ingest.cli import main
from ncpl_data.ingest.from_url import files_at
from ncpl_data.ingest.sources import SOURCES

TAKANO = SOURCES["kyo_takano"]
FILE = TAKANO.origins[0].files[0]
Runner = Callable[..., Result]


class Quiet(SimpleHTTPRequestHandler):
    """A web server of a folder."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with the files of a source, which is served."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    shipped = FILE.bundled_path()
    assert shipped is not None
    shutil.copyfile(shipped, folder / FILE.name)
    return folder


@pytest.fixture
def url(mirror: Path) -> Iterator[str]:
    """Its address."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror)))
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def change(mirror: Path) -> None:
    """Leave out the last run of the file."""
    lines = gzip.decompress((mirror / FILE.name).read_bytes()).splitlines(keepends=True)
    (mirror / FILE.name).write_bytes(gzip.compress(b"".join(lines[:-1]), mtime=0))


@pytest.mark.parametrize("end", ["", "/", f"/{FILE.name}"])
def test_pinned_files_at_an_address_give_what_the_shipped_ones_give(
    end: str, url: str, run_command: Runner, tmp_path: Path
) -> None:
    place = ["--catalog", tmp_path / "c"]
    first = run_command(main, "ingest", "kyo_takano", "--from", url + end, *place)
    assert first.exit_code == 0, first.stderr
    assert f"reading from {url}" in first.stderr
    again = run_command(main, "ingest", "kyo_takano", "--offline", *place)
    assert "0 added, 0 updated" in again.stdout


def test_a_changed_file_is_refused_unless_accepted(
    url: str, mirror: Path, run_command: Runner, tmp_path: Path
) -> None:
    change(mirror)
    call = ["ingest", "kyo_takano", "--from", url, "--catalog", tmp_path / "c"]
    refused = run_command(main, *call)
    assert refused.exit_code == 1
    assert "add --accept-changed" in refused.stderr
    assert not (tmp_path / "c").exists()
    accepted = run_command(main, *call, "--accept-changed")
    assert accepted.exit_code == 0, accepted.stderr
    assert "1 added" not in accepted.stdout


def test_what_is_accepted_is_downloaded_each_time_and_is_not_pinned(url: str, mirror: Path) -> None:
    _, pinned, is_pinned = files_at(TAKANO, url, accept_changed=True)
    assert is_pinned
    change(mirror)
    _, other, is_pinned = files_at(TAKANO, url, accept_changed=True)
    assert not is_pinned
    assert other[FILE.name] != pinned[FILE.name]
    assert other[FILE.name].read_bytes() == (mirror / FILE.name).read_bytes()


def test_a_file_of_the_same_size_and_another_hash_is_refused(
    url: str, mirror: Path, run_command: Runner, tmp_path: Path
) -> None:
    held = bytearray((mirror / FILE.name).read_bytes())
    held[len(held) // 2] ^= 1
    (mirror / FILE.name).write_bytes(held)
    call = ["ingest", "kyo_takano", "--from", url, "--catalog", tmp_path / "c"]
    refused = run_command(main, *call)
    assert refused.exit_code == 1
    assert "the file was altered" in refused.stderr


@pytest.mark.parametrize(
    ("end", "options", "code", "message"),
    [
        ("/elsewhere", (), None, "status 404"),
        ("/elsewhere", ("--accept-changed",), None, "status 404"),
        ("/?token=1", (), 1, "expected https://HOST/FOLDER"),
        ("", ("--offline",), 2, "--offline forbids a download"),
        ("", ("--refresh",), 2, "--refresh downloads"),
    ],
)
def test_an_address_that_does_not_serve_is_one_sentence(
    end: str, options: tuple[str, ...], code: int | None, message: str,
    url: str, run_command: Runner, tmp_path: Path,
) -> None:  # fmt: skip
    call = ["ingest", "kyo_takano", "--from", url + end, "--catalog", tmp_path / "c"]
    result = run_command(main, *call, *options)
    assert result.exit_code == code if code else result.exit_code not in (0, 2)
    assert message in result.stderr
    assert not (tmp_path / "c").exists()
