from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.datapage import BARS, BINS, histogram, main, number, page
from ncpl_data.ingest.sources import losscast
from ncpl_data.ingest.studies import losscast as bench


@pytest.fixture
def catalog(fixtures: Path, tmp_path: Path) -> Catalog:
    records = bench.read_records((fixtures / "losscast" / "runs.jsonl").read_bytes())
    runs = [run for run in losscast.read(records, {}) if isinstance(run, Run)]
    found = Catalog(tmp_path / "c")
    sheet = losscast.SOURCE.sheet()
    found.upsert(runs, source="losscast", operation="ingest", origin="test", sheet=sheet)
    return found


def row_of(text: str, start: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_overview_counts_runs_points_and_twins(catalog: Catalog) -> None:
    n_points = catalog.read("curves", ["step"]).num_rows
    assert row_of(page(catalog), "[losscast](#losscast)") == [
        "[losscast](#losscast)",
        "MIT",
        "10",
        "10",
        "10",
        str(n_points),
        "0",
        "9",
    ]


def test_fields_count_every_origin_and_every_run_once(catalog: Catalog) -> None:
    text = page(catalog)
    for line in text.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            known = sum(int(cell or 0) for cell in cells[2:6])
            assert known + int(cells[7] or 0) == 10, line
    assert row_of(text, "`activation`")[2:] == ["1", "8", "", "", "1", "1"]
    assert row_of(text, "`d_ff`")[2:] == ["2", "", "", "8", "", ""]


def test_the_same_catalog_gives_the_same_page(catalog: Catalog, tmp_path: Path) -> None:
    main([str(tmp_path / "a.md"), str(catalog.root)])
    main([str(tmp_path / "b.md"), str(catalog.root)])
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()


def test_the_committed_page_has_the_numbers_of_the_sources() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    assert row_of(text, "[losscast](#losscast)")[2:6] == ["5,416", "5,416", "5,416", "374,861"]
    assert row_of(text, "[steplaw](#steplaw)")[2:6] == ["2,819", "2,819", "2,277", "258,645"]
    assert row_of(text, "[marin](#marin)")[2:6] == ["2,046", "2,022", "123", "4,195"]
    assert row_of(text, "marin | ood")[2:] == ["415", "411", "4", "0", "415"]
    assert row_of(text, "steplaw | ood")[2:] == ["694", "694", "0", "0", "434"]


@given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=200), st.booleans())
def test_a_histogram_shows_both_ends(values: list[float], is_log: bool) -> None:
    """Generated numbers: a law of the drawing."""
    bars = histogram(np.array(values), is_log=is_log)
    assert set(bars) <= set(BARS)
    assert BARS[-1] in bars
    assert len(bars) in (1, BINS)
    assert " " not in (bars[0], bars[-1])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (4096, "4,096"),
        (214_663_680, "214.7M"),
        (1e-15, "1e-15"),
        (1e11, "100B"),
        (3.14159, "3.142"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
