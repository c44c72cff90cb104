"""Fixtures for all tests. Nothing here patches the program: tests use its own seams."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def fixtures() -> Path:
    """The folder of real excerpts."""
    return FIXTURES


@pytest.fixture(scope="session")
def shipped_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with the shipped StepLaw runs, made once; tests copy it."""
    root = tmp_path_factory.mktemp("shipped") / "catalog"
    ingest(SOURCES["steplaw"], Catalog(root), offline=True)
    return root


@pytest.fixture
def filled(shipped_catalog: Path, tmp_path: Path) -> Catalog:
    """A catalog of one's own with the shipped StepLaw runs."""
    return Catalog(Path(shutil.copytree(shipped_catalog, tmp_path / "filled")))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty catalog."""
    return Catalog(tmp_path / "catalog")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's catalog and cache."""
    monkeypatch.setenv("NCPL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NCPL_CATALOG", str(tmp_path / "default-catalog"))


@pytest.fixture
def run_command() -> Callable[..., Result]:
    """Run a click command and return its result; exceptions that are no exits are raised."""

    def run(command: click.Command, *args: object) -> Result:
        return CliRunner().invoke(command, [str(a) for a in args], catch_exceptions=False)

    return run


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Return every file below a folder, to show that nothing changed."""
    return tree
