"""One bit flips at rest in a bundle: loading reports it, whichever file it is in."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

import ncpl
from ncpl.errors import NcplError
from ncpl.model.bundle import DEFAULT
from ncpl.model.community import load_community

N_FLIPS = 200
"""In each file."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_flipped_bit_of_a_bundle_is_passed_over(tmp_path: Path) -> None:
    draw = random.Random(20261129)
    bundle = Path(shutil.copytree(DEFAULT, tmp_path / "bundle"))
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    outcome: Counter[tuple[str, str]] = Counter()
    for path in files:
        name, content = path.relative_to(bundle).as_posix(), path.read_bytes()
        for _ in range(N_FLIPS):
            flipped = bytearray(content)
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            outcome[name, judged(bundle, name)] += 1
        path.write_bytes(content)
    for name in dict.fromkeys(name for name, _ in outcome):
        told = {what: n for (own, what), n in sorted(outcome.items()) if own == name}
        print(f"\n| {name} | {told}", end="")
    assert {what for _, what in outcome} <= {"reported", "reported of another file"}


def judged(bundle: Path, name: str) -> str:
    """Return what the command that opens a file's part of the bundle says of it."""
    try:
        if name.startswith("community/"):
            load_community(bundle / "community")
        else:
            ncpl.load(bundle)
    except NcplError as error:
        return "reported" if Path(name).name in str(error) else "reported of another file"
    return "passed over"
