"""`ncpl-data validate`: what is wrong with run documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options

MAX_SHOWN = 200

EPILOG = """\b
Examples:
  ncpl-data validate run.json            one document, JSON or YAML
  ncpl-data validate runs.jsonl logs/    many, and every document in a folder
  cat runs.jsonl | ncpl-data validate - --json
"""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="Processes for a large file of JSON lines. Default: as many as there are cores.",
)
@output_options
def validate(files: tuple[Path, ...], jobs: int | None, console: Console) -> int:
    """Check run documents: JSON, JSON lines or YAML files, folders, or - for standard input.

    Each problem names file, line and place, what was found and what was expected. Many documents
    are checked fastest as JSON lines, with the extra `fast`.
    """
    from ncpl_data.catalog.record import Run
    from ncpl_data.ingest.submissions.outlook import outlook
    from ncpl_data.ingest.submissions.validate import invalid_documents

    runs: list[Run] = []

    n_documents, n_invalid = 0, 0
    problems: list[dict[str, Any]] = []
    n_bytes = sum(path.stat().st_size for path in files if path.is_file())
    with console.progress("validating", "B", n_bytes or None, after_seconds=0) as advance:
        for n_seen, finding in invalid_documents(
            files, jobs, advance, lambda content: runs.append(Run.from_document(content))
        ):
            n_documents = n_seen
            if finding is not None:
                n_invalid += 1
                problems += finding.as_dicts()
    # Of large files of JSON lines no run is kept: `submit --dry-run` says what becomes of them.
    ahead = outlook(runs) if len(runs) == n_documents - n_invalid else None
    summary = f"{n_documents:,} documents: {n_documents - n_invalid:,} valid, {n_invalid:,} not"
    console.result(
        {
            "documents": n_documents,
            "valid": n_documents - n_invalid,
            "invalid": n_invalid,
            "problems": problems,
            "outlook": None if ahead is None else ahead.as_dict(),
        },
        "\n".join([*problem_lines(problems), *(ahead.lines() if ahead else ()), summary]),
    )
    return EXIT_INVALID if n_invalid else 0


def problem_lines(problems: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line for each problem: place, what was found, what was expected, what to do."""
    lines = []
    shown = list(problems)
    for problem in shown[:MAX_SHOWN]:
        place = problem["file"] + (f":{problem['line']}" if problem["line"] else "")
        text = f"{place}: {problem['pointer'] or '/'}: found {problem['found']}"
        text += f"; expected {problem['expected']}"
        lines.append(f"{text}. {problem['hint']}" if problem["hint"] else text)
    if len(shown) > MAX_SHOWN:
        lines.append(f"... and {len(shown) - MAX_SHOWN:,} problems more; all: --json")
    return lines
