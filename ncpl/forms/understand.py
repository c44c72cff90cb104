"""A configuration as somebody wrote it, in our fields: what was understood, from what, what lacks.

Nothing is guessed: a field is read, or follows from others by a rule that is told, or is absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncpl.data.checks import is_number
from ncpl.data.fields import KNOWN
from ncpl.data.slips import number_hint
from ncpl.errors import ConfigError
from ncpl.forms.derive import derive_fields
from ncpl.forms.names import TABLES, TITLES, program_of
from ncpl.forms.raw import MAX_CHARACTERS, Raw, read_raw

COUNT = re.compile(r"^([+-]?[\d_]*\.?\d+(?:[eE][+-]?\d+)?)\s*([KMBT])?$")
SUFFIX = {None: 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
NEEDED = {
    "params_non_embedding": "non-embedding parameters, or n_layers, d_model and d_ff",
    "train_tokens": "training tokens, or train_steps with batch_size_sequences",
}
AS_TEXT = ("_flavor", "_model_name", "_init_from")
"""Parts that are names, although they may look like counts."""
GIVEN = {"_devices": "n_devices", "_batch_tokens": "batch_tokens", "_params": "params"}
"""What the commonest parts are called where a hand gives them."""
USEFUL = ("learning_rate", "batch_size_sequences", "sequence_length")


@dataclass
class Understood:
    """What a file says of a run, in our fields."""

    where: str
    program: str
    """Whose names they are; "own" for ours and the usual short ones."""
    config: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    """The name in the file, or the rule, behind each field."""
    unread: list[str] = field(default_factory=list)
    """Names in the file that say nothing to us."""
    notes: list[str] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    """What is no field but what one follows from, by its name in the tables."""
    named: dict[str, str] = field(default_factory=dict)
    """The name in the file behind each part."""

    def set(self, name: str, value: Any, origin: str) -> None:
        """State a field, unless it is stated already."""
        if value is not None and name not in self.config:
            self.config[name] = value
            self.origins[name] = origin

    def number(self, part: str) -> float | None:
        """Return a part that is a number, None where it is none or is absent."""
        value = self.parts.get(part)
        is_plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        return value if is_plain else None

    def missing(self) -> list[str]:
        """Return what a prediction needs and the file does not say, each with what would do."""
        told = dict(self.config)
        lacking = [name for name in NEEDED if told.get(name) is None]
        if "train_tokens" in lacking and told.get("nominal_train_tokens"):
            lacking.remove("train_tokens")
        return [f"{name} ({NEEDED[name]})" for name in lacking]

    def check(self) -> dict[str, Any]:
        """Return the configuration. Raises ConfigError that asks for what is missing."""
        lacking = self.missing()
        if not lacking:
            return self.config
        more = [n for n in USEFUL if n not in self.config]
        also = f"; useful too: {', '.join(more)}" if more else ""
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        raise ConfigError(
            f"{self.where} (read as {TITLES[self.program]}) does not say {' and '.join(lacking)}"
            f"{notes}; add: {' '.join(f'--set {n.split()[0]}=...' for n in lacking)}{also}"
        )

    def lines(self) -> list[str]:
        """Return what was understood as text, one line a field, then what was not."""
        found = [f"{self.where}: read as {TITLES[self.program]}"]
        found += [
            f"  {name} = {shown(value)}  ({self.origins[name]})"
            for name, value in self.config.items()
        ]
        if self.unread:
            shown_names = ", ".join(self.unread[:12])
            more = f" and {len(self.unread) - 12} more" if len(self.unread) > 12 else ""
            found.append(f"  not read: {shown_names}{more}")
        return found + [f"  note: {note}" for note in self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return what was understood as plain values."""
        return {
            "file": self.where,
            "program": self.program,
            "fields": {
                name: {"value": value, "origin": self.origins[name]}
                for name, value in self.config.items()
            },
            "not_read": self.unread,
            "notes": self.notes,
        }


def shown(value: Any) -> str:
    """Return a value in a few digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def read_form(
    file: Path, beside: list[Path] | None = None, given: Mapping[str, Any] | None = None
) -> Understood:
    """Return what a file says, with others of the same run beside it and values given by hand.

    A folder stands for the config.json and training_args.json in it. Raises ConfigError where one
    can not be read, or two of them contradict each other.
    """
    files = [file, *(beside or [])]
    if file.is_dir():
        names = ("config.json", "training_args.json", "trainer_args.json")
        files = [file / name for name in names if (file / name).is_file()] + (beside or [])
        if not files:
            raise ConfigError(
                f"{file} cannot be read: a folder without config.json or training_args.json"
            )
    raws = [(path, read_raw(_text(path), str(path), path.suffix)) for path in files]
    return understand(raws, given or {})


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return stream.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: expected UTF-8 text") from error


def understand(raws: list[tuple[Path, Raw]], given: Mapping[str, Any]) -> Understood:
    """Return what the texts of one run say together; what is given by hand comes first."""
    programs = [program_of(raw.values) for _, raw in raws]
    found = Understood(" + ".join(str(path) for path, _ in raws), programs[0])
    for name, value in given.items():
        _take(found, name, GIVEN.get(name, name), value, "given")
    for path, raw in raws:
        for name, text in raw.remarks.items():
            if name in KNOWN:
                _take(found, name, name, text, f"{path.name}: a comment of this project")
    for (path, raw), program in zip(raws, programs, strict=True):
        own = TABLES[program]
        prefix = f"{path.name}: " if len(raws) > 1 else ""
        for name, value in raw.values.items():
            target = own.get(name) or (name if name in KNOWN else None)
            if target is None:
                found.unread.append(name)
            elif value not in (None, ""):
                _take(found, target, name, value, f"{prefix}{name}")
        found.notes += [f"{name} is computed in the file, and was not read" for name in raw.computed
                        if name in own]  # fmt: skip
    derive_fields(found)
    return found


def _take(found: Understood, target: str, name: str, value: Any, origin: str) -> None:
    """Keep one value under our name, as a number where it is one."""
    if target.startswith("_"):
        if target not in found.parts:
            found.parts[target] = (
                value if target in AS_TEXT or target.endswith("_olmo") else (number_of(value))
            )
            found.named[target] = name
        return
    if is_number(target):
        number = number_of(value)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ConfigError(
                f"{found.where}: {name} is {value!r}; expected a number for "
                f"{target}{number_hint(value)}"
            )
        value = number
    elif isinstance(value, str) and target in ("optimizer", "schedule"):
        value = value.strip()
    found.set(target, value, origin)


def number_of(value: Any) -> Any:
    """Return a number of text such as 3e-4, 1_000 or 1.5B; anything else as it is."""
    if not isinstance(value, str):
        return value
    match = COUNT.match(value.strip())
    if match is None:
        return value
    number = float(match[1].replace("_", "")) * SUFFIX[match[2]]
    if not math.isfinite(number):
        return value
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def parse_given(texts: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """Return the values of NAME=VALUE texts; raises ConfigError for anything else."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ConfigError(f"--set {text}: expected NAME=VALUE")
        own = TABLES["own"].get(name.strip(), name.strip())
        if own not in KNOWN and not own.startswith("_"):
            raise ConfigError(
                f"--set {text}: {name.strip()} is no field; they are in schema/FIELDS.md"
            )
        found[own] = number_of(value.strip())
    return found


def is_plain(text: str) -> bool:
    """Return whether a JSON text has fields of ours only, so that nothing is to be understood."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and set(values) <= KNOWN
