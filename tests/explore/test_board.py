"""The transfer board that ships is the one the docs tell of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ncpl_data.explore.command import BOARD, read_board

PAGE = Path(__file__).parents[2] / "docs" / "community.md"
CELL = re.compile(r"(\d\.\d{4}) \((\d\.\d{4})\)")


def test_the_board_that_ships_has_the_numbers_of_the_docs() -> None:
    """After a new measurement: cp board/transfer.json explore/transfer.json."""
    board, text = read_board(BOARD), PAGE.read_text("utf-8")
    assert f"snapshot `{board['snapshot_id'][:12]}`" in text
    found = {(row["method"], row["k"]): (row["mae"], row["median_mae"]) for row in board["rows"]}
    told = 0
    for method in {method for method, _ in found}:
        line = next(line for line in text.splitlines() if line.startswith(f"| {method} |"))
        for k, cell in zip((0, 3, 5, 8, 16), line.split("|")[2:], strict=False):
            numbers = CELL.search(cell)
            if numbers is None:
                assert (method, k) not in found
                continue
            told += 1
            assert [float(n) for n in numbers.groups()] == pytest.approx(
                list(found[method, k]), abs=6e-5
            )
    assert told == len(found)
