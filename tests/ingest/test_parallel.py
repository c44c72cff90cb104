"""Sources that are read side by side end in the same catalog as one after the other."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

Runner = Callable[..., Result]
NAMES = ("multipower", "overtraining", "lr_scheduling")


def id_of_an_ingest(run_command: Runner, folder: Path, *options: object) -> str:
    """Ingest three sources, check the catalog and return the id of its snapshot."""
    args = ("ingest", *NAMES, "--offline", *options, "--json", "--catalog", folder)
    result = run_command(main, *args)
    assert result.exit_code == 0, result.stderr
    assert [s["source"] for s in json.loads(result.stdout)["sources"]] == list(NAMES)
    assert check_catalog(Catalog(folder)) == []
    return take_snapshot(Catalog(folder), policy="group-hash").id


@pytest.mark.slow
def test_jobs_give_the_same_catalog(run_command: Runner, tmp_path: Path) -> None:
    ids = {id_of_an_ingest(run_command, tmp_path / str(n), "--jobs", n) for n in (1, 3)}
    assert len(ids) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # ray's own
def test_ray_gives_the_same_catalog(run_command: Runner, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    alone = id_of_an_ingest(run_command, tmp_path / "alone")
    on_ray = id_of_an_ingest(run_command, tmp_path / "ray", "--jobs", 2, "--engine", "ray")
    assert on_ray == alone


def test_ray_is_asked_for_by_name_where_it_is_not_installed(
    run_command: Runner, tmp_path: Path
) -> None:
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("ray is installed")
    args = ("ingest", "multipower", "--offline", "--engine", "ray", "--catalog", tmp_path)
    result = run_command(main, *args)
    assert (result.exit_code, "pip install 'ncpl-data[ray]'" in result.stderr) == (1, True)


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


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="processes get signals as a group")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_ingest_is_one_sentence_and_leaves_a_whole_catalog(
    tmp_path: Path, stop: signal.Signals
) -> None:
    """Ctrl-C goes to all processes; a kill takes one of those that read."""
    # What a shell starts in the background, and all below it, ignores Ctrl-C unless told not to.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from ncpl_data.ingest.cli import main; main(prog_name='ncpl-data')"
    args = ("ingest", "losscast", "scalebench", "--offline", "--jobs", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args, "--catalog", str(tmp_path / "c")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children: list[int] = []
    until = time.monotonic() + 60
    while len(children) < 2 and time.monotonic() < until:
        time.sleep(0.05)
        found = subprocess.run(
            ["pgrep", "-P", str(process.pid), "-f", "spawn_main"],
            check=False,
            capture_output=True,
            text=True,
        )
        children = [int(line) for line in found.stdout.split()]
    time.sleep(1.0)
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)
    else:
        os.kill(children[0], stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if stop == signal.SIGINT else 1), err
    wanted = "error: interrupted" if stop == signal.SIGINT else "was killed (BrokenProcessPool"
    assert wanted in err
    assert "Traceback" not in err
    assert check_catalog(Catalog(tmp_path / "c")) == []
