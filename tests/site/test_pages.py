"""Every page with a shell session: each command runs and prints what the page shows.

UPDATE_GOLDEN=1 writes the outputs anew, for a new bundle.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from shown_session import files_of, numbers_of, ran, session_of, tidy, with_outputs, words_of

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "questions").glob("*.md"))
HERE = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_question_is_answered_by_commands(page: Path) -> None:
    assert session_of(page.read_text("utf-8")), f"{page.name} shows no command"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    for name, content in files_of(text).items():
        (tmp_path / name).write_text(content, "utf-8")
    session = session_of(text)
    found = ran(session, tmp_path, HERE)
    for typed, (code, output) in zip(session, found, strict=True):
        assert code == 0, (typed.line, output)
    if os.environ.get("UPDATE_GOLDEN"):
        page.write_text(with_outputs(text, [output for _, output in found]), "utf-8")
        return
    for typed, (_, output) in zip(session, found, strict=True):
        now = tidy(output)
        assert words_of(now) == words_of(typed.shown), typed.line
        # Processors differ in the last digit, and a search in a step.
        assert numbers_of(now) == pytest.approx(numbers_of(typed.shown), rel=0.3), typed.line
