"""Options of `ncpl-data` about its catalog."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

DEFAULT_CATALOG = "ncpl-catalog"

Command = TypeVar("Command", bound=Callable[..., Any])


def catalog_option(command: Command) -> Command:
    """Add --catalog; the command gets the folder as `catalog_folder`."""
    option = click.option(
        "--catalog",
        "catalog_folder",
        type=click.Path(path_type=Path, file_okay=False),
        callback=lambda _ctx, _param, value: checked_place(resolve_catalog(value)),
        help="Catalog folder. Default: NCPL_CATALOG, else ./ncpl-catalog, else the user's.",
    )
    return option(command)


def checked_place(catalog: Path) -> Path:
    """Return the place of a catalog; end with a usage error for one that can hold none."""
    text = str(catalog)
    if re.match(r"[a-z][a-z0-9+.-]+:/", text) and not text.startswith("s3:/"):
        raise click.BadParameter(f'"{text}" is neither a folder nor s3://bucket/prefix')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("the folder's name is not UTF-8; rename it") from error
    return catalog


def at_option(command: Command) -> Command:
    """Add --at; the command gets the number of a manifest, or None for the newest state."""
    option = click.option(
        "--at",
        type=click.IntRange(min=1),
        metavar="MANIFEST",
        help="Read the catalog as it was after this commit.",
    )
    return option(command)


def resolve_catalog(given: Path | None) -> Path:
    """Return the catalog folder: the given one, NCPL_CATALOG, ./ncpl-catalog, or the user's."""
    if given is not None:
        return given
    from_environment = os.environ.get("NCPL_CATALOG")
    if from_environment:
        return Path(from_environment)
    here = Path.cwd() / DEFAULT_CATALOG
    if here.is_dir():
        return here
    import platformdirs

    return platformdirs.user_data_path("ncpl-data") / "catalog"
