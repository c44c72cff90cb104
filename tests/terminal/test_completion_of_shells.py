"""What a shell offers: asked as bash, zsh and fish ask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

import ncpl.cli
import ncpl_data.ingest.cli

PROGRAMS: dict[str, click.Command] = {
    "ncpl": ncpl.cli.main,
    "ncpl-train": ncpl.cli.train_main,
    "ncpl-data": ncpl_data.ingest.cli.main,
}
SNAPSHOT = Path(__file__).parents[1] / "fixtures" / "snapshot_steplaw"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of the smallest shipped source, with a snapshot folder named `small`."""
    root = tmp_path_factory.mktemp("completion") / "catalog"
    words = ["ingest", "quest", "--offline", "--catalog", str(root)]
    assert CliRunner().invoke(PROGRAMS["ncpl-data"], words).exit_code == 0
    shutil.copytree(SNAPSHOT, root / "snapshots" / "small")
    return root


def offered(line: str) -> list[str]:
    """Return what is offered after a line, whose last word may be begun."""
    program, *words, typed = line.split(" ")
    bash: Any = get_completion_class("bash")
    complete = bash(PROGRAMS[program], {}, program, "_COMPLETE")
    return [item.value for item in complete.get_completions(words, typed)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ncpl-data inge", ["ingest"]),
        ("ncpl-data ingest stepl", ["steplaw"]),
        ("ncpl-data sources mar", ["marin", "marin_isoflops", "marin_speedruns"]),
        ("ncpl-data snapshot verify ", ["latest", "small"]),
        ("ncpl-data snapshot diff small l", ["latest"]),
        ("ncpl predict --snapshot s", ["small"]),
        ("ncpl-train --snapshot ", ["latest", "small"]),
        ("ncpl plan recommend --source ste", ["steplaw"]),
        ("ncpl predict c.json --source steplaw", ["steplaw", "steplaw/train/loss_smoothed"]),
        ("ncpl plot contours --source m", ["marin"]),
    ],
)
def test_names_are_completed(
    line: str, expected: list[str], catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCPL_CATALOG", str(catalog))
    assert offered(line) == expected


def test_runs_are_completed_from_the_catalog_that_the_line_names(catalog: Path) -> None:
    found = offered(f"ncpl-data show --catalog {catalog} quest/")
    assert len(found) > 3
    assert all(name.startswith("quest/") for name in found)
    assert offered(f"ncpl-data show --catalog {catalog} {found[0]}") == [found[0]]


def test_what_can_not_be_read_completes_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifests").write_text("no folder")
    assert offered(f"ncpl-data show --catalog {tmp_path} quest/") == []
    assert offered(f"ncpl plan recommend --bundle {tmp_path} --source ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_writes_the_script_of_each_shell(program: str, shell: str) -> None:
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    kind: Any = get_completion_class(shell)
    script = kind(PROGRAMS[program], {}, program, variable).source()
    assert variable in script
    assert program in script
