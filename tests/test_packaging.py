from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import ncpl.cli
import ncpl_data.ingest.cli
from ncpl.version import __version__
from ncpl_data.terminal.extras import EXTRAS, lacking

ROOT = Path(__file__).parents[1]
PARTS = ("terminal", "schema", "catalog", "ingest", "explore", "ncpl")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

BLOCK = """
import importlib, pkgutil, sys
import torch, transformers, safetensors, pyarrow, numpy
from transformers import AutoModel, LlamaConfig, Qwen3Config
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"duckdb", "polars", "jsonschema", "scipy", "sklearn",
                                      "lightgbm", "matplotlib", "platformdirs"} or name.startswith(
                "ncpl_data.") and not name.startswith("ncpl_data.terminal"):
            raise ModuleNotFoundError(f"{name} is not on this machine", name=name)
sys.meta_path.insert(0, Block())
import ncpl
for module in pkgutil.walk_packages(ncpl.__path__, "ncpl."):
    if "cli" not in module.name.split("."):
        importlib.import_module(module.name)
"""


def test_ncpl_imports_on_a_machine_with_only_its_light_dependencies() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_folder_with_code_is_a_package_and_so_in_the_wheel() -> None:
    for part in PARTS:
        for file in (ROOT / part).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), f"{file.parent} has no __init__.py"


def test_the_namespace_has_no_folder_of_its_own() -> None:
    assert not (ROOT / "ncpl_data").exists()


def test_every_shipped_data_folder_is_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    for folder in (ROOT / "ingest" / "data").iterdir():
        assert f"ingest/data/{folder.name}/" in notice, folder.name


def test_no_file_names_a_path_of_a_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:  # an unpacked source archive
        names = [str(p.relative_to(ROOT)) for part in PARTS for p in (ROOT / part).rglob("*.py")]
    else:
        names = listed.stdout.splitlines()
    pattern = re.compile(rb"/(?:work|root|farm)/|\.\./shared|py" + rb"pi\.org|pythonhosted")
    for name in names:
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or path.suffix in {".parquet", ".gz"}:
            continue
        found = pattern.search(path.read_bytes())
        assert found is None, f"{name}: {found and found.group()!r}"


WITHOUT_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from ncpl.entry import main, train_main
(train_main if "--preset" in sys.argv else main)()
"""


@pytest.mark.parametrize("given", [("bench", "run"), ("--preset", "tiny")])
def test_what_needs_torch_says_in_one_sentence_how_to_get_it(
    given: tuple[str, str], tmp_path: Path
) -> None:
    fixture = str(ROOT / "tests" / "fixtures" / "snapshot_steplaw")
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_TORCH)
    done = subprocess.run(
        [sys.executable, str(program), *given, "--snapshot", fixture],
        check=False,
        capture_output=True,
        text=True,
    )
    told = "error: torch is not installed, and training and fitting need it: "
    assert (done.returncode, done.stderr) == (1, f"{told}pip install 'ncpl-data[train]'\n")


def test_only_packages_of_an_extra_are_told_as_lacking() -> None:
    assert lacking(ModuleNotFoundError("no", name="ncpl.nothing")) is None
    assert lacking(ModuleNotFoundError("no", name="torch.nn")) is not None


def test_every_extra_that_a_sentence_names_exists() -> None:
    named = set(EXTRAS.values())
    for part in PARTS:
        for file in (ROOT / part).rglob("*.py"):
            text = file.read_text("utf-8")
            assert "'ncpl[" not in text, f"{file} names the distribution as it was"
            named |= set(re.findall(r"ncpl-data\[([a-z0-9]+)\]", text))
    assert named - set(PROJECT["optional-dependencies"]) == set()


def test_predicting_and_querying_need_neither_torch_nor_transformers() -> None:
    needed = {re.split(r"[<>=\[]", line)[0] for line in PROJECT["dependencies"]}
    assert needed & {"torch", "transformers", "huggingface_hub", "matplotlib"} == set()
    assert set(PROJECT["optional-dependencies"]["train"]) == {"torch>=2.6", "transformers>=4.57"}


def test_the_version_stands_in_three_places_and_is_one() -> None:
    cited = re.search(r"(?m)^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert PROJECT["version"] == __version__ == (cited and cited[1])
    assert re.search(rf"(?m)^## {re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)$", changes)


def test_the_distribution_is_named_as_its_first_command() -> None:
    assert metadata("ncpl-data")["Name"] == PROJECT["name"] == "ncpl-data"


def commands(program: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(program, click.Group):
        context = click.Context(program)
        for name in program.list_commands(context):
            command = program.get_command(context, name)
            assert command is not None
            yield from commands(command, (*words, name))


PROGRAMS: dict[str, Any] = {
    "ncpl": ncpl.cli.main,
    "ncpl-train": ncpl.cli.train_main,
    "ncpl-data": ncpl_data.ingest.cli.main,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_answers_to_h(name: str) -> None:
    for words in commands(PROGRAMS[name], ()):
        result = CliRunner().invoke(PROGRAMS[name], [*words, "-h"])
        assert (result.exit_code, result.output[:6]) == (0, "Usage:"), words


def test_python_m_ncpl_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ncpl", "--version"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"python -m ncpl, version {__version__}\n")


def indexed(text: str, repository: str | None) -> str:
    """Return a README as setup.py shows it on a package index."""
    spec = importlib.util.spec_from_file_location("setup_of_this_project", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.readme_on_index(text, repository, "1.0"))


@pytest.mark.parametrize(
    ("repository", "found"),
    [
        (None, "see docs/use.md, [paper](https://x.org/1)"),
        (
            "https://x.org/me/it/",
            "![a plot](https://x.org/me/it/raw/v1.0/docs/p.png)\n\n"
            "see [docs/use.md](https://x.org/me/it/blob/v1.0/docs/use.md#here), "
            "[paper](https://x.org/1)",
        ),
    ],
)
def test_links_lead_somewhere_on_an_index_or_are_words(repository: str | None, found: str) -> None:
    text = "![a plot](docs/p.png)\n\nsee [docs/use.md](docs/use.md#here), [paper](https://x.org/1)"
    assert indexed(text, repository).strip() == found


@pytest.mark.parametrize("repository", [None, "https://x.org/me/it"])
def test_the_readme_on_an_index_has_no_link_to_a_file(repository: str | None) -> None:
    told = indexed((ROOT / "README.md").read_text("utf-8"), repository)
    assert re.findall(r"\]\((?!https?://)[^)]*\)", told) == []
