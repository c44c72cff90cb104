"""Configurations to predict, read from a JSON, JSONL or CSV file or from a snapshot."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncpl.data.checks import check_config, is_number
from ncpl.data.consistency import checked
from ncpl.data.fields import derive
from ncpl.data.slips import number_hint
from ncpl.data.snapshot import Runs
from ncpl.data.unread import NOT_READ
from ncpl.errors import ConfigError
from ncpl.model.predictor import Predictor

MAX_CHARACTERS = 2**28


def read_configs(
    file: Path, kind: str | None = None, *, may_be_empty: bool = False
) -> list[dict[str, Any]]:
    """Return the configurations of a file; "-" is standard input.

    `kind` is json or csv; by the ending of the file if not given. Raises ConfigError, naming the
    line, when the file is not of that kind or holds no configuration, unless it may be empty.
    """
    try:
        if str(file) == "-":
            text = sys.stdin.read(MAX_CHARACTERS + 1).removeprefix("\ufeff")
        else:
            with file.open(encoding="utf-8-sig") as stream:
                text = stream.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} cannot be read: expected JSON, JSONL or CSV as UTF-8 text, not "
            "compressed, nor as UTF-16"
        ) from error
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"{file} has more than {MAX_CHARACTERS:,} characters; predict it in parts"
        )
    if may_be_empty and text.strip() in ("", "[]"):
        return []
    if (kind or file.suffix.lstrip(".").lower()) == "csv":
        return parse_csv(text, str(file))
    return parse_json(text, str(file))


def parse_json(text: str, where: str) -> list[dict[str, Any]]:
    """Return JSON objects: one, a list, or one a line. Raises ConfigError for anything else."""
    try:
        found = _strict(text)
    except json.JSONDecodeError as whole:
        lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
        found = []
        for number, line in lines:
            try:
                found.append(_strict(line))
            except json.JSONDecodeError as error:
                # A broken object over several lines is told by its own place, not by its first.
                place, told = (whole.lineno, whole) if line.strip() in "[{" else (number, error)
                raise ConfigError(
                    f"{where} line {place}: not JSON ({told.msg}); expected an object, a list of "
                    "objects, or one object a line"
                ) from error
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{where} line {number}: {_told(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {_told(error)}") from error
    configs = found if isinstance(found, list) else [found]
    if not configs or not all(isinstance(config, dict) for config in configs):
        raise ConfigError(f"{where}: expected JSON objects with the fields of a run")
    return configs


def _strict(text: str) -> Any:
    """Return the value of a JSON text, none of whose keys is given twice.

    Raises ValueError for such a key or a number of thousands of digits, RecursionError for a text
    that is nested without end.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice} is given twice in one object")
        return found

    return json.loads(text, object_pairs_hook=unique)


def _told(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def parse_csv(text: str, where: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose header names fields; an empty cell is an absent field.

    Raises ConfigError for a row of another length, a cell that is no number where the field is
    one, or a table without rows.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    configs = []
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if len(names) == 1 and (marks := [m for m in ";\t|" if m in names[0]]):
            raise ConfigError(
                f"{where} line 1: cells are separated by {marks[0]!r}; expected ','. Save it "
                "as CSV with commas between cells and points in numbers"
            )
        if names and names[0].lower().startswith("sep="):
            raise ConfigError(f"{where} line 1: {names[0]!r} is a spreadsheet's note; remove it")
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{where} line 1: {name} is named twice")
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
    if not is_number(name):
        return text
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"{place}: {name} is {text!r}; expected a number{number_hint(text)}"
        ) from error


def check_all(configs: list[dict[str, Any]], bundle: Predictor) -> list[dict[str, Any]]:
    """Return the configurations, each plausible by itself. Raises ConfigError for the first other.

    The same order of words as of `Bundle.predict`: "configuration 3: ...".
    """
    read = {name for fit in bundle.fits for name in fit.fields}
    return [
        checked(config, where=f"configuration {i}", read=read)
        for i, config in enumerate(configs, start=1)
    ]


def whose_losses(
    bundle: Predictor,
    configs: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Return the sources that answered where none was named, and what their losses are.

    Metric, data and tokenizer; "" where the source does not state them. A loss is comparable with
    others of its source only: it is no forecast for other data.
    """
    asked = dict.fromkeys(
        str(prediction["source"])
        for config, prediction in zip(configs, predictions, strict=True)
        if config.get("source") is None
    )
    names = ("source", "metric", "dataset", "tokenizer", "unit")
    found = {fit.family[0]: dict(zip(names, fit.family, strict=True)) for fit in bundle.fits}
    return [found[source] for source in asked if source in found]


def of_snapshot(runs: Runs, bundle: Predictor) -> tuple[list[int], list[dict[str, Any]], list[str]]:
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
        configs.append({name: value for name, value in own.items() if name not in NOT_READ})
    return places, configs, refused
