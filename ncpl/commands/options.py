"""Options that several commands of `ncpl` share, and how each of them runs."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ncpl.commands import complete
from ncpl_data.terminal.console import Console, output_options


def common(function: Callable[..., None]) -> Callable[..., None]:
    """Add --json, -q, -v and --no-progress, and turn known errors into one sentence.

    The command gets `as_json` and `no_progress`.
    """

    @functools.wraps(function)
    def command(*args: Any, console: Console, **options: Any) -> None:
        # The matrices are small: threads cost more than they give, tenfold on a busy machine.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        level = {-1: logging.ERROR, 0: logging.INFO}.get(console.verbosity, logging.DEBUG)
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
        logging.getLogger("ncpl").setLevel(level)
        function(*args, as_json=console.as_json, no_progress=not console.shows_progress, **options)

    return output_options(command)


bundle_option = click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Bundle folder; the one shipped with the package if not given.",
)
snapshot_option = click.option(
    "--snapshot",
    default="latest",
    show_default=True,
    help="Id, name, path, or latest.",
    shell_complete=complete.snapshots,
)
catalog_option = click.option(
    "--catalog", type=click.Path(path_type=Path, file_okay=False), help="Catalog folder."
)
