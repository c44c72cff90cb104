"""A release as somebody gets it: built, checked, installed in an empty environment, used there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEWER = ("python3.15", "python3.14", "python3.13", "python3.12")
MAX_PACKAGES = 40
MAX_BYTES = 700_000_000
NEVER = re.compile(r"torch|transformers|nvidia|triton|huggingface|matplotlib|pandas", re.IGNORECASE)
CONFIG = {
    "params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3,
    "batch_size_sequences": 256, "sequence_length": 2048,
}  # fmt: skip
NAMES = """
import ncpl, ncpl_data.catalog, ncpl_data.schema, ncpl_data.ingest, ncpl_data.explore, sys
assert [name for name in ncpl.__all__ if not hasattr(ncpl, name)] == []
assert "site-packages" in ncpl.__file__, ncpl.__file__
assert ncpl.load().predict([{"params_non_embedding": 3e8, "train_tokens": 1e10}])[0].loss > 1
assert len(ncpl_data.catalog.open(sys.argv[1]).runs("arrow")) == 2819
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def done(*words: object, folder: Path | None = None, given: str | None = None) -> str:
    """Return what a program prints; AssertionError with all of it if it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NCPL_", "PYTHON"))}
    environment |= {"PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "OMP_NUM_THREADS": "1"}
    if folder is not None:
        environment |= {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    found = subprocess.run(
        [str(word) for word in words],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        input=given,
        env=environment,
    )
    assert found.returncode == 0, found.stdout
    return found.stdout


def interpreter(name: str) -> Path | None:
    """Return a Python of this name that starts: on the path, or one of pyenv's."""
    found = [Path(path) for path in [shutil.which(name)] if path]
    if pyenv := shutil.which("pyenv"):
        found += sorted(Path(pyenv).resolve().parents[1].glob(f"versions/*/bin/{name}"))
    for path in found:  # pyenv's names for absent versions are there and do not start
        started = subprocess.run([path, "-c", "import venv"], check=False, capture_output=True)
        if started.returncode == 0:
            return path
    return None


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a source archive and of the wheel that is built from it."""
    for package in ("build", "twine"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("release")
    tree = folder / "tree"  # building leaves files beside the sources
    hidden = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "demo", "runs")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=hidden)
    told = done(sys.executable, "-m", "build", "--outdir", folder / "dist", tree)
    assert "absent from the `packages`" not in told
    shutil.rmtree(tree)
    return folder / "dist"


def files_in(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def test_a_release_is_one_wheel_and_one_source_archive_that_an_index_takes(built: Path) -> None:
    names = sorted(file.name for file in built.iterdir())
    assert names == ["ncpl_data-0.2.0-py3-none-any.whl", "ncpl_data-0.2.0.tar.gz"]
    told = done(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *built.iterdir())
    assert told.count("PASSED") == 2


def test_the_wheel_holds_what_the_package_reads_and_its_licences(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = files_in(wheel)
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"ncpl", "ncpl_data", "ncpl_data-0.2.0.dist-info"}
    listed = subprocess.run(
        ["git", "ls-files", "terminal", "schema", "catalog", "ingest", "explore", "ncpl"],
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    here = {f"ncpl_data/{name}".replace("ncpl_data/ncpl/", "ncpl/") for name in
            listed.stdout.splitlines() if (ROOT / name).is_file()}  # fmt: skip
    assert sorted(here - set(names)) == []
    assert [name for name in names if "/tests/" in name or name.endswith(".pyc")] == []
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE", "explore/pages/vendor/uplot/LICENSE"}
    assert wheel.stat().st_size < 60_000_000


@dataclass(frozen=True)
class Installed:
    """An environment that holds a wheel and what it needs, nothing else."""

    env: Path

    def program(self, name: str) -> Path:
        return self.env / "bin" / name

    def packages(self) -> Path:
        (found,) = self.env.glob("lib/python*/site-packages")
        return found

    def files(self) -> list[str]:
        """Our own files."""
        return sorted(
            str(path.relative_to(self.packages()))
            for name in ("ncpl", "ncpl_data")
            for path in (self.packages() / name).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        )


@pytest.fixture(scope="session", params=["python3.11", "the newest"])
def installed(
    request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """The wheel in an empty environment of a Python, removed afterwards: it has 650 MB."""
    names = NEWER if request.param == "the newest" else (request.param,)
    python = next((path for name in names if (path := interpreter(name))), None)
    if python is None:
        pytest.skip(f"none of {', '.join(names)} is on this machine, on the path or in pyenv")
    env = tmp_path_factory.mktemp("installed") / "env"
    done(python, "-m", "venv", env)
    (wheel,) = built.glob("*.whl")
    done(env / "bin" / "pip", "install", "--quiet", wheel)
    done(env / "bin" / "pip", "check")
    yield Installed(env)
    shutil.rmtree(env)


def test_a_base_install_is_light(installed: Installed) -> None:
    listed = json.loads(done(installed.program("pip"), "list", "--format", "json"))
    names = [one["name"] for one in listed if one["name"] not in {"pip", "setuptools", "wheel"}]
    assert len(names) <= MAX_PACKAGES, names
    assert [name for name in names if NEVER.match(name)] == []
    tools = ("pip", "setuptools", "wheel", "_distutils_hack")
    sizes = {
        folder.name: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        for folder in installed.packages().iterdir()
        if folder.is_dir() and not folder.name.startswith(tools)
    }
    print(f"{len(names)} packages, {sum(sizes.values()) / 1e6:.0f} MB")
    assert sum(sizes.values()) <= MAX_BYTES, sizes


def test_a_new_user_predicts_queries_and_explores(installed: Installed, tmp_path: Path) -> None:
    ncpl, data = installed.program("ncpl"), installed.program("ncpl-data")

    def run(*words: object, given: str | None = None) -> str:
        return done(*words, folder=tmp_path, given=given)

    for program in (ncpl, data, installed.program("ncpl-train")):
        assert run(program, "--version").endswith("version 0.2.0\n"), program
    assert run(installed.program("python"), "-m", "ncpl", "-h").startswith("Usage: python -m ncpl")
    told = json.loads(run(ncpl, "predict", "-", "--json", given=json.dumps(CONFIG)))
    here = json.loads(
        done(sys.executable, "-m", "ncpl", "predict", "-", "--json", given=json.dumps(CONFIG))
    )
    loss, known = (answer["predictions"][0]["loss"] for answer in (told, here))
    assert loss == pytest.approx(known, abs=1e-6)
    run(data, "ingest", "steplaw", "--offline", "--catalog", "catalog")
    sql = "select count(*) as runs from runs"
    assert "2,819" in run(data, "query", sql, "--catalog", "catalog")
    run(installed.program("python"), "-c", NAMES, "catalog")
    run(data, "explore", "--catalog", "catalog", "--out", "site")
    assert (tmp_path / "site" / "vendor" / "uplot" / "LICENSE").is_file()


def test_the_source_archive_installs_the_same_files(installed: Installed, built: Path) -> None:
    files = installed.files()
    (archive,) = built.glob("*.tar.gz")
    again = ("install", "--quiet", "--no-deps", "--force-reinstall", archive)
    done(installed.program("pip"), *again)
    assert installed.files() == files
    assert done(installed.program("ncpl"), "--version") == "ncpl, version 0.2.0\n"
