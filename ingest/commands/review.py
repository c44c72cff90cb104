"""`ncpl-data review`: contributed runs that wait before a model learns from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest import complete
from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text

EPILOG = """\b
Examples:
  ncpl-data review list
  ncpl-data review accept acme/run_1 acme/run_2 --reason "logs seen, seeds differ"
  ncpl-data review accept acme/ --reason "the lab's own sweep"     every run of a source that waits
  ncpl-data review reject acme/run_3 --reason "copy of marin/..., loss moved by .5"
"""

COLUMNS = ("run_id", "contributor", "final_loss", "state", "why")


@click.group(epilog=EPILOG)
def review() -> None:
    """Accept or reject contributed runs that touch what a source publishes.

    Until then no snapshot takes them. Decisions are files of the catalog, each with its reason.
    """


@review.command("list", epilog=EPILOG)
@catalog_option
@output_options
def list_command(catalog_folder: Path, console: Console) -> None:
    """List the contributed runs that wait or were rejected, each with the reason."""
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.catalog.waiting import left_out

    catalog = Catalog(catalog_folder)
    found = left_out(catalog, catalog.manifest())
    rows: list[dict[str, Any]] = [
        {
            "run_id": one.run_id,
            "contributor": one.contributor,
            "final_loss": one.final_loss,
            "state": "waits" if one.decision is None else one.decision.verdict,
            "why": one.reason if one.decision is None else one.decision.reason,
        }
        for one in found
    ]
    states = Counter(row["state"] for row in rows)
    counts = ", ".join(f"{n:,} {state}" for state, n in sorted(states.items()))
    console.result(
        {"runs": [asdict(one) for one in found]},
        "\n".join([table_text(rows, COLUMNS), counts]) if rows else "no contributed run waits",
    )


def decision(verdict: str, done: str, command: str) -> click.Command:
    """Return the command that writes one kind of decision."""

    @click.command(command, epilog=EPILOG, help=f"{command.capitalize()} runs, with the reason.")
    @click.argument(
        "names", nargs=-1, required=True, metavar="RUN_ID|SOURCE/...", shell_complete=complete.runs
    )
    @click.option("--reason", required=True, help="Why; kept with the decision.")
    @click.option("--by", help="Who decides; kept with the decision.")
    @catalog_option
    @output_options
    def decide_command(
        names: tuple[str, ...], reason: str, by: str | None, catalog_folder: Path, console: Console
    ) -> None:
        from ncpl_data.catalog.review import decide
        from ncpl_data.catalog.store import Catalog

        catalog = Catalog(catalog_folder)
        hashes = named_runs(catalog, names, all_of_source=verdict == "rejected")
        file = decide(catalog.folder, hashes, verdict, reason, by)
        console.result(
            {"catalog": str(catalog_folder), "verdict": verdict, "runs": sorted(hashes),
             "file": file},
            f"{len(hashes):,} runs {done}: {file}",
        )  # fmt: skip

    return decide_command


review.add_command(decision("accepted", "accepted", "accept"))
review.add_command(decision("rejected", "rejected", "reject"))


def named_runs(catalog: Any, names: tuple[str, ...], *, all_of_source: bool) -> dict[str, str]:
    """Return the content hash of each run that is meant, by id; SOURCE/ means all that wait.

    With `all_of_source` it means all of that source. Raises InputError for a name no contributed
    run has.
    """
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.catalog.waiting import left_out, submitted_sources

    manifest = catalog.manifest()
    known: dict[str, str] = {}
    for source in sorted(submitted_sources(manifest)):
        rows = catalog.read("runs", ["run_id", "run_hash"], source=source, manifest=manifest)
        known.update(zip(rows["run_id"].to_pylist(), rows["run_hash"].to_pylist(), strict=True))
    waiting = set(known) if all_of_source else {r.run_id for r in left_out(catalog, manifest)}
    found: dict[str, str] = {}
    for name in names:
        meant = [name] if name in known else []
        if name.endswith("/"):
            meant = [run_id for run_id in sorted(waiting) if run_id.startswith(name)]
        if not meant:
            raise InputError(
                f'"{name}" is no contributed run that waits; list them: ncpl-data review list'
            )
        found |= {run_id: known[run_id] for run_id in meant}
    return found
