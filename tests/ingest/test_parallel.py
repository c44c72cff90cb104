"""Sources that are read side by side end in the same catalog as one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.snapshot import take_snapshot
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

Runner = Callable[..., Result]
NAMES = ("multipower", "overtraining", "lr_scheduling")


@pytest.mark.slow
def test_jobs_give_the_same_catalog(run_command: Runner, tmp_path: Path) -> None:
    ids = set()
    for jobs in (1, 3):
        folder = tmp_path / str(jobs)
        args = ("ingest", *NAMES, "--offline", "--jobs", jobs, "--json", "--catalog", folder)
        result = run_command(main, *args)
        assert result.exit_code == 0, result.stderr
        assert [s["source"] for s in json.loads(result.stdout)["sources"]] == list(NAMES)
        assert check_catalog(Catalog(folder)) == []
        ids.add(take_snapshot(Catalog(folder), policy="group-hash").id)
    assert len(ids) == 1


@pytest.mark.slow
def test_a_source_that_fails_is_told_and_the_others_are_kept(
    run_command: Runner, tmp_path: Path
) -> None:
    args = ("ingest", "multipower", "overtraining", "--refresh", "--jobs", 2)
    result = run_command(main, *args, "--offline", "--catalog", tmp_path / "c")
    assert result.exit_code == 2
    good = run_command(
        main, "ingest", "multipower", "ncpl_logs", "--offline", "--jobs", 2, "--catalog", tmp_path
    )
    assert good.exit_code in {1, 3}, good.stderr
    assert "Traceback" not in good.stderr
    assert Catalog(tmp_path).read("runs").num_rows == 27
