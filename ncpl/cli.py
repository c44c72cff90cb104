"""The programs `ncpl` and `ncpl-train`: what commands there are.

A command is imported when it is called, so that --help answers at once.
"""

from __future__ import annotations

import click

from ncpl.commands.train import train_main
from ncpl.version import __version__
from ncpl_data.terminal.console import LazyPrograms

__all__ = ["main", "train_main"]

COMMANDS = {
    "adapt": "ncpl.commands.adapt:adapt",
    "bench": "ncpl.commands.bench:bench",
    "card": "ncpl.commands.evaluate:card",
    "downstream": "ncpl.commands.downstream:downstream",
    "eval": "ncpl.commands.evaluate:evaluate",
    "forecast": "ncpl.commands.forecast:forecast",
    "gate": "ncpl.commands.gate:gate",
    "laws": "ncpl.commands.laws:laws",
    "plan": "ncpl.commands.plan:plan",
    "plot": "ncpl.commands.plot:plot",
    "predict": "ncpl.commands.predict:predict",
}
"""Where each subcommand lives."""


@click.group("ncpl", cls=LazyPrograms, places=COMMANDS)
@click.version_option(__version__)
def main() -> None:
    """Predict what a pretraining run will give, before it runs.

    Example: ncpl predict config.json
    """


if __name__ == "__main__":  # torchrun starts modules: torchrun -m ncpl.cli train ...
    train_main.name = "train"
    main.add_command(train_main)
    main()
