"""Ctrl-C while a program still loads: one line and code 130.

What comes before is Python's own start, up to and with the script that pip wrote, which imports
the module a program begins with: there an interrupt ends the process by the signal, or with a
traceback of Python's.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130


def begin() -> None:
    """Let an interrupt end the process, unless whoever started it wants interrupts ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)


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
