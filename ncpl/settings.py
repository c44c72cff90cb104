"""Settings as a frozen dataclass: read from TOML, checked by key and type, known by their hash."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from ncpl.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all settings share; a subclass adds fields, each with a default."""

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Values a field may have, where they are few."""

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Return the settings of a file. Raises ConfigError for an unknown key or a wrong type."""
        return cls.from_dict(read_toml(path), where=str(path))

    @classmethod
    def from_dict(cls, raw: dict[str, Any], *, where: str) -> Self:
        """Return settings from plain values; `where` names their origin in errors."""
        default = cls()
        names = [field.name for field in dataclasses.fields(cls)]
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"{where}: unknown key {name!r}{hint}")
            values[name] = cls._cast(name, value, getattr(default, name), where)
        return cls(**values)

    @classmethod
    def _cast(cls, name: str, value: Any, default: Any, where: str) -> Any:
        if isinstance(default, tuple) and isinstance(value, list | tuple):
            return tuple(str(item) for item in value)
        if isinstance(default, float) and isinstance(value, int | float) and value is not True:
            return float(value)
        if type(value) is not type(default):
            expected = "a list of names" if isinstance(default, tuple) else type(default).__name__
            raise ConfigError(f"{where}: {name} is {value!r}; expected {expected}")
        allowed = cls.CHOICES.get(name)
        if allowed and value not in allowed:
            raise ConfigError(f"{where}: {name} is {value!r}; expected {' or '.join(allowed)}")
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a card stores them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    def sha256(self) -> str:
        """Return the hash by which a bundle knows its configuration."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_toml(path: Path) -> dict[str, Any]:
    """Return a file's table. Raises ConfigError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
