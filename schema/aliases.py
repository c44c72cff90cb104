"""What other programs call our fields: read from aliases.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ncpl_data.schema.fields import run_fields

SHAPES = {
    "cos": "cosine",
    "cosine_annealing": "cosine",
    "cosineannealinglr": "cosine",
    "cosine_with_warmup": "cosine",
    "warmup_cosine": "cosine",
    "cosine_decay": "cosine",
    "cosine_with_min_lr": "cosine",
    "lin": "linear",
    "linear_with_warmup": "linear",
    "warmup_linear": "linear",
    "linear_decay": "linear",
    "const": "constant",
    "constant_with_warmup": "constant",
    "warmup_stable_decay": "wsd",
    "trapezoidal": "wsd",
    "inverse-square-root": "inverse_sqrt",
    "inv_sqrt": "inverse_sqrt",
    "rsqrt": "inverse_sqrt",
}
"""Other names of the shapes of a schedule."""


def schedule_shape(text: str) -> str:
    """Return the one name of a schedule's shape: `cos` is `cosine`."""
    name = text.strip().lower().rsplit(".", 1)[-1]
    return SHAPES.get(name, name)


@dataclass(frozen=True)
class Alias:
    """One name of another program for a field of ours."""

    name: str
    """Dotted path in that program's configuration."""
    pointer: str
    transform: str | None = None


@cache
def alias_tables() -> dict[str, tuple[Alias, ...]]:
    """Return the aliases of each program, in the order of the file."""
    content = tomllib.loads((files("ncpl_data.schema") / "aliases.toml").read_text("utf-8"))
    return {
        program: tuple(read_alias(name, spec) for name, spec in table.items())
        for program, table in content.items()
    }


def read_alias(name: str, spec: Any) -> Alias:
    """Return one entry of the file."""
    if isinstance(spec, str):
        return Alias(name, spec)
    return Alias(name, spec["field"], spec["as"])


@cache
def known_names() -> dict[str, str]:
    """Return the pointer behind each name anybody uses; our own names come first."""
    found: dict[str, str] = {}
    for field in run_fields():
        found.setdefault(field.path[-1], field.pointer)
        found.setdefault(field.column, field.pointer)
    for table in alias_tables().values():
        for alias in table:
            found.setdefault(alias.name.lower(), alias.pointer)
    for table in alias_tables().values():
        for alias in table:
            last = alias.name.lower().rsplit(".", 1)[-1]
            if not last.isdigit():
                found.setdefault(last, alias.pointer)
    return found


def pointer_for(name: str) -> str | None:
    """Return the field another program's name means, if one is known."""
    return known_names().get(name.lower().replace("-", "_").replace(" ", "_"))
