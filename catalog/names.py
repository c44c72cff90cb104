"""One name for one data set, tokenizer or publisher: the table data/names.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def table() -> Mapping[str, Any]:
    """Return the table of names as it stands."""
    text = (files("ncpl_data.catalog") / "data" / "names.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def aliases(kind: str) -> Mapping[str, str]:
    """Return the canonical name behind each folded spelling; `kind` is datasets or tokenizers."""
    found: dict[str, str] = {}
    for name, spellings in table()[kind].items():
        for spelling in (name, *spellings):
            found[folded(spelling)] = name
    return found


def folded(name: str) -> str:
    """Return a name without case and punctuation, which people write as they like."""
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def canonical(kind: str, name: str | None) -> str | None:
    """Return the canonical name of a data set or tokenizer; one the table lacks stays as it is."""
    if not name:
        return None
    return aliases(kind).get(folded(name), name)


def publisher(source: str, metric: str | None) -> str:
    """Return whose losses a source's are: a copy's are those of the owner."""
    owners: Mapping[str, str] = table()["publishers"]
    return owners.get(f"{source} {metric}", owners.get(source, source))


def is_public(dataset: str | None) -> bool:
    """Return whether an evaluation set is a fixed public one, the same for every publisher."""
    return dataset in table()["public_evaluation_sets"]["names"]
