"""Shared: a board of quick methods on the 2,581 real StepLaw runs."""

from pathlib import Path

import pytest

from ncpl.bench.board import Board, run_board
from ncpl.bench.methods import METHODS
from ncpl.data.snapshot import Snapshot

FIXTURE = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"
QUICK = (
    "Chinchilla, reference constants",
    "Chinchilla, refit",
    "Step Law, published",
    "Step Law, refit",
)


@pytest.fixture(scope="session")
def fixture_snapshot() -> Snapshot:
    return Snapshot.open(FIXTURE)


@pytest.fixture(scope="session")
def quick_board(fixture_snapshot: Snapshot) -> Board:
    return run_board(fixture_snapshot, [m for m in METHODS if m.name in QUICK])
