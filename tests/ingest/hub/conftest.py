"""A hub, a snapshot, and the command as a process that knows the hub's address."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from hub_server import KEY, Hub, serving
from licensed_runs import freeze, licensed_run

from ncpl_data.catalog.store import Catalog

CODE = "from ncpl_data.ingest.cli import main; main(prog_name='ncpl-data')"


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
