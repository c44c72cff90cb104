"""The dataset card of a snapshot: what is inside, from where, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = """\
---
configs:
- config_name: runs
  data_files: runs/*.parquet
  default: true
{configs}- config_name: splits
  data_files: splits.parquet
tags:
- scaling-laws
- pretraining
---
"""


def snapshot_card(manifest: Mapping[str, Any]) -> str:
    """Return the card (Markdown with the YAML head of a Hugging Face dataset)."""
    configs = "".join(
        f"- config_name: {table}\n  data_files: {table}/*.parquet\n"
        for table in ("curves", "evals")
        if manifest["tables"][table]
    )
    counts, selection = manifest["counts"], manifest["selection"]
    lines = [
        HEAD.format(configs=configs),
        f"# Pretraining runs, snapshot {manifest['id'][:12]}",
        "",
        f"{counts['runs']:,} runs, {counts['curves']:,} curve points, {counts['evals']:,} "
        f"evaluations. Schema {manifest['schema_version']}. Id `{manifest['id']}`: the hash of "
        "the logical content.",
        "",
        f"Selection: `{selection['where'] or 'all runs'}`. Split policy: `{selection['policy']}`.",
        "",
        "| source | licence | finished | other status | train | id | ood |",
        "|---|---|---|---|---|---|---|",
    ]
    licences = {sheet["name"]: licence_text(sheet) for sheet in manifest["sources"]}
    for source, by_status in counts["runs_by_source"].items():
        splits = counts["splits_by_source"].get(source, {})
        finished = by_status.get("finished", 0)
        lines.append(
            f"| {source} | {licences.get(source, '')} | {finished:,} "
            f"| {sum(by_status.values()) - finished:,} "
            + "".join(f"| {splits.get(part, 0):,} " for part in ("train", "id", "ood"))
            + "|"
        )
    lines += ["", "## Sources", ""]
    for sheet in manifest["sources"]:
        lines.append(
            f"- **{sheet['name']}**: {sheet['title']}. {sheet['citation']}. {sheet['url']}"
        )
        lines += [f"  - trap: {trap}" for trap in sheet["traps"]]
    lines += [
        "",
        "Losses compare only within one (metric, dataset, tokenizer). A null is a value the "
        "source does not state. Meaning and unit of every column: FIELDS.md of ncpl-data.",
        "",
    ]
    return "\n".join(lines)


def licence_text(sheet: Mapping[str, Any]) -> str:
    """Return the licences of a source's origins in one cell."""
    parts = [
        f"{origin['name']}: {origin['licence'] or 'none stated'}"
        for origin in sheet.get("origins", ())
    ]
    return "; ".join(parts) or str(sheet.get("licence") or "none stated")
