"""A configuration file that lies beside a log: JSON, YAML or TOML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.schema.text import TextError, check_characters, decode
from ncpl_data.schema.yaml_text import parse_yaml


def read_config(path: Path) -> dict[str, Any]:
    """Return a configuration file (JSON, YAML or TOML) as a dict.

    Raises InputError if it can not be read.
    """
    import tomllib

    found: Any
    try:
        text = decode(path.read_bytes())
        if path.suffix == ".toml":
            return tomllib.loads(text)
        if path.suffix in (".yaml", ".yml"):
            found = next(iter(parse_yaml(text)), (1, {}))[1]
        else:
            found = json.loads(text)  # programs log NaN; what is not finite is left out later
            check_characters(found)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (TextError, ValueError, OSError) as error:
        raise InputError(f"{path} can not be read: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; expected an object")
    return found
