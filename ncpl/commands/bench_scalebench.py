"""Command ncpl bench scalebench."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ncpl.commands.options import catalog_option, common, snapshot_option


@click.command("scalebench")
@snapshot_option
@catalog_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for scalebench.md, scalebench.json and result.json, ScaleBench's own form.",
)  # fmt: skip
@common
def scalebench(
    *, snapshot: str, catalog: Path | None, out: Path | None, as_json: bool, no_progress: bool
) -> None:
    """Score ScaleBench's learning-rate and batch task under its cost rule, beside its paper's rows.

    Example: ncpl bench scalebench --snapshot latest --out board
    """
    del no_progress  # over in seconds
    from ncpl.bench import scalebench as bench
    from ncpl.bench.tables import write_text
    from ncpl.data.find import find_snapshot

    found = find_snapshot(snapshot, catalog)
    rows = bench.run_scalebench(*bench.task_of(found))
    plain = bench.as_json(found.id, rows)
    texts = {
        "scalebench.json": json.dumps(plain, indent=1) + "\n",
        "result.json": json.dumps(plain["submission"], indent=1) + "\n",
        "scalebench.md": bench.markdown(rows),
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(out / name, text)
    click.echo(json.dumps(plain) if as_json else texts["scalebench.md"], nl=as_json)
