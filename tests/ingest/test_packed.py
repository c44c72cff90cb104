"""Originals shipped in one file: the same bytes, the same runs, from disk and over the network."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ncpl_data.catalog.errors import InputError, RawFileError, SourceUnreachableError
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.base import Source
from ncpl_data.ingest.packed import read_packed, sha256, write_packed
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES

PACKED = ("multipower", "overtraining", "gemstones", "olmo_ladder", "regmix", "observational")


def originals(name: str) -> dict[str, bytes]:
    (path,) = (SOURCES[name].origins[0].bundled_paths() or {}).values()
    return read_packed(path, name)


def write_originals(name: str, folder: Path) -> Path:
    for inside, content in originals(name).items():
        path = folder / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without printing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base's name)
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    root = tmp_path / "served"
    root.mkdir()
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield root, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", PACKED)
def test_shipped_bytes_are_those_the_owner_publishes(name: str) -> None:
    upstream = SOURCES[name].origins[1]
    assert upstream.name == "upstream"
    contents = originals(name)
    assert {inside: sha256(content) for inside, content in contents.items()} == {
        file.name: file.sha256 for file in upstream.files
    }
    assert all(len(contents[file.name]) == file.n_bytes for file in upstream.files)
    assert all(f"/{upstream.revision}/" in str(file.url) for file in upstream.files)


@pytest.mark.parametrize("name", PACKED)
def test_reading_the_originals_changes_nothing(name: str, tmp_path: Path, catalog: Catalog) -> None:
    first = ingest(SOURCES[name], catalog, offline=True)
    second = ingest(SOURCES[name], catalog, folder=write_originals(name, tmp_path / "files"))
    assert first.outcome.added
    assert second.origin == "upstream"
    assert not second.outcome.added
    assert not second.outcome.updated


def test_originals_are_downloaded_and_cached(
    served: tuple[Path, str], tmp_path: Path, catalog: Catalog
) -> None:
    """Names hold folders here; the owner's server is a loopback one."""
    root, address = served
    write_originals("multipower", root)
    upstream = SOURCES["multipower"].origins[1]
    files = tuple(replace(f, url=f"{address}/{f.name}") for f in upstream.files)
    source: Source = replace(SOURCES["multipower"], origins=(replace(upstream, files=files),))
    assert ingest(SOURCES["multipower"], catalog, offline=True).origin == "shipped"
    both = replace(
        SOURCES["multipower"], origins=(SOURCES["multipower"].origins[0], *source.origins)
    )
    done = ingest(both, catalog, refresh=True)
    assert (done.origin, done.outcome.unchanged) == ("upstream", 27)
    again = ingest(source, catalog, offline=True)
    assert again.outcome.unchanged == 27


def test_files_that_nobody_publishes_can_not_be_refreshed(catalog: Catalog) -> None:
    with pytest.raises(SourceUnreachableError, match="leave out --refresh"):
        ingest(SOURCES["lr_scheduling"], catalog, refresh=True)


def test_a_folder_without_the_files_is_told_a_few_of_them(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(InputError, match="and 100 more") as caught:
        ingest(SOURCES["overtraining"], catalog, folder=tmp_path)
    assert len(str(caught.value)) < 400


def test_altered_content_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "packed.parquet"
    write_packed({"a.csv": b"1"}, path)
    table = pq.read_table(path)
    at = table.column_names.index("content")
    pq.write_table(table.set_column(at, "content", [[b"2"]]), path)
    with pytest.raises(RawFileError, match=r"packed\.parquet: a\.csv is altered"):
        read_packed(path, "toy")
    path.write_bytes(b"PAR1")
    with pytest.raises(RawFileError, match="not a file of packed originals"):
        read_packed(path, "toy")
