"""Keys, passwords and home folders that training scripts leave in logged configurations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

NAMES = re.compile(
    r"(api|access|private|secret|wandb|hf|aws|ssh)[-_.]?key(?:[-_.]?id)?$"
    r"|secret|passw(or)?d|passphrase|credential|(auth|access|api|hf|hub|bearer|refresh)[-_.]?token$"
    r"|^(token|authorization|connection[-_.]?string)$",
    re.IGNORECASE,
)
VALUES = re.compile(
    r"hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}"
    r"|github_pat_[A-Za-z0-9_]{20,}|xox[abps]-[A-Za-z0-9-]{10,}|wandb_v1_[A-Za-z0-9]{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@]+@"
)
REMOVED = "[removed]"

HOMES = re.compile(
    r"(?<![\w:/.-])/(?:[\w.-]+/)*(?:home|homes|Users)/[^/\s:,;\"']+"
    r"|\b[A-Za-z]:\\(?:[^\\\s]+\\)*Users\\[^\\\s:,;\"']+"
)
"""The home folder of somebody at the start of a path; of an address (https://) nothing."""


def is_secret(name: str, value: Any) -> bool:
    """Return whether a text is a key or password, by its name or its look."""
    if not isinstance(value, str) or value in {"", REMOVED}:
        return False
    return bool(NAMES.search(name)) or VALUES.search(value) is not None


def secret_places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each secret inside a configuration."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secret_places(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from secret_places(item, (*path, str(index)))
    elif is_secret(next((p for p in reversed(path) if not p.isdigit()), ""), value):
        yield path


def scrubbed(value: Any, name: str = "") -> Any:
    """Return a configuration with every secret replaced by a mark."""
    if isinstance(value, dict):
        return {key: scrubbed(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed(item, name) for item in value]
    return REMOVED if is_secret(name, value) else value


def without_homes(value: Any) -> Any:
    """Return a configuration whose paths begin with ~ in place of somebody's home folder."""
    if isinstance(value, dict):
        return {key: without_homes(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_homes(item) for item in value]
    return HOMES.sub("~", value) if isinstance(value, str) else value


def without_secrets(text: str) -> str:
    """Return a text with everything that looks like a key replaced by a mark."""
    return VALUES.sub(REMOVED, text)
