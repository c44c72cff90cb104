"""Output that can not be written: a device that is always full, as Linux has."""

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="Linux only")
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("ncpl-data", ["sources"]),
        ("ncpl-data", ["sources", "--json"]),
        ("ncpl", ["laws", "list"]),
    ],
)
def test_a_full_disk_is_one_sentence(program: str, arguments: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output: No space left on device\n"
