"""Pictures in terminals and browsers: shown where they can be, never into a pipe."""

from __future__ import annotations

import base64
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ncpl_data.terminal.pictures import has_browser, open_in_browser, pieces, protocol_of

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
        ({"TERM": "tmux-256color", "LC_TERMINAL": "iTerm2", "TMUX": "/tmp/t"}, None),
        ({"TERM": "screen", "TERM_PROGRAM": "iTerm.app"}, None),
    ],
)
def test_a_terminal_is_known_by_what_it_says(
    environment: dict[str, str], protocol: str | None
) -> None:
    assert protocol_of(environment) == protocol


def test_the_pieces_hold_the_picture_whole() -> None:
    png = bytes(range(256)) * 40
    kitty = list(pieces(png, "kitty"))
    assert kitty[0].startswith("\x1b_Ga=T,f=100,q=2,m=1;")
    assert [p[3:].partition(";")[0][-1] for p in kitty] == ["1"] * (len(kitty) - 1) + ["0"]
    assert all(len(p) < 4096 + 40 for p in kitty)
    text = "".join(p.partition(";")[2].removesuffix("\x1b\\") for p in kitty)
    assert base64.b64decode(text) == png
    (iterm,) = pieces(png, "iterm2")
    assert base64.b64decode(iterm.rpartition(":")[2].rstrip("\a")) == png


CODE = (
    "import sys; from pathlib import Path; from ncpl_data.terminal.pictures import show_picture;"
    "sys.exit(not show_picture(Path(sys.argv[1])))"
)


def shown(path: Path, **more: str) -> tuple[bytes, int]:
    """Return what a process prints on a terminal of its own, and its exit code."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, str(path)],
        stdout=theirs,
        env=dict(os.environ) | {"TERM": "xterm-kitty", "TMUX": ""} | more,
    )
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the terminal's other end is closed
            break
        if not part:
            break
        found += part
    os.close(ours)
    return found, child.wait()


def test_a_terminal_that_can_gets_the_picture_and_a_pipe_never(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    told, code = shown(path)
    assert (told.startswith(b"\x1b_Ga=T"), code) == (True, 0)
    assert shown(path, TERM="xterm-256color") == (b"", 1)
    assert shown(path, NCPL_PICTURES="0") == (b"", 1)
    assert shown(path.rename(tmp_path / "x.svg")) == (b"", 1)
    piped = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "x.svg")],
        check=False,
        capture_output=True,
        env=dict(os.environ) | {"TERM": "xterm-kitty"},
    )
    assert (piped.stdout, piped.returncode) == (b"", 1)


@pytest.mark.parametrize(
    ("environment", "platform", "found"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "firefox"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_a_browser_is_expected_where_there_are_windows(
    environment: dict[str, str], platform: str, found: bool
) -> None:
    assert has_browser(environment, platform) is found


def test_a_file_is_opened_by_the_users_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, told = tmp_path / "browser", tmp_path / "told"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{program} %s")
    code = "import sys; from pathlib import Path; from ncpl_data.terminal.pictures import "
    code += "open_in_browser; sys.exit(not open_in_browser(Path(sys.argv[1])))"
    page = tmp_path / "a b.html"
    subprocess.run([sys.executable, "-c", code, str(page)], check=True)
    assert told.read_text() == page.as_uri()
    monkeypatch.delenv("BROWSER")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform == "linux":
        assert open_in_browser(page) is False
