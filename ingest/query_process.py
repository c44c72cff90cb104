"""One query of other people's SQL, in a process of its own whose memory and time are bounded.

DuckDB bounds what its operators hold, not what a function makes of one value, and it answers an
interrupt between steps only. So the command `query` starts this module, which limits its own
address space before the SQL runs, and ends it at the deadline.

The request comes as JSON on stdin, rows go to stdout or a file, and the last line of stderr is the
report: rows, or what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.query import connect, reading, run_sql, stream_sql
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.rows import Sink, write_parquet, write_rows

SPARE_BYTES = 64 << 20
"""Address space beyond the limit: threads and what Python holds of a batch of rows."""

UNITS = {"bytes": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
TOO_MUCH = "the query needs more memory than --memory-limit allows"


@dataclass(frozen=True)
class Request:
    """What is asked."""

    sql: str
    catalog: str
    at: int | None
    layout: str
    out: str | None
    """The file to write; None for stdout."""
    timeout_seconds: float
    """0 for never."""
    memory_limit: str
    max_bytes: int
    """Of the result."""
    table_rows: int
    is_raw: bool


def main() -> None:
    """Answer the request on stdin and end with the report on stderr."""
    report: dict[str, Any]
    try:
        request = Request(**json.loads(sys.stdin.buffer.readline()))
        catalog = Catalog(request.catalog, request.at)
        manifest = catalog.manifest()
        report = {"rows": answer(request, catalog), "is_empty": not manifest.version}
    except NcplDataError as error:
        report = {"error": str(error), "exit_code": error.exit_code}
    except MemoryError:
        report = {"error": TOO_MUCH, "exit_code": 1}
    except BrokenPipeError:
        report = {"rows": 0}
    except OSError as error:
        report = {"os_error": error.strerror or str(error)}
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(f"\n{json.dumps(report)}\n")


def answer(request: Request, catalog: Catalog) -> int:
    """Write the rows of a query and return their number.

    Raises InputError for a query that fails or passes a limit.
    """
    con = connect(catalog, request.sql, memory_limit=request.memory_limit)
    try:
        bound_memory(con)
        with reading(con, request.timeout_seconds or None):
            if request.layout == "parquet":
                assert request.out is not None
                reader = stream_sql(con, request.sql, 10_000)
                return write_parquet(reader, Path(request.out), request.max_bytes)
            cursor = run_sql(con, request.sql)
            limit = request.table_rows if request.layout == "table" else None
            with contextlib.ExitStack() as stack:
                file = sys.stdout.buffer
                if request.out is not None:
                    file = stack.enter_context(Path(request.out).open("wb"))
                sink = Sink(file, request.max_bytes)
                return write_rows(cursor, request.layout, sink, limit, is_raw=request.is_raw)
    finally:
        con.close()


def bound_memory(con: Any) -> None:
    """Limit the address space of this process to what it has and the memory the query may use."""
    try:
        import resource

        text = Path("/proc/self/status").read_text("ascii")
    except (ImportError, OSError):  # a system without either has DuckDB's own limit
        return
    ((setting,),) = con.execute("select current_setting('memory_limit')").fetchall()
    amount, _, unit = str(setting).partition(" ")
    limit = int(float(amount) * UNITS[unit.lower()])
    match = re.search(r"VmSize:\s*(\d+) kB", text)
    assert match is not None
    total = int(match[1]) * 1024 + limit + SPARE_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or total < hard:
        resource.setrlimit(resource.RLIMIT_AS, (total, hard))


if __name__ == "__main__":
    main()
