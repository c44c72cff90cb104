"""Where the programs `ncpl` and `ncpl-train` begin."""

from __future__ import annotations

from ncpl_data.terminal.interrupt import begin


def main() -> None:
    """Run `ncpl`."""
    begin()
    from ncpl.cli import main as program

    program()


def train_main() -> None:
    """Run `ncpl-train`."""
    begin()
    from ncpl.commands.train import train_main as program

    program()
