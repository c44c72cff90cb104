"""Where the program `ncpl-data` begins: an interrupt while it still loads is one line, code 130.

What comes before is Python's own start, up to and with the script that pip wrote, which imports
this module: there an interrupt ends the process by the signal, or with a traceback of Python's.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run `ncpl-data`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, leave)
    from ncpl_data.ingest.cli import main as program

    program()


def leave(_number: int, _frame: FrameType | None) -> None:
    """End the process at once: nothing was begun that would have to be undone."""
    if "--json" in sys.argv:
        os.write(1, b'{"error": "interrupted", "exit_code": 130}\n')
    os.write(2, b"error: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def loaded() -> None:
    """Let an interrupt raise KeyboardInterrupt again: from here on the command answers for it."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
