"""From documents to the catalog: examine each, find repeats, show what changes, commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import EncodedRun, encode
from ncpl_data.catalog.waiting import COLUMNS as WAITING_COLUMNS
from ncpl_data.catalog.waiting import Judge
from ncpl_data.ingest.garbage import seldom_collected
from ncpl_data.ingest.submissions.batches import Around, First, SeenContent, batches
from ncpl_data.ingest.submissions.changes import ContentChange, differences
from ncpl_data.ingest.submissions.claims import false_claims
from ncpl_data.ingest.submissions.documents import SMALLEST_RUN, Document, with_provenance
from ncpl_data.ingest.submissions.finding import Finding, examine, refuse
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.ingest.submissions.neighbours import Neighbours
from ncpl_data.ingest.submissions.outlook import Outlook, outlook
from ncpl_data.ingest.submissions.predicted import Compared, compared
from ncpl_data.ingest.submissions.repeats import repeated_runs
from ncpl_data.ingest.taken import is_source
from ncpl_data.schema.batch import explain
from ncpl_data.schema.validate import Problem, shorten
from ncpl_data.terminal.version import __version__

DEFAULT_ORIGIN = "declared"
"""How a submitted value is known whose origin the document does not state: its contributor says
so. It stands once in the source's data sheet, so that a document comes back as it was given."""


@dataclass
class Submitted:
    """What a submission did, or would do."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    changes: list[ContentChange] = field(default_factory=list)
    """Of runs that are already in the catalog with other values, replaced or not."""
    refused: list[Finding] = field(default_factory=list)
    version: int | None = None
    """The manifest that holds the result; None where nothing was written."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Why each run that waits for review does, by id."""
    outlook: Outlook | None = None
    """What a model will make of the runs of the first batch that were not refused."""
    measured: Compared | None = None
    """How far the losses of its runs that wait lie from the shipped model's predictions."""

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "added": len(self.added),
            "updated": len(self.updated),
            "unchanged": len(self.unchanged),
            "rejected": len(self.refused),
            "manifest": self.version,
            "runs": {"added": self.added, "updated": self.updated},
            "changes": [asdict(change) for change in self.changes],
            "waiting": self.waiting,
            "outlook": None if self.outlook is None else self.outlook.as_dict(),
            "predicted": None if self.measured is None else self.measured.as_dict(),
            "problems": [p for finding in self.refused for p in finding.as_dicts()],
        }


def submit(
    documents: Iterable[Document],
    catalog: Catalog,
    *,
    replace: bool = False,
    dry_run: bool = False,
    contributor: str | None = None,
    licence: str | None = None,
) -> Submitted:
    """Bring documents into the catalog; refused ones come back with their problems.

    They come in batches, each examined whole and then committed, so that the memory does not grow
    with the documents; a killed submission leaves whole batches, and the same one again brings the
    rest. A dry run compares a document with the catalog and with its own batch. Raises
    NcplDataError as `Catalog.upsert` does.
    """
    done, seen, around = Submitted(), SeenContent(), Around()
    given = {"contributor": contributor, "licence": licence}
    stays_valid = is_plain(given)
    with seldom_collected():
        for batch in batches(documents):
            completed = (with_given(one, given, stays_valid=stays_valid) for one in batch)
            findings, rows = examined(completed, seen, done)
            submit_batch(findings, rows, catalog, done, around, replace=replace, dry_run=dry_run)
    return done


def examined(
    documents: Iterable[Document], seen: SeenContent, done: Submitted
) -> tuple[dict[str, Finding], dict[str, EncodedRun]]:
    """Return what the documents of a batch hold, and the row of each run, by run id.

    What is wrong, and what came before in the submission, is noted in `done`.
    """
    findings: dict[str, Finding] = {}
    rows: dict[str, EncodedRun] = {}
    for document in documents:
        finding = examine(document)
        run = finding.run
        if run is None:
            done.refused.append(finding)
            continue
        row = encode(run)
        first = seen.first(row, document)
        if first is None:
            findings[run.run_id], rows[run.run_id] = finding, row
        elif first.digest == row.content_hash():
            done.unchanged.append(run.run_id)
        else:
            done.refused.append(refuse(finding, [repeated(run, first)]))
    return findings, rows


def submit_batch(
    findings: dict[str, Finding],
    rows: Mapping[str, EncodedRun],
    catalog: Catalog,
    done: Submitted,
    around: Around,
    *,
    replace: bool,
    dry_run: bool,
) -> None:
    """Hold the runs of one batch against the catalog and commit those that may enter."""
    manifest = catalog.manifest()
    check_sources(findings, manifest, done)
    runs = [finding.run for finding in findings.values() if finding.run is not None]
    for run_id, problem in false_claims(runs, catalog, manifest):
        done.refused.append(refuse(findings.pop(run_id), [problem]))
    same, changed = compare_stored(findings, rows, catalog, manifest, done, replace=replace)
    find_twins(findings, same, catalog, manifest, done, around.met)
    runs = [finding.run for finding in findings.values() if finding.run is not None]
    look_ahead(runs, around.judge_of(catalog, manifest), done)
    for source, own in by_source(runs).items():
        outcome = catalog.upsert(
            [rows[run.run_id] for run in own],
            source=source,
            operation="submit",
            origin="submission",
            sheet=sheet_of(source, own, manifest),
            replacing=changed,
            dry_run=dry_run,
            tool_version=__version__,
        )
        collect(done, outcome, own)


def is_plain(given: Mapping[str, str | None]) -> bool:
    """Return whether a valid document stays valid with a contributor and a licence."""
    stated = {key: value for key, value in given.items() if value is not None}
    return not explain({**SMALLEST_RUN, "provenance": stated}, "run")


def with_given(
    document: Document, given: Mapping[str, str | None], *, stays_valid: bool
) -> Document:
    """Return a document with the contributor and licence of the command line, where it has none."""
    stated = {key: value for key, value in given.items() if value is not None}
    if not stated or not isinstance(document.content, dict):
        return document
    content = with_provenance(document.content, stated)
    return Document(
        **{**vars(document), "content": content, "is_valid": document.is_valid and stays_valid}
    )


def repeated(run: Run, first: First) -> Problem:
    """Return the problem of a second document with one id and other values."""
    return Problem(
        "/run_id",
        "duplicate",
        f'"{run.run_id}" again, with other values than in {first.file}{place(first)}',
        "one document a run",
    )


def place(document: First) -> str:
    """Return where in its file a document stands, for a sentence."""
    return f" line {document.line}" if document.line else ""


def check_sources(findings: dict[str, Finding], manifest: Manifest, done: Submitted) -> None:
    """Refuse runs under the name of a source that an adapter fills."""
    filled = {f.run.source for f in findings.values() if f.run is not None}
    filled = {s for s in filled if is_source(s) or manifest.sources.get(s, {}).get("origins")}
    for run_id, finding in list(findings.items()):
        assert finding.run is not None
        source = finding.run.source
        if source in filled:
            problem = Problem(
                "/source",
                "taken",
                f'the source "{source}", which ncpl-data ingest {source} fills',
                "a source name of your own",
                "If a value of that source is wrong, report it to its adapter.",
            )
            done.refused.append(refuse(finding, [problem]))
            del findings[run_id]


def compare_stored(
    findings: dict[str, Finding],
    rows: Mapping[str, EncodedRun],
    catalog: Catalog,
    manifest: Manifest,
    done: Submitted,
    *,
    replace: bool,
) -> tuple[set[str], set[str]]:
    """Return the runs that are stored as they are and those that replace a stored one.

    Without `replace`, runs that would change are refused.
    """
    runs = {run_id: finding.run for run_id, finding in findings.items()}
    hashes: dict[str, str] = {}
    ids = pa.array(runs, pa.string())
    for source in {run.source for run in runs.values() if run is not None}:
        held = catalog.read("runs", ["run_id", "run_hash"], source=source, manifest=manifest)
        held = held.filter(pc.is_in(held["run_id"], ids))
        hashes.update(zip(held["run_id"].to_pylist(), held["run_hash"].to_pylist(), strict=True))
    known = {run_id: run for run_id, run in runs.items() if run is not None and run_id in hashes}
    same = {run_id for run_id in known if hashes[run_id] == rows[run_id].content_hash()}
    changed = [run_id for run_id in known if run_id not in same]
    stored = find_runs(catalog, changed, manifest)
    for run_id in changed:
        run = known[run_id]
        changes = list(differences(stored[run_id], run))
        done.changes += changes
        if not replace:
            shown = "; ".join(
                f"{c.pointer}: {shorten(c.before, 30)} -> {shorten(c.after, 30)}"
                for c in changes[:5]
            )
            problem = Problem(
                "/run_id",
                "changed",
                f"a stored run with other values ({shown or 'curves'})",
                "the same values as before, or a new id",
                "To replace the stored run, add --replace.",
            )
            done.refused.append(refuse(findings.pop(run_id), [problem]))
    return same, set(changed) & set(findings)


def find_twins(
    findings: dict[str, Finding],
    same: Collection[str],
    catalog: Catalog,
    manifest: Manifest,
    done: Submitted,
    met: Neighbours,
) -> None:
    """Refuse runs that are in the catalog, or in this submission, under another name."""
    runs = [f.run for f in findings.values() if f.run is not None and f.run.run_id not in same]
    if not runs:
        return
    known_as = set(findings) - set(same)
    for run_id, problem in repeated_runs(runs, catalog, manifest, known_as=known_as, met=met):
        done.refused.append(refuse(findings.pop(run_id), [problem]))


def look_ahead(runs: Sequence[Run], judge: Judge, done: Submitted) -> None:
    """Say what a model will make of runs, and how they compare with what is published."""
    if not runs:
        return
    for run in runs:
        reason, _ = judge.why({column: getattr(run, column, None) for column in WAITING_COLUMNS})
        if reason is not None:
            done.waiting[run.run_id] = reason
    if done.outlook is None:
        done.outlook = outlook(runs, judge.families.values(), done.waiting)
        done.measured = compared([run for run in runs if run.run_id in done.waiting])


def by_source(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return runs by their source."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.source, []).append(run)
    return found


def sheet_of(source: str, runs: Sequence[Run], manifest: Manifest) -> dict[str, Any]:
    """Return the data sheet of a source that is filled by submissions."""
    known = manifest.sources.get(source, {})

    def joined(name: str, values: Iterable[str | None]) -> str | None:
        before = (known.get(name) or "").split("; ")
        return (
            "; ".join(dict.fromkeys(v for v in (*before, *sorted(set(filter(None, values)))) if v))
            or None
        )

    return {
        "name": source,
        "title": f"runs submitted as {source}",
        "owner": joined("owner", (run.contributor for run in runs)) or "not stated",
        "licence": joined("licence", (run.licence for run in runs)),
        "citation": joined("citation", (run.citation for run in runs)) or "none given",
        "url": known.get("url") or next((r.url for r in runs if r.url), None) or "no address given",
        "revision": None,
        "origins": [],
        "traps": [],
        "default_origin": DEFAULT_ORIGIN,
    }


def collect(done: Submitted, outcome: Outcome, runs: Sequence[Run]) -> None:
    """Add what one commit did."""
    changed = {*outcome.added, *outcome.updated}
    done.added += outcome.added
    done.updated += outcome.updated
    done.unchanged += [run.run_id for run in runs if run.run_id not in changed]
    done.version = outcome.version or done.version
