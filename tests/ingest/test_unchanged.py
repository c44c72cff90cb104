"""A source that was read before, as it is now, is not read again; where anything differs it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest import pipeline, unchanged
from ncpl_data.ingest.sources import SOURCES

NAME = "multipower"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A catalog with one source, twice ingested."""
    found = Catalog(tmp_path / "catalog")
    first = pipeline.ingest(SOURCES[NAME], found, offline=True)
    assert first.outcome.version == 1
    return found


def reads(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> tuple[bool, Outcome]:
    """Ingest once more; return whether the source was read, and what that did."""
    found: list[object] = []
    check = pipeline.check
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "check", lambda *args: found.append(args) or check(*args))
        done = pipeline.ingest(SOURCES[NAME], catalog, offline=True)
    return bool(found), done.outcome


def without_last_run(catalog: Catalog) -> None:
    """Take a run out of the catalog, as another program might."""
    rows = catalog.read("runs")

    def prepare(manifest):  # type: ignore[no-untyped-def]
        files = catalog.write("runs", NAME, rows.slice(0, rows.num_rows - 1), hashed=True)
        return {**manifest.tables, "runs": files}, Outcome()

    catalog.commit(prepare, "test")


def of_an_older_release(catalog: Catalog) -> None:
    """Let the files of the catalog vouch for no hash of a run."""

    def prepare(manifest):  # type: ignore[no-untyped-def]
        files = tuple(replace(file, hashed=False) for file in manifest.tables["runs"])
        return {**manifest.tables, "runs": files}, Outcome()

    catalog.commit(prepare, "test")


def test_an_unchanged_source_is_not_read_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_runs = catalog.read("runs").num_rows
    rejects = catalog.read("rejects")["reason"].to_pylist()
    was_read, outcome = reads(monkeypatch, catalog)
    assert not was_read
    assert (outcome.unchanged, outcome.added, outcome.version) == (n_runs, (), None)
    assert outcome.n_rejected == len(rejects)


@pytest.mark.parametrize("change", [without_last_run, of_an_older_release])
def test_a_source_whose_stored_rows_changed_is_read_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, change: Callable[[Catalog], None]
) -> None:
    n_runs = catalog.read("runs").num_rows
    change(catalog)
    was_read, _ = reads(monkeypatch, catalog)
    assert was_read
    assert catalog.read("runs").num_rows == n_runs


def test_a_source_whose_reader_changed_is_read_again_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "code_digest", lambda: "another")
    assert [reads(monkeypatch, catalog)[0] for _ in range(2)] == [True, False]


def test_damage_is_reported_all_the_same(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    path = catalog.paths("runs")[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        reads(monkeypatch, Catalog(catalog.root))
