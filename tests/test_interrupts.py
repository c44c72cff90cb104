"""Ctrl-C while a command still loads: real programs, real signals, one line and code 130."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = {
    "ncpl-data": ("ncpl_data.ingest.entry", ["query", "select 1", "--catalog", "nowhere"]),
    "ncpl": ("ncpl.entry", ["predict", "nowhere.json"]),
    "ncpl-train": ("ncpl.entry", ["--catalog", "nowhere"]),
}
"""Each program, the module with which our own code begins, and a command that takes a while."""


def start(program: str, *arguments: str, on_interrupt: Any) -> subprocess.Popen[str]:
    """Start a program that tells each module it has imported on stderr."""
    before = signal.signal(signal.SIGINT, on_interrupt)  # whatever pytest was started with
    try:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *arguments],
            env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_imports(process: subprocess.Popen[str], first: str, count: int) -> None:
    """Return once a program has imported a module and so many more."""
    assert process.stderr is not None
    seen = -1
    for line in process.stderr:
        if seen >= 0 or line.split("|")[-1].strip() == first:
            seen += 1
        if seen == count:
            return
    pytest.fail(f"the program ended before {first} and {count} modules more")


@pytest.mark.parametrize("count", [1, 12, 40])
@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupt_while_loading_is_one_line_and_130(program: str, count: int) -> None:
    entry, arguments = PROGRAMS[program]
    process = start(program, *arguments, "--json", on_interrupt=signal.default_int_handler)
    wait_for_imports(process, entry, count)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    (said,) = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert said.startswith("error: interrupted")
    assert process.returncode == 130
    assert json.loads(out)["exit_code"] == 130


def test_an_ignored_interrupt_stays_ignored() -> None:
    """As under nohup: who starts the program decides."""
    process = start("ncpl-data", "--version", on_interrupt=signal.SIG_IGN)
    wait_for_imports(process, "ncpl_data.ingest.entry", 1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith("ncpl-data, version")
