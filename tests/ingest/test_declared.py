"""Declared values: each has a place, none replaces what a run says, files name real columns."""

from __future__ import annotations

from importlib.resources import files

import pytest

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.declared import Entry, declare, entries, is_met, not_stated
from ncpl_data.ingest.sources import all_sources

NAMES = sorted(
    path.name.removesuffix(".toml")
    for path in (files("ncpl_data.ingest") / "declarations").iterdir()
)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_of_a_source_and_names_its_places(name: str) -> None:
    """A file for no source would never be read; a value without a place can not be checked."""
    assert name in all_sources()
    for entry in entries(name):
        assert len(entry.place) > 15
        assert entry.values or entry.rows
    assert entries(name) or not_stated(name)


def test_what_a_run_says_stays() -> None:
    """The declared width of attention is added, the run's own batch is kept."""
    run = Run(run_id="gemstones/x", source="gemstones", d_model=512, batch_size_sequences=7)
    found = declare(run)
    assert (found.n_heads, found.n_kv_heads, found.d_ff) == (4, 2, 2048)
    assert found.batch_size_sequences == 7
    assert "param_counter" in (found.origins or {})["n_heads"]["evidence"]
    assert "batch_size_sequences" not in (found.origins or {})


def test_a_declared_shape_gives_the_sources_own_count() -> None:
    """Gemstones' 1024x28 has 543,482,880 parameters in its file, and by the declared shape."""
    run = Run(run_id="gemstones/1024x28", source="gemstones", d_model=1024, n_layers=28)
    assert complete(declare(run)).params_total == 543_482_880


def test_other_sources_are_left_alone() -> None:
    """A source without a file has nothing declared."""
    run = Run(run_id="lab/x", source="lab")
    assert declare(run) is run


@pytest.mark.parametrize(
    ("value", "asked", "met"),
    [(3, 3, True), (3, [1, 2], False), ("ab", "/^a/", True), (None, "/a/", False)],
)
def test_conditions(value: object, asked: object, met: bool) -> None:
    """A value, one of a list, or a pattern between slashes."""
    assert is_met(value, asked) is met


def test_a_row_is_picked_by_one_value() -> None:
    """Counts read as numbers with a point pick the same row."""
    entry = Entry("a paper's table 1", {}, {}, "params_total", {"82700000": {"n_layers": 10}})
    assert entry.of(Run(run_id="a/b", source="a", params_total=82_700_000)) == {"n_layers": 10}
    assert entry.of(Run(run_id="a/b", source="a", params_total=1)) == {}
