"""What every command of `ncpl` shares: options, exit codes, errors as one sentence.

Heavy packages are imported inside commands, so that --help answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from ncpl.entry import EXIT_INTERRUPTED, loaded

DATA_INVALID = 1


def common(function: Callable[..., None]) -> Callable[..., None]:
    """Add --json, -q, -v and --no-progress, and turn known errors into one sentence."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr.")
    @click.option("-v", "--verbose", is_flag=True, help="Details on stderr.")
    @click.option("--no-progress", is_flag=True, help="No progress bar.")
    @functools.wraps(function)
    def command(*args: Any, quiet: bool, verbose: bool, **options: Any) -> None:
        # The matrices are small: threads cost more than they give, tenfold on a busy machine.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
        logging.getLogger("ncpl").setLevel(level)
        options["no_progress"] = options["no_progress"] or quiet or not sys.stderr.isatty()
        from ncpl.errors import NcplError

        try:
            loaded()
            function(*args, **options)
        except NcplError as error:
            stop(str(error), options["as_json"])
        except BrokenPipeError:  # the reader of our output has gone; click leaves quietly
            raise
        except OSError as error:
            stop(f"{error.filename or 'the output'}: {error.strerror or error}", options["as_json"])
        except KeyboardInterrupt:
            stop("interrupted", options["as_json"], EXIT_INTERRUPTED)

    return command


def stop(message: str, as_json: bool, code: int = DATA_INVALID) -> NoReturn:
    """Print one sentence on stderr (and as JSON on stdout where asked) and leave with a code."""
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


class Told:
    """Part of a command's class: with --json, wrong usage is an object on stdout too."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **more: Any,
    ) -> click.Context:
        """Return the context of a call, as click does."""
        as_json = parent is None and "--json" in args
        with usage_told(as_json):
            context: click.Context = super().make_context(  # type: ignore[misc]
                info_name, args, parent, **more
            )
        if parent is None:  # one program may hold another: only the outer one tells
            context.meta[__name__] = as_json
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, as click does; this is where subcommands read their arguments."""
        with usage_told(ctx.parent is None and ctx.meta.get(__name__, False)):
            return super().invoke(ctx)  # type: ignore[misc]


@contextlib.contextmanager
def usage_told(as_json: bool) -> Iterator[None]:
    """Print an error of click as an object, where asked, before click says it on stderr."""
    try:
        yield
    except click.ClickException as error:
        if as_json:
            told = {"error": error.format_message(), "exit_code": error.exit_code}
            click.echo(json.dumps(told, ensure_ascii=False))
        raise


class NumberRange(click.FloatRange):
    """A number in a range; "nan", which lies in every range by click's account, is none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number; end with a usage error for anything else."""
        number = super().convert(value, param, ctx)
        return self.fail("nan is no number", param, ctx) if math.isnan(number) else number


bundle_option = click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Bundle folder; the one shipped with the package if not given.",
)
snapshot_option = click.option(
    "--snapshot", default="latest", show_default=True, help="Id, name, path, or latest."
)
catalog_option = click.option(
    "--catalog", type=click.Path(path_type=Path, file_okay=False), help="Catalog folder."
)
