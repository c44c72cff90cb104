"""`ncpl-data`: from raw logs to frozen snapshots."""

from __future__ import annotations

import click

from ncpl_data.ingest.commands.check import check
from ncpl_data.ingest.commands.compact import compact
from ncpl_data.ingest.commands.conflicts import conflicts
from ncpl_data.ingest.commands.convert import convert
from ncpl_data.ingest.commands.coverage import coverage
from ncpl_data.ingest.commands.export import export
from ncpl_data.ingest.commands.families import families
from ncpl_data.ingest.commands.gc import gc
from ncpl_data.ingest.commands.ingest import ingest
from ncpl_data.ingest.commands.publish import publish
from ncpl_data.ingest.commands.pull import pull
from ncpl_data.ingest.commands.query import query
from ncpl_data.ingest.commands.record import record
from ncpl_data.ingest.commands.rejects import rejects
from ncpl_data.ingest.commands.repair import repair
from ncpl_data.ingest.commands.review import review
from ncpl_data.ingest.commands.show import show
from ncpl_data.ingest.commands.snapshot import snapshot
from ncpl_data.ingest.commands.sources import sources
from ncpl_data.ingest.commands.stats import stats
from ncpl_data.ingest.commands.submit import submit
from ncpl_data.ingest.commands.validate import validate
from ncpl_data.terminal.console import LazyPrograms
from ncpl_data.terminal.version import __version__

EPILOG = """\b
A first session:
  ncpl-data ingest steplaw --offline
  ncpl-data query "select split, count(*) from splits group by 1"
  ncpl-data snapshot && ncpl-train --preset tiny
\b
Exit codes: 0 ok, 1 data invalid, 2 usage, 3 source unreachable, 4 conflict, 130 interrupted.
"""

ABOVE = {"explore": "ncpl_data.explore.command:explore"}
"""Commands of rooms that stand above this one, by where each lives; imported when called."""


@click.group(cls=LazyPrograms, places=ABOVE, epilog=EPILOG)
@click.version_option(__version__)
def main() -> None:
    """Open pretraining logs as one trusted catalog."""


for command in (
    sources,
    ingest,
    record,
    convert,
    validate,
    submit,
    rejects,
    review,
    query,
    show,
    snapshot,
    stats,
    coverage,
    families,
    conflicts,
    check,
    repair,
    compact,
    gc,
    export,
    publish,
    pull,
):
    main.add_command(command)
