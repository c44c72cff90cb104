"""Shared: the fixture snapshot (2,581 real StepLaw runs)."""

from pathlib import Path

import pytest

from ncpl.data.snapshot import Runs, Snapshot

FIXTURE = Path(__file__).parents[1] / "fixtures" / "snapshot_steplaw"


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    return Snapshot.open(FIXTURE)


@pytest.fixture(scope="session")
def runs(snapshot: Snapshot) -> Runs:
    return snapshot.runs()
