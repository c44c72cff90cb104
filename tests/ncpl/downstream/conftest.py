"""Shared: a snapshot of the shipped sources that have task results, and tables of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.data.snapshot import Snapshot
from ncpl.downstream.table import TaskTable, from_snapshot
from ncpl_data.ingest.cli import main


@pytest.fixture(scope="session")
def tasks_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks") / "catalog"
    for call in (
        ["ingest", "marin", "olmo_ladder", "observational", "--offline"],
        ["snapshot", "--split", "group-hash"],
    ):
        result = CliRunner().invoke(main, [*call, "--catalog", str(folder)])
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def tasks_snapshot(tasks_catalog: Path) -> Snapshot:
    return Snapshot.open(next((tasks_catalog / "snapshots").iterdir()))


@pytest.fixture(scope="session")
def marin(tasks_snapshot: Snapshot) -> TaskTable:
    return from_snapshot(tasks_snapshot, "marin")


@pytest.fixture(scope="session")
def ladder(tasks_snapshot: Snapshot) -> TaskTable:
    return from_snapshot(tasks_snapshot, "olmo_ladder")
