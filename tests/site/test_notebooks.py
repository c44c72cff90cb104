"""The notebooks of docs/ run as they stand, and give what they show.

`make pages` runs them too; UPDATE_GOLDEN=1 writes what they give into them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from shown_session import differences

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def code_of(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cells that run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(cell: dict[str, Any], name: str) -> str:
    """Return what a cell wrote to stdout or stderr."""
    return "".join("".join(o["text"]) for o in cell["outputs"] if o.get("name") == name)


def merged(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs with each run of pieces of one stream as one."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        if found and "name" in output and found[-1].get("name") == output["name"]:
            found[-1]["text"] = [*found[-1]["text"], *output["text"]]
        else:
            found.append(output)
    for output in found:
        if "name" in output:
            output["text"] = "".join(output["text"]).splitlines(keepends=True)
    return found


def pictures(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs of a cell that are pictures."""
    return [output for output in cell["outputs"] if "image/png" in output.get("data", {})]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_as_it_ran(file: Path) -> None:
    notebook = json.loads(file.read_text("utf-8"))
    assert file.stat().st_size < 150_000
    assert notebook["metadata"]["title"]
    cells = code_of(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
    for picture in (one for cell in cells for one in pictures(cell)):
        assert len(picture["metadata"]["image/png"]["alt"].split()) >= 3


def test_there_are_three_notebooks() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["contribute", "fit-laws-honestly", "plan-a-run"]


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_gives_what_it_shows(file: Path, tmp_path: Path) -> None:
    """It runs in an empty folder, by a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NCPL_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    copied = tmp_path / file.name
    copied.write_bytes(file.read_bytes())
    words = "--to notebook --inplace --execute"
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", *words.split(),
         "--ExecutePreprocessor.record_timing=False", str(copied)],
        check=False, capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    was, now = (json.loads(one.read_text("utf-8")) for one in (file, copied))
    if os.environ.get("UPDATE_GOLDEN"):
        now["metadata"] = was["metadata"]
        for cell in code_of(now):
            cell["outputs"] = merged(cell["outputs"])
        file.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return
    differs: list[str] = []
    for cell, ran in zip(code_of(was), code_of(now), strict=True):
        lines = [
            line
            for name in ("stdout", "stderr")
            for line in differences(printed(cell, name), printed(ran, name))
        ]
        if lines:
            differs += ["", "".join(cell["source"]), *lines]
        assert len(pictures(cell)) == len(pictures(ran)), "".join(cell["source"])
    assert not differs, f"{file.name} gives something else:" + "\n".join(differs)
