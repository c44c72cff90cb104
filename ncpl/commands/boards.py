"""What the commands of boards share: the folder of their files, progress, and the answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

log = logging.getLogger("ncpl.bench")


def board_folder(files: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option --out, for a board of these files."""
    return click.option(
        "--out", type=click.Path(path_type=Path, file_okay=False), help=f"Folder for {files}."
    )


def make_folder(folder: Path | None) -> None:
    """Make the folder of a board's files, if there is one: before minutes of fitting, not after.

    Raises ConfigError where it cannot be made.
    """
    from ncpl.errors import ConfigError

    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made ({error.strerror}); give --out a folder that can"
        ) from error


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write a board's files into its folder."""
    from ncpl.bench.tables import write_text

    for name, text in texts.items():
        write_text(folder / name, text)
    log.info("written: %s", folder)


def progress_of(*, no_progress: bool) -> Callable[[str], None]:
    """Return what tells of the steps of a board."""
    return lambda text: None if no_progress else log.info("%s", text)


def answer(
    name: str,
    plain: Any,
    page: str,
    folder: Path | None,
    *,
    as_json: bool,
    more: Mapping[str, str] | None = None,
) -> None:
    """Print a board's page, or its object; where a folder is given, write both there.

    As NAME.md and NAME.json, and `more` files beside them.
    """
    if folder is not None:
        own = {f"{name}.json": json.dumps(plain, indent=1) + "\n", f"{name}.md": page}
        write_files(folder, own | dict(more or {}))
    click.echo(json.dumps(plain) if as_json else page, nl=as_json)
