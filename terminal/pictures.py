"""Pictures where one works: in the terminal, where it can show them, and in the browser."""

from __future__ import annotations

import base64
import os
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import click

Protocol = Literal["kitty", "iterm2"]
CHUNK = 4096
"""Characters at most in one piece of the kitty protocol."""
MOST_BYTES = 4_000_000
KITTY = {"kitty", "ghostty", "WezTerm"}
ITERM2 = {"iTerm.app", "mintty"}


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """Return how a terminal shows pictures, by what it says of itself; None where it says nothing.

    Inside tmux and screen None: they pass no pictures on.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        return None
    if term in ("xterm-kitty", "xterm-ghostty") or program in KITTY:
        return "kitty"
    if program in ITERM2 or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return None


def pieces(png: bytes, protocol: Protocol) -> Iterator[str]:
    """Yield the escape sequences that show a PNG.

    Formats: "Terminal graphics protocol" of kitty, actions a=T and q=2 (show, answer nothing), and
    "Inline images" of iTerm2.
    """
    text = base64.b64encode(png).decode("ascii")
    if protocol == "iterm2":
        yield f"\x1b]1337;File=inline=1;size={len(png)}:{text}\a"
        return
    for begin in range(0, len(text), CHUNK):
        more = int(begin + CHUNK < len(text))
        head = f"a=T,f=100,q=2,m={more}" if begin == 0 else f"m={more}"
        yield f"\x1b_G{head};{text[begin : begin + CHUNK]}\x1b\\"


def show_picture(path: Path) -> bool:
    """Show a PNG in the terminal and return whether that was done.

    Only where stdout is a terminal that says it can (NCPL_PICTURES=0 forbids it); never into a pipe
    or a file.
    """
    protocol = protocol_of(os.environ)
    if (
        protocol is None
        or not sys.stdout.isatty()
        or os.environ.get("NCPL_PICTURES") == "0"
        or path.suffix.lower() != ".png"
        or path.stat().st_size > MOST_BYTES
    ):
        return False
    for piece in pieces(path.read_bytes(), protocol):
        click.echo(piece, nl=False)
    click.echo()
    return True


def has_browser(environment: Mapping[str, str], platform: str) -> bool:
    """Return whether a browser with a window can be expected.

    Without a display Python would start a browser of text in the middle of a command.
    """
    if platform in ("darwin", "win32") or environment.get("BROWSER"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def open_in_browser(place: Path | str) -> bool:
    """Open a file, or an address, in the user's browser and return whether that was done."""
    if not has_browser(os.environ, sys.platform):
        return False
    address = place if isinstance(place, str) else place.absolute().as_uri()
    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False


def tell_opened(place: Path | str) -> None:
    """Open a file or address for `--open`; where there is no browser, say so on stderr."""
    if not open_in_browser(place):
        click.echo(f"no browser to open here; open {place} yourself", err=True)
