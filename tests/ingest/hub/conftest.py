"""A hub, a snapshot, and the command as a process that knows the hub's address."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))

from hub_server import KEY, Hub, serving

from ncpl_data.catalog.record import Curve, Run
from ncpl_data.catalog.snapshot import take_snapshot
from ncpl_data.catalog.store import Catalog

CODE = "from ncpl_data.ingest.cli import main; main(prog_name='ncpl-data')"


def licensed_run(name: str, source: str = "made", licence: str | None = "CC0-1.0") -> Run:
    """Return a generated run of random losses, so that its file is of some size."""
    step = np.arange(1, 2001, dtype=np.int64)
    loss = np.random.default_rng(len(name) + ord(name[-1])).uniform(2, 3, len(step))
    return Run(
        run_id=f"{source}/{name}",
        source=source,
        licence=licence,
        learning_rate=1e-3,
        status="finished",
        final_loss=float(loss[-1]),
        final_loss_metric="train/loss",
        final_loss_unit="nats_per_token",
        curves=(Curve("train/loss", step, loss),),
    )


def freeze(root: Path, *runs: Run) -> Path:
    """Add runs to a catalog, freeze it and return the snapshot's folder."""
    catalog = Catalog(root)
    for source in sorted({run.source for run in runs}):
        own = [run for run in runs if run.source == source]
        catalog.upsert(own, source=source, operation="test", origin="made")
    return take_snapshot(catalog, policy="group-hash").path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process and its children talk to, in plain uploads without Xet."""
    with serving() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setenv("HF_TOKEN", KEY)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # the children read it when they start
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield state


@pytest.fixture(scope="session")
def made_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of two sources with a licence, and its snapshot; made once, tests copy it."""
    root = tmp_path_factory.mktemp("made") / "catalog"
    freeze(root, licensed_run("a"), licensed_run("b"), licensed_run("c", "other"))
    return root


@pytest.fixture
def snapshot(made_catalog: Path, catalog: Catalog) -> Path:
    """The snapshot of the test's catalog."""
    shutil.copytree(made_catalog, catalog.root)
    (path,) = (catalog.root / "snapshots").iterdir()
    return path


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start ncpl-data as a process."""

    def run(*args: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning", "-c", CODE, *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    return run
