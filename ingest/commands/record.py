"""`ncpl-data record`: record a live project in a folder, to be ingested from there."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl_data.ingest import complete
from ncpl_data.terminal.console import Console, output_options

EPILOG = """\b
Projects: marin, steplaw (Weights & Biases), losscast, overtraining, marin_speedruns (GitHub),
ncpl_logs (Hugging Face).
Keys, if needed: WANDB_API_KEY, HF_TOKEN, GITHUB_TOKEN. They are sent and never written.
\b
Examples:
  ncpl-data record marin --out recordings/marin
  ncpl-data ingest marin --from recordings/marin
"""


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete.sources)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the recording.",
)
@click.option("--url", "base_url", help="Another server of the same kind.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many runs, or files.")
@output_options
def record(
    name: str, folder: Path, base_url: str | None, limit: int | None, console: Console
) -> None:
    """Record the runs of a live project, so that ingesting them can be repeated offline."""
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.ingest.live.record import PROJECTS

    if name not in PROJECTS:
        raise InputError(f'no live project "{name}"; known: {", ".join(sorted(PROJECTS))}')
    done = PROJECTS[name].record(folder, base_url, limit)
    count = f"{done.n_runs:,} runs" if done.n_runs is not None else f"{len(done.paths):,} files"
    console.result(
        {
            "project": name,
            "folder": str(folder),
            "files": [str(path) for path in done.paths],
            "runs": done.n_runs,
            "revision": done.revision,
        },
        f"{name}: {count} recorded in {folder}\nnext: ncpl-data ingest {name} --from {folder}",
    )
