"""What a command prints: one result on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ncpl_data.terminal.errors import UserError
from ncpl_data.terminal.extras import lacking
from ncpl_data.terminal.interrupt import EXIT_INTERRUPTED, loaded
from ncpl_data.terminal.tables import visible

EXIT_OK, EXIT_INVALID, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_CONFLICT = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Console:
    """How one command speaks."""

    as_json: bool
    verbosity: int
    """-1 quiet, 0 normal, 1 and more verbose."""
    shows_progress: bool

    def result(self, data: Any, text: str) -> None:
        """Print the command's result: an object for programs, or text for people."""
        if self.as_json:
            click.echo(json.dumps(data, ensure_ascii=False, default=str))
        elif text:
            click.echo(visible(text))

    @contextlib.contextmanager
    def progress(
        self, what: str, unit: str, total: int | None = None, *, after_seconds: float = 0.5
    ) -> Iterator[Callable[[int], object]]:
        """Give what is to be told of each step; on a terminal it moves a bar if that takes long."""
        if not self.shows_progress:
            yield lambda _n: None
            return
        from tqdm import tqdm

        shape: dict[str, Any] = {"unit": unit, "unit_scale": True, "total": total, "leave": False}
        with tqdm(desc=what, delay=after_seconds, **shape) as bar:
            yield bar.update

    def note(self, message: str) -> None:
        """Print a remark on stderr."""
        if self.verbosity >= 0:
            click.echo(visible(message), err=True)


Command = TypeVar("Command", bound=Callable[..., Any])


def output_options(command: Command) -> Command:
    """Add --json, -q, -v and --no-progress; the command gets them as `console`.

    Errors of the toolkit become one sentence and an exit code; with --json also an object.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Print only the result and errors.")
    @click.option("-v", "--verbose", count=True, help="Print more.")
    @click.option("--no-progress", is_flag=True, help="Show no progress bar.")
    @functools.wraps(command)
    def wrapper(
        *args: Any, as_json: bool, quiet: bool, verbose: int, no_progress: bool, **kwargs: Any
    ) -> None:
        console = Console(
            as_json=as_json,
            verbosity=-1 if quiet else verbose,
            shows_progress=not (no_progress or quiet or as_json) and sys.stderr.isatty(),
        )
        try:
            loaded()
            code = command(*args, console=console, **kwargs)
        except UserError as error:
            fail(console, str(error), error.exit_code)
        except ModuleNotFoundError as error:
            told = lacking(error)
            if told is None:
                raise
            fail(console, told, EXIT_INVALID)
        except BrokenPipeError:
            # The reader of our output has gone (as in `| head`): nothing is left to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_OK)
        except OSError as error:
            fail(
                console,
                f"{error.filename or 'the output'}: {error.strerror or error}",
                EXIT_INVALID,
            )
        except KeyboardInterrupt:
            fail(console, "interrupted; what was committed is kept", EXIT_INTERRUPTED)
        if isinstance(code, int) and code:
            sys.exit(code)

    return wrapper  # type: ignore[return-value]


def fail(console: Console, message: str, code: int) -> None:
    """Print an error and leave with its exit code."""
    if console.as_json:
        with contextlib.suppress(OSError):  # that stdout can not be written may be the error
            click.echo(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False))
    click.echo(visible(f"error: {message}"), err=True)
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
        more.setdefault("help_option_names", ["-h", "--help"])  # subcommands inherit them
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


class Program(Told, click.Command):
    """A command that is a program of its own."""


class Programs(Told, click.Group):
    """A program of several commands."""


class LazyPrograms(Programs):
    """A program some of whose commands are imported when they are called."""

    def __init__(self, *args: Any, places: Mapping[str, str], **more: Any) -> None:
        """Take where each of them lives: name -> module:attribute."""
        super().__init__(*args, **more)
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted([*super().list_commands(ctx), *self.places])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by name, imported if need be."""
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
        module, name = self.places[cmd_name].split(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found


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
