"""What the columns of the views mean, as comments that tools show beside them."""

from __future__ import annotations

from collections.abc import Mapping

from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.load import load_schema

KEYS = {"run_id": "The run: <source>/<native id>.", "source": "The source it came from."}
VIEWS: Mapping[str, str] = {
    "runs": "One row a run: its configuration and outcome. Null: the source does not say.",
    "curves": "One row a point of a curve.",
    "evals": "One row an evaluation.",
    "rejects": "Records that were refused, kept whole.",
    "ingests": "One row a commit of an ingest.",
    "runs_double": "The view runs with parameters and tokens as doubles: products do not overflow.",
    "sources": "The data sheet of each ingested source.",
    "splits": "The published NCPL split, one row a physical run.",
}
OWN: Mapping[str, Mapping[str, str]] = {
    "rejects": KEYS
    | {
        "ref": "Where the record stands: file and line, or run id.",
        "reason": "Why it was refused, in a word.",
        "detail": "What is wrong with it.",
        "payload": "The record as it came, JSON.",
        "schema_version": "Version of the schema it was checked against.",
    },
    "ingests": KEYS
    | {
        "at": "When it was committed, UTC.",
        "origin": "Which files of the source were read.",
        "added": "Runs that are new. Unit: runs.",
        "updated": "Runs whose values changed. Unit: runs.",
        "unchanged": "Runs that were there already. Unit: runs.",
        "rejected": "Records that were refused. Unit: records.",
        "tool_version": "Version of this program.",
    },
    "sources": {
        "name": "The source, as in runs.source.",
        "licence": "Licence of the owner's files; null where the owner states none.",
        "revision": "Revision of the owner's files that is pinned.",
    },
    "splits": KEYS
    | {
        "split": "Side: train, id or ood.",
        "split_group": "Runs of one group are on one side.",
        "policy": "The policy that made the split.",
    },
}


def column_comments(view: str) -> Mapping[str, str]:
    """Return meaning and unit of the columns of a view, as far as they are written down."""
    if view in ("runs", "runs_double"):
        return {f.column: comment(f.description, f.unit) for f in run_fields()}
    if view in ("curves", "evals"):
        schema = load_schema("curve" if view == "curves" else "evaluation")
        own = {
            name: comment(spec["description"], spec.get("x-unit"))
            for name, spec in schema["properties"].items()
        }
        return KEYS | own
    return OWN.get(view, {})


def comment(description: str, unit: str | None) -> str:
    """Return a description with its unit."""
    return f"{description} Unit: {unit}." if unit else description
