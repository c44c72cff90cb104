"""Where the program `ncpl-data` begins."""

from __future__ import annotations

from ncpl_data.terminal.interrupt import begin


def main() -> None:
    """Run `ncpl-data`."""
    begin()
    from ncpl_data.ingest.cli import main as program

    program()
