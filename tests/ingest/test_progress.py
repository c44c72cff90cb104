"""Progress of an ingest: a bar for each piece of work, on a terminal only."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.fetch import Progress
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.terminal.console import Console


@pytest.mark.parametrize("name", ["multipower", "parameter_golf", "observational"])
def test_every_record_that_is_read_moves_the_bar(name: str, catalog: Catalog) -> None:
    """Written or refused, each counts once; the bar is as long as the data sheet says."""
    told: dict[str, list[int]] = {}
    totals: dict[str, int | None] = {}

    @contextmanager
    def bars(what: str, unit: str, total: int | None = None) -> Iterator[Progress]:
        del unit
        totals[what] = total
        yield told.setdefault(what, []).append

    done = ingest(SOURCES[name], catalog, offline=True, bars=bars)
    reading = f"reading {name}"
    assert list(told) == [f"downloading {name}", reading]
    assert sum(told[reading]) == len(done.outcome.added) + done.outcome.n_rejected
    assert totals[reading] == len(done.outcome.added)


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_bar_shows_where_somebody_watches(
    capsys: pytest.CaptureFixture[str], is_watched: bool
) -> None:
    console = Console(as_json=False, verbosity=0, shows_progress=is_watched)
    with console.progress("reading acme", " records", 4) as progress:
        time.sleep(0.6)  # short work shows no bar
        progress(3)
    out, errors = capsys.readouterr()
    assert out == ""
    assert ("reading acme:  75%" in errors) == is_watched
