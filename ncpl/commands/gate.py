"""Command ncpl gate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import catalog_option, common
from ncpl_data.terminal.console import EXIT_INVALID

if TYPE_CHECKING:
    from ncpl.data.snapshot import Family, Runs, Snapshot
    from ncpl.evaluate.gate import Verdict
    from ncpl.evaluate.gate_data import DataChange
    from ncpl.evaluate.influence import Influence

EPILOG = """
\b
The loop after new submissions:
  ncpl-data snapshot --split ncpl-open && ncpl-train --out runs/new
  ncpl gate runs/new --report gate.md && cp -r runs/new runs/current

\b
Exit code 0: not worse. 1: worse, with the reasons.
"""


@click.command(epilog=EPILOG)
@click.argument("new_folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--against", type=click.Path(path_type=Path, file_okay=False),
    help="Bundle in use; the one shipped with the package if not given.",
)  # fmt: skip
@click.option(
    "--snapshot", help="Whose held-out runs to score on: id, name, path, or latest; if not given, "
    "the one DIR was trained on.",
)  # fmt: skip
@click.option(
    "--list-cells", is_flag=True, help="Cells that became worse are listed, but do not refuse."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write a Markdown page.")
@click.option(
    "--influence", "names", multiple=True, metavar="SOURCE",
    help="Tell what this source's runs moved, or all; those added if not given. May be repeated.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@catalog_option
@common
def gate(
    *,
    new_folder: Path,
    against: Path | None,
    snapshot: str | None,
    list_cells: bool,
    report: Path | None,
    names: tuple[str, ...],
    seed: int,
    catalog: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Refuse the bundle in DIR when it is worse than the one in use.

    Both are scored on the same held-out runs; runs that one of them was trained on are left out.
    Worse is: a larger error by a paired bootstrap, or by a tenth; intervals further from 85 to 96%
    coverage; a larger choice gap; a cell of 20 runs or more that became much worse, or worse than
    the refitted Chinchilla. Families of the community bundle beside it are judged alike, each on
    its own held-out runs. Refused, too, is a family most of whose held-out runs lie outside their
    intervals, and a contribution with which a few runs of another family tell less of its larger
    ones.
    """
    del no_progress  # a minute at most
    from ncpl.bundles import load
    from ncpl.data.find import find_snapshot
    from ncpl.errors import SnapshotError
    from ncpl.evaluate.gate import Verdict, judge
    from ncpl.evaluate.gate_data import data_change, trained_on
    from ncpl.evaluate.gate_report import as_markdown, as_text, data_lines, plain
    from ncpl.model.community import Community

    new, old = load(new_folder), load(against)
    found = find_snapshot(snapshot or new.snapshot_id, catalog)
    runs = found.runs()
    why_not, data, unfair = None, None, frozenset[str]()
    if new.snapshot_id != found.id:
        try:
            unfair |= trained_on(runs, find_snapshot(new.snapshot_id, catalog).runs())
        except SnapshotError:
            why_not = f"the new bundle's snapshot {new.snapshot_id[:12]} is not at hand"
    if old.snapshot_id != found.id:
        try:
            before = find_snapshot(old.snapshot_id, catalog).runs()
        except SnapshotError:
            why_not = (
                f"the snapshot {old.snapshot_id[:12]} of the bundle in use is not at hand; whether "
                "it was trained on runs that are held out here can not be told"
            )
        else:
            unfair |= trained_on(runs, before)
            data = data_change(runs, before)
    else:
        why_not = "both bundles are of the same snapshot"
    if isinstance(new, Community):  # all of its families are judged below
        verdict = Verdict(cells_refuse=not list_cells)
    else:
        verdict = judge(new, old, runs, unfair=unfair, cells_refuse=not list_cells, seed=seed)
    moved = _community(verdict, new_folder, against, found, runs, unfair, data, names, seed)
    about: dict[str, Any] = {
        "new": str(new_folder),
        "old": str(against or "the bundle shipped with the package"),
        "snapshot_id": found.id,
        "new_snapshot_id": new.snapshot_id,
        "old_snapshot_id": old.snapshot_id,
        "data_note": why_not,
        "influence": [one.to_json() for one in moved],
    }
    lines = [*data_lines(data, why_not), *(f"influence: {one.line()}" for one in moved)]
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(as_markdown(verdict, lines, about), encoding="utf-8")
    click.echo(json.dumps(plain(verdict, data, about)) if as_json else as_text(verdict, lines))
    if not verdict.passes:
        sys.exit(EXIT_INVALID)


def _community(
    verdict: Verdict,
    new_folder: Path,
    against: Path | None,
    found: Snapshot,
    runs: Runs,
    unfair: frozenset[str],
    data: DataChange | None,
    names: tuple[str, ...],
    seed: int,
) -> list[Influence]:
    """Add to a verdict what the community bundles say, and return what contributions moved.

    Raises click.UsageError for a name that is no source of the snapshot.
    """
    from ncpl.bundles import community_of, load
    from ncpl.data.families import families_in
    from ncpl.evaluate.gate_community import check_own, judge_community, judge_influence
    from ncpl.evaluate.influence import influences
    from ncpl.model.community import Community
    from ncpl.train.community import learned_from
    from ncpl.train.leave_out import leave_out

    bundle = load(new_folder)
    new, old = community_of(new_folder), community_of(against)
    answered: frozenset[Family] = frozenset()
    if not isinstance(bundle, Community):
        answered = frozenset(fit.family for fit in bundle.fits)
        check_own(verdict, bundle, runs)
    families = families_in(found, runs)
    judge_community(verdict, new, old, runs, families, answered=answered, unfair=unfair, seed=seed)
    known = sorted({run_id.split("/", 1)[0] for f in families for run_id in f.run_ids})
    for name in names:
        if name not in (*known, "all"):
            raise click.UsageError(
                f"--influence {name}: no such source; there are {', '.join(known)}"
            )
    asked = known if "all" in names else list(dict.fromkeys(names))
    if not names and data is not None:
        asked = [name for name in known if name in {**data.added, **data.changed}]
    if new is None or not asked:
        return []
    train = learned_from([family.training() for family in families])
    moved = influences(train, asked, leave_out(new.population, train))
    if not names:
        judge_influence(verdict, moved)
    return moved
