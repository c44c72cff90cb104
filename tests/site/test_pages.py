"""Every page with a shell session: each command runs and prints what the page shows.

`make pages` runs them and tells where they print something else; UPDATE_GOLDEN=1 writes what they
print into the pages, for a new bundle.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from shown_session import differences, files_of, ran, session_of, with_outputs

ROOT = Path(__file__).parents[2]
START = ROOT / "docs" / "start.md"
PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if "```console" in page.read_text("utf-8")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_its_commands_print(page: Path) -> None:
    session = session_of(page.read_text("utf-8"))
    assert any(typed.shown for typed in session), f"{page.name} shows no output"


def test_each_question_is_answered_by_commands() -> None:
    questions = set((ROOT / "docs" / "questions").glob("*.md"))
    assert {START, *questions} - set(PAGES) == set()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    for name, content in files_of(text).items():
        (tmp_path / name).write_text(content, "utf-8")
    session = session_of(text)
    if page == START:  # begins without an environment, beside a checkout
        checkout(tmp_path / "ncpl-data")
        programs = Path(sys.base_prefix) / "bin"
    else:
        programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    found = ran(session, tmp_path, {"PATH": path})
    failed = [(typed.line, *one) for typed, one in zip(session, found, strict=True) if one[0]]
    assert failed == []
    if os.environ.get("UPDATE_GOLDEN"):
        page.write_text(with_outputs(text, [output for _, output in found]), "utf-8")
        return
    differs = []
    for typed, (_, output) in zip(session, found, strict=True):
        if lines := differences(typed.shown, output):
            differs += ["", f"$ {typed.line}", *lines]
    assert not differs, f"{page.name} shows something else:" + "\n".join(differs)


def checkout(folder: Path) -> None:
    """Copy what git tracks into a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)


@pytest.mark.parametrize(
    ("shown", "now", "lines"),
    [
        ("a  2.2709  12\n", "a 2.2710   13", []),
        ("loss 2.2709", "loss 2.2909", ["-loss 2.2709", "+loss 2.2909"]),
        ("costs 0.0007 (-0.0014 to 0.0028)", "costs 0.0009 (-0.0012 to 0.0030)", []),
        ("rate 0.00181", "rate 0.0031", ["-rate 0.00181", "+rate 0.0031"]),
        ("split  runs\n-----  ----\nid  370", "split runs\n----- -----\nid  370", []),
        ("kept\nold", "kept\nnew", ["-old", "+new"]),
        ("kept", "kept\nnote: more", ["+note: more"]),
        ("kept\nnote: gone", "kept", ["-note: gone"]),
        ("version 0.2.0", "version 0.2.1", ["-version 0.2.0", "+version 0.2.1"]),
    ],
)
def test_what_differs_from_a_page_is_told_line_by_line(
    shown: str, now: str, lines: list[str]
) -> None:
    told = differences(shown, now)
    assert [line for line in told if not line.startswith(("---", "+++", "@@"))] == lines
