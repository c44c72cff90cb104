"""The programs `ncpl` and `ncpl-train`: what commands there are.

A command is imported when it is called, so that --help answers at once.
"""

from __future__ import annotations

import importlib

import click

from ncpl.commands.train import train_main
from ncpl.version import __version__
from ncpl_data.terminal.console import Programs

__all__ = ["main", "train_main"]

COMMANDS = {
    "adapt": "ncpl.commands.adapt:adapt",
    "bench": "ncpl.commands.bench:bench",
    "card": "ncpl.commands.evaluate:card",
    "downstream": "ncpl.commands.downstream:downstream",
    "eval": "ncpl.commands.evaluate:evaluate",
    "gate": "ncpl.commands.gate:gate",
    "laws": "ncpl.commands.laws:laws",
    "plan": "ncpl.commands.plan:plan",
    "plot": "ncpl.commands.plot:plot",
    "predict": "ncpl.commands.predict:predict",
}
"""Where each subcommand lives."""


class LazyGroup(Programs):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by name, imported if need be."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = COMMANDS[cmd_name].split(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found


@click.group("ncpl", cls=LazyGroup)
@click.version_option(__version__)
def main() -> None:
    """Predict what a pretraining run will give, before it runs.

    Example: ncpl predict config.json
    """


if __name__ == "__main__":  # torchrun starts modules: torchrun -m ncpl.cli train ...
    train_main.name = "train"
    main.add_command(train_main)
    main()
