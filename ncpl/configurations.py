"""Configurations to predict, read from a JSON, JSONL or CSV file or from a snapshot."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncpl.bundle import Bundle
from ncpl.data import Runs
from ncpl.errors import ConfigError
from ncpl.features import FIELDS, check_config, derive


def read_configs(file: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return the configurations of a file; "-" is standard input.

    `kind` is json or csv; by the ending of the file if not given. Raises ConfigError, naming the
    line, when the file is not of that kind or holds no configuration.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if (kind or file.suffix.lstrip(".").lower()) == "csv":
        return parse_csv(text, str(file))
    return parse_json(text, str(file))


def parse_json(text: str, where: str) -> list[dict[str, Any]]:
    """Return JSON objects: one, a list, or one a line. Raises ConfigError for anything else."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = []
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                found += [json.loads(line)] if line.strip() else []
            except json.JSONDecodeError as error:
                raise ConfigError(
                    f"{where} line {number}: not JSON ({error.msg}); expected an object, a list of "
                    "objects, or one object a line"
                ) from error
    configs = found if isinstance(found, list) else [found]
    if not configs or not all(isinstance(config, dict) for config in configs):
        raise ConfigError(f"{where}: expected JSON objects with the fields of a run")
    return configs


def parse_csv(text: str, where: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose header names fields; an empty cell is an absent field.

    Raises ConfigError for a row of another length, a cell that is no number where the field is
    one, or a table without rows.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    configs = []
    try:
        for row in reader:
            place = f"{where} line {reader.line_num}"
            if None in row or None in row.values():
                count = len(reader.fieldnames or ())
                raise ConfigError(f"{place}: expected {count} cells, one for each name in line 1")
            configs.append(
                {
                    name.strip(): _cell(name.strip(), text.strip(), place)
                    for name, text in row.items()
                    if text.strip()
                }
            )
    except csv.Error as error:
        raise ConfigError(f"{where} line {reader.line_num}: not CSV ({error})") from error
    if not configs:
        raise ConfigError(f"{where}: expected a line of field names and a line for each run")
    return configs


def _cell(name: str, text: str, place: str) -> Any:
    if name not in FIELDS or FIELDS[name].kind == "category":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{place}: {name} is {text!r}; expected a number") from error


def of_snapshot(runs: Runs, bundle: Bundle) -> tuple[list[int], list[dict[str, Any]], list[str]]:
    """Return places and configurations of the runs a bundle can answer for; why not the others."""
    places, configs, refused = [], [], []
    for place, (config, family) in enumerate(zip(runs.configs, runs.family, strict=True)):
        own = dict(config) | {"source": family[0]}
        try:
            check: Mapping[str, Any] = check_config(own, where=runs.run_ids[place])
            bundle.fit_for(derive(check))
        except ConfigError as error:
            refused.append(str(error))
            continue
        places.append(place)
        configs.append(own)
    return places, configs, refused
