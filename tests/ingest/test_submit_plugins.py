"""Sources of other packages are found; broken ones are named and skipped."""

import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.ingest.cli import main
from ncpl_data.ingest.plugins import GROUP, find_plugins
from ncpl_data.ingest.sources import SOURCES

PLUGIN = '''
"""Acme sweeps: one made-up run."""

from ncpl_data.catalog.record import Run
from ncpl_data.ingest.base import Origin, RawFile, Source


def read(files):
    """Yield one run a line."""
    for line in files["runs.txt"].read_text().splitlines():
        name, rate = line.split()
        yield Run(run_id=f"acme_sweeps/{name}", source="acme_sweeps", learning_rate=float(rate))


FILE = RawFile("runs.txt", sha256="0" * 64, n_bytes=1)
SOURCE = Source(
    name="acme_sweeps",
    title="one made-up run",
    owner="Acme",
    licence="CC0-1.0",
    citation="none",
    url="https://example.org",
    origins=(
        Origin("acme", "runs", "CC0-1.0", "none", "https://example.org", "1", (FILE,), 1, read),
    ),
)
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on the import path that holds an installed plug-in package."""
    folder = tmp_path / "site"
    info = folder / "acme_ncpl-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / "acme_ncpl.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ncpl\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\nacme_sweeps = acme_ncpl:SOURCE\nbroken = acme_missing:SOURCE\n"
        "steplaw = acme_ncpl:SOURCE\nno_source = acme_ncpl:read\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("acme_ncpl", None)


def test_a_source_of_another_package_is_found(site: Path) -> None:
    plugins = {p.name: p for p in find_plugins(SOURCES)}
    assert plugins["acme_sweeps"].source is not None
    assert plugins["acme_sweeps"].distribution == "acme-ncpl 1.2"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "acme_missing"),
        ("steplaw", 'calls itself "acme_sweeps"'),
        ("no_source", "expected a Source"),
    ],
)
def test_a_broken_one_is_named_and_skipped(name: str, words: str, site: Path) -> None:
    plugin = {p.name: p for p in find_plugins(SOURCES)}[name]
    assert plugin.source is None
    assert words in (plugin.problem or "")


def test_a_name_is_given_once(site: Path) -> None:
    own = [e for e in entry_points(group=GROUP) if e.name == "acme_sweeps"]
    (plugin,) = find_plugins(["acme_sweeps"], own)
    assert plugin.problem == 'the name "acme_sweeps" is taken by ncpl-data'


def test_a_plug_in_that_leaves_the_program_is_skipped(site: Path) -> None:
    (site / "acme_exit.py").write_text("raise SystemExit(3)\n")
    (plugin,) = find_plugins((), [EntryPoint("stops", "acme_exit:SOURCE", GROUP)])
    assert "SystemExit" in (plugin.problem or "")


def test_a_plug_in_is_listed_and_ingested(site: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(main, ["sources"])
    assert listed.exit_code == 0
    assert "acme_sweeps" in listed.stdout
    assert "broken" in listed.stderr
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "runs.txt").write_text("a 0.001\nb 0.002\n")
    args = ["ingest", "acme_sweeps", "--from", str(tmp_path / "raw"), "--accept-changed"]
    done = runner.invoke(main, [*args, "--catalog", str(tmp_path / "catalog")])
    assert done.exit_code == 0, done.output
    assert "2 added" in done.stdout
