"""The generic tests of a source: what holds of every one, whoever wrote it."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, Source
from ncpl_data.ingest.submissions.adapter_checks import document_problems
from ncpl_data.ingest.valid_runs import problems_of

MAX_NAMED = 3
"""Runs a finding names before it only counts."""

PROVENANCE = frozenset((
    "run_id", "source", "source_run", "schema_version", "same_as", "licence", "citation", "url",
    "revision", "file", "file_sha256", "record", "is_copy", "contributor", "notes", "flags",
    "origins", "raw_config",
))  # fmt: skip
"""Columns that say where a record is from, not what the run was: they need no origin."""


@dataclass(frozen=True)
class BrokenRule:
    """One rule that a source breaks."""

    rule: str
    detail: str


@dataclass(frozen=True)
class Checked:
    """What a source was found to be."""

    origin: str
    n_runs: int
    n_skipped: int
    findings: tuple[BrokenRule, ...]


def check_source(source: Source, origin: Origin, paths: Mapping[str, Path]) -> Checked:
    """Read the files of one origin twice and return every rule its runs break."""
    try:
        items = list(origin.read(paths))
        again = list(origin.read(paths))
    except Exception as error:  # noqa: BLE001 a reader of another package may raise anything
        return Checked(origin.name, 0, 0, (BrokenRule("it reads its files", place_of(error)),))
    runs = [item for item in items if isinstance(item, Run)]
    found = [
        *sheet_findings(source, origin, runs),
        *run_findings(source, runs),
        *repeat_findings(runs, [item for item in again if isinstance(item, Run)]),
    ]
    n_skipped = sum(isinstance(item, Skipped) for item in items)
    return Checked(origin.name, len(runs), n_skipped, tuple(found))


def place_of(error: Exception) -> str:
    """Return an error with the line of the reader that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = "" if last is None else f" in {Path(last.filename).name} line {last.lineno}"
    return f"{type(error).__name__}: {str(error)[:200]}{where}"


def sheet_findings(source: Source, origin: Origin, runs: Sequence[Run]) -> Iterator[BrokenRule]:
    """Yield where the data sheet and the runs disagree."""
    if origin.n_runs and len(runs) != origin.n_runs:
        detail = f"{len(runs):,} runs; its sheet says {origin.n_runs:,}"
        yield BrokenRule("it holds as many runs as its sheet says", detail)
    for name in ("title", "owner", "citation", "url"):
        if not getattr(source, name):
            yield BrokenRule("its sheet is filled", f"no {name}")
    twice = [run_id for run_id, n in Counter(run.run_id for run in runs).items() if n > 1]
    yield from named("each run has an id of its own", twice)


def run_findings(source: Source, runs: Sequence[Run]) -> Iterator[BrokenRule]:
    """Yield the rules that single runs break."""
    ids = {run.run_id for run in runs}
    rules: dict[str, Callable[[Run], str]] = {
        "ids begin with the source": lambda run: identity_fault(source, run),
        "it obeys the schema": lambda run: "; ".join(map(str, problems_of(run))),
        "its values agree with each other": lambda run: "; ".join(map(str, document_problems(run))),
        "every value has an origin": lambda run: ", ".join(sorted(without_origin(run))),
        "a loss has a metric and a unit": loss_fault,
        "every curve has a metric with a unit": curve_fault,
        "links inside the source lead somewhere": lambda run: link_fault(source, run, ids),
    }
    for rule, test in rules.items():
        yield from named(rule, [f"{run.run_id} ({fault})" for run in runs if (fault := test(run))])


def named(rule: str, cases: Sequence[str]) -> Iterator[BrokenRule]:
    """Yield one finding for the cases of a rule, the first ones named."""
    if cases:
        more = f" and {len(cases) - MAX_NAMED:,} more" if len(cases) > MAX_NAMED else ""
        yield BrokenRule(rule, "; ".join(cases[:MAX_NAMED]) + more)


def identity_fault(source: Source, run: Run) -> str:
    """Return what is wrong with a run's name; empty if nothing."""
    is_own = run.run_id.startswith(f"{source.name}/") and run.source == source.name
    return "" if is_own else f"source {run.source}"


def without_origin(run: Run) -> set[str]:
    """Return the columns a run states without saying how they are known."""
    stated = {column for column, value in run.row().items() if value is not None}
    return stated - PROVENANCE - set(run.origins or {})


def loss_fault(run: Run) -> str:
    """Return what a final loss lacks; empty if nothing."""
    if run.final_loss is None or (run.final_loss_metric and run.final_loss_unit):
        return ""
    return "no metric" if not run.final_loss_metric else "no unit"


def curve_fault(run: Run) -> str:
    """Return the curves of a run that no metric declares; empty if none."""
    declared = {metric["name"] for metric in run.metrics or ()}
    return ", ".join(sorted({curve.metric for curve in run.curves} - declared))


def link_fault(source: Source, run: Run, ids: set[str]) -> str:
    """Return the links of a run to runs of its source that are not there; empty if none."""
    links = [*(run.same_as or ()), *([run.parent_run_id] if run.parent_run_id else [])]
    own = (link for link in links if link.startswith(f"{source.name}/"))
    return ", ".join(link for link in own if link not in ids or link == run.run_id)


def repeat_findings(runs: Sequence[Run], again: Sequence[Run]) -> Iterator[BrokenRule]:
    """Yield that reading again gives something else."""
    first, second = (Counter(run.content_hash() for run in part) for part in (runs, again))
    if first != second:
        n = sum((first - second).values())
        yield BrokenRule("reading again gives the same", f"{n:,} runs differ")
