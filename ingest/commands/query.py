"""`ncpl-data query`: SQL over the catalog."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, Console, NumberRange, output_options
from ncpl_data.terminal.errors import UserError

TABLE_ROWS = 100
CHUNK_BYTES = 1 << 16

EPILOG = """\b
Views: runs, curves, evals, rejects, ingests, sources, splits (the published NCPL split).
\b
Examples:
  ncpl-data query "select split, count(*) from splits group by 1"
  ncpl-data query "select learning_rate, min(final_loss) from runs group by 1" --format csv
  ncpl-data query "summarize runs" --format jsonl
  ncpl-data query "from runs" --format csv --raw            no apostrophe before =, +, -, @
  ncpl-data query "select count(*) from runs" --at 3        the state after commit 3
"""


@click.command(epilog=EPILOG)
@click.argument("sql")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "csv", "json", "jsonl", "parquet"]),
    help="Layout of the rows. Default: table, or json with --json.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option(
    "--timeout",
    type=NumberRange(min=0),
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    help="Stop a query that runs longer; 0 for never.",
)
@click.option("--memory-limit", default="2GB", show_default=True, help="Memory a query may use.")
@click.option(
    "--max-result",
    callback=lambda _ctx, _param, text: bytes_of(text),
    default="1GB",
    show_default=True,
    help="Stop a query whose result is larger; 0 for any size.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="CSV: print cells as they are. Default: one that a spreadsheet would take for a formula "
    "gets an apostrophe in front, control characters are spelt out.",
)
@at_option
@catalog_option
@output_options
def query(
    sql: str,
    layout: str | None,
    out: Path | None,
    timeout: float,
    memory_limit: str,
    max_result: int,
    raw: bool,
    at: int | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Run one reading SQL statement (DuckDB) over the catalog.

    The statement sees the catalog and nothing else: no files, no network, no settings. It runs in
    a process of its own, which ends at the limits of time and memory.
    """
    layout = layout or ("json" if console.as_json else "table")
    if layout == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the SQL is not UTF-8 from character {error.start} on") from error
    with whole(out) as part:
        request = {
            "sql": sql,
            "catalog": str(catalog_folder),
            "at": at,
            "layout": layout,
            "out": None if part is None else str(part),
            "timeout_seconds": timeout,
            "memory_limit": memory_limit,
            "max_bytes": max_result,
            "table_rows": TABLE_ROWS,
            "is_raw": raw,
        }
        report = run_apart(request, timeout)
        if report.get("is_empty"):
            console.note(f"{catalog_folder} holds no catalog yet: every view is empty")
        if "os_error" in report:
            raise UserError(f"could not write {out or 'the output'}: {report['os_error']}")
        if "error" in report:
            raise failure(report)
    if out is not None:
        console.result({"out": str(out), "rows": report["rows"]}, "")
    elif report["rows"] > TABLE_ROWS and layout == "table":
        console.note(f"first {TABLE_ROWS} rows; for all: --format csv")


def run_apart(request: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Answer a request in a process of its own, rows on stdout; return its report.

    What is asked: `query_process.Request`.
    """
    late = threading.Event()
    command = [sys.executable, "-P", "-m", "ncpl_data.ingest.query_process"]
    pipe = subprocess.PIPE
    environment = os.environ | {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as child:

        def end() -> None:
            late.set()
            child.kill()

        seconds = min(timeout_seconds, threading.TIMEOUT_MAX)
        timer = threading.Timer(seconds, end)
        timer.daemon = True
        if seconds:
            timer.start()
        told: list[bytes] = []
        assert child.stdin is not None
        assert child.stdout is not None
        listener = threading.Thread(target=listen, args=(child, told), daemon=True)
        listener.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # then the report, or its lack, tells
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.close()
            rows = sys.stdout.buffer
            while chunk := os.read(child.stdout.fileno(), CHUNK_BYTES):
                rows.write(chunk)
            rows.flush()
            child.wait()
        finally:
            timer.cancel()
            child.kill()
        listener.join()
    return report_of(told, child.returncode, is_late=late.is_set())


def failure(report: Mapping[str, Any]) -> UserError:
    """Return the error of a report, with its exit code."""
    error = UserError(str(report["error"]))
    error.exit_code = int(report.get("exit_code", EXIT_INVALID))
    return error


def listen(child: subprocess.Popen[bytes], told: list[bytes]) -> None:
    """Keep the last line that a process says on stderr."""
    assert child.stderr is not None
    for line in child.stderr:
        if line.strip():
            told[:] = [line]


def report_of(told: list[bytes], code: int, *, is_late: bool) -> dict[str, Any]:
    """Return the report of a process that has ended, by itself or not."""
    if is_late:
        return {"error": "the query was stopped: it ran longer than --timeout allows"}
    if code == 0 and told:
        with contextlib.suppress(ValueError):
            return dict(json.loads(told[-1]))
    why = f"signal {-code}" if code < 0 else f"code {code}"
    return {
        "error": f"the query's process ended ({why}): it needs more memory than --memory-limit "
        "allows, or DuckDB failed"
    }


SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?b?)", re.IGNORECASE)
UNITS = {"": 1} | {
    letter + i: base**power
    for power, letter in enumerate("kmgt", 1)
    for i, base in (("", 1000), ("i", 1024))
}


def bytes_of(text: str) -> int:
    """Return a number of bytes; end with a usage error for anything else."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f'"{text}" is no size; expected a number and a unit, such as 4GB')
    unit = match[2].lower()
    return int(float(match[1]) * UNITS[unit.removesuffix("b")])


@contextlib.contextmanager
def whole(out: Path | None) -> Iterator[Path | None]:
    """Give a path to write to; the file takes its name only when it is complete."""
    if out is None or out.is_symlink() or (out.exists() and not out.is_file()):  # as /dev/stdout
        yield out
        return
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
