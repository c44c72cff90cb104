"""The seal of a bundle: SHA256SUMS, which holds the hash of each of its files.

`sha256sum -c SHA256SUMS` reads it too. metrics.jsonl, a log that a training appends to, is no part.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

from ncpl.errors import BundleError

log = logging.getLogger(__name__)
SEAL = "SHA256SUMS"
FILES = (
    "README.md", "card.json", "config.json", "draws.safetensors", "experts.safetensors",
    "known.parquet",
    "prefix.safetensors", "scores.json", "tokenizer.json", "weights.safetensors",
    "community/README.md", "community/SHA256SUMS", "community/card.json",
    "community/draws.safetensors",
)  # fmt: skip
"""What bundles of all kinds consist of; a folder may hold other files, which nothing reads."""
MOST_BYTES = 1 << 16
LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def seal(folder: Path) -> None:
    """Write the hashes of the files of a bundle that stand in its folder."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in FILES if (folder / name).is_file()]
    (folder / SEAL).write_text("".join(lines), encoding="utf-8")


def check_seal(folder: Path) -> None:
    """Hold each file against its hash; a bundle without hashes (an older one) is noted only.

    Raises BundleError, naming the file, where one is missing, changed or not listed.
    """
    path = folder / SEAL
    if not path.exists():
        log.warning("%s has no %s: its files are not checked as a whole", folder, SEAL)
        return
    listed = read_seal(path)
    for name in FILES:
        file = folder / name
        if name in listed and not file.is_file():
            raise BundleError(f"{file} is missing, but {SEAL} lists it; {_HELP}")
        if file.is_file() and listed.get(name) != _sha256(file):
            what = "does not have the hash in" if name in listed else "is not listed in"
            raise BundleError(f"{file} {what} {SEAL}: it was changed since; {_HELP}")


_HELP = "take the bundle from where it came from, or train it again"


def read_seal(path: Path, where: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file that a SHA256SUMS lists, by name.

    Raises BundleError, with `where` it came from, for a line that names no file of a bundle.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{where or path} can not be read ({error}); {_HELP}") from error
    found = {}
    # By the line feed alone: other line breaks, as a flipped bit makes, are damage.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        match = LINE.fullmatch(line)
        if match is None or match[2] not in FILES:
            raise BundleError(
                f"{where or path}, line {number}: expected a SHA-256, two spaces and a file of a "
                f"bundle; {_HELP}"
            )
        found[match[2]] = match[1]
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
