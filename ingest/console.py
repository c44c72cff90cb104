"""What a command prints: one result on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ncpl_data.ingest.entry import EXIT_INTERRUPTED, loaded

EXIT_OK, EXIT_INVALID, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_CONFLICT = 0, 1, 2, 3, 4

DEFAULT_CATALOG = "ncpl-catalog"


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


UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return a text with control characters spelt out: those of others could rewrite a terminal."""
    return UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


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
        from ncpl_data.catalog.errors import NcplDataError

        try:
            loaded()
            code = command(*args, console=console, **kwargs)
        except NcplDataError as error:
            fail(console, str(error), error.exit_code)
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


def table_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as an aligned text table; numbers stand right."""
    if not rows:
        return "(no rows)"
    names = list(columns or rows[0])
    cells = [[cell_text(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [
        all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names
    ]

    def line(values: Sequence[str]) -> str:
        padded = (
            v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = ["-" * w for w in widths]
    return "\n".join(line(values) for values in ([*names], rule, *cells))


def cell_text(value: Any, limit: int = 60) -> str:
    """Return one cell: counts with thousands separators, floats short, long text cut."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, dict)):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = visible(str(value)).replace("\n", "\\n")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
