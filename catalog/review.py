"""Decisions on contributed runs: files of the catalog that say who accepted or rejected what, why.

A decision is one immutable file `reviews/<number>.json`, created only where that number is free, so
that no two maintainers overwrite each other. It holds for a run as it was: a run that is replaced
waits again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl_data.catalog.errors import ConflictError, InputError, IntegrityError
from ncpl_data.catalog.folder import Storage
from ncpl_data.catalog.outcome import now

FORMAT = "ncpl-review/1"
FOLDER = "reviews"
VERDICTS = ("accepted", "rejected")
MAX_TRIES = 50
MAX_REASON = 2000


@dataclass(frozen=True)
class Decision:
    """What was decided on one run."""

    run_id: str
    run_hash: str
    """Content hash of the run it was decided on."""
    verdict: str
    reason: str
    by: str | None
    at: str
    """Time, UTC."""


def decisions(folder: Storage) -> dict[tuple[str, str], Decision]:
    """Return the decision that stands for each run and content, the latest one.

    Raises IntegrityError if a file is damaged.
    """
    found: dict[tuple[str, str], Decision] = {}
    for name in sorted(folder.names(FOLDER)):
        for one in read_file(name, folder.read(name)):
            found[one.run_id, one.run_hash] = one
    return found


def read_file(name: str, content: bytes) -> list[Decision]:
    """Return the decisions of one file. Raises IntegrityError if it is damaged."""
    try:
        data = json.loads(content)
        if data["format"] != FORMAT or data["verdict"] not in VERDICTS:
            raise ValueError(f"format {data['format']}, verdict {data['verdict']}")
        return [
            Decision(
                run_id=str(run["run_id"]),
                run_hash=str(run["run_hash"]),
                verdict=data["verdict"],
                reason=str(data["reason"]),
                by=data.get("by"),
                at=str(data["at"]),
            )
            for run in data["runs"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"{name} is damaged ({error}); remove it, and decide on its runs again: "
            "ncpl-data review list"
        ) from error


def decide(
    folder: Storage,
    hashes: Mapping[str, str],
    verdict: str,
    reason: str,
    by: str | None = None,
) -> str:
    """Write one decision on some runs, given by id with their content hash; return its file's name.

    Raises InputError for an empty reason, ConflictError if others kept writing at the same time.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InputError(f"a decision needs a reason of 1 to {MAX_REASON:,} characters: --reason")
    content: dict[str, Any] = {
        "format": FORMAT,
        "verdict": verdict,
        "reason": reason.strip(),
        "by": by,
        "at": now(),
        "runs": [{"run_id": i, "run_hash": h} for i, h in sorted(hashes.items())],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False).encode()
    for _ in range(MAX_TRIES):
        name = f"{FOLDER}/{next_number(folder.names(FOLDER)):010d}.json"
        if folder.put_bytes_if_absent(name, text):
            return name
    raise ConflictError(f"{folder.place}: others decided at the same time; try again")


def next_number(names: Sequence[str]) -> int:
    """Return the first free number after those of some files."""
    numbers = (name.rpartition("/")[2].partition(".")[0] for name in names)
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=0)
