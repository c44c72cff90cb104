"""The configurations of a file, whoever wrote it, and what was understood of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncpl.data.checks import is_number
from ncpl.data.documents import documents_in, flat_config, is_document
from ncpl.data.fields import KNOWN
from ncpl.data.slips import nearest_field, unknown_names
from ncpl.errors import ConfigError
from ncpl.evaluate.configurations import read_configs
from ncpl.forms.names import TABLES, program_of
from ncpl.forms.raw import Raw, flattened
from ncpl.forms.understand import Understood, read_form, understand

log = logging.getLogger(__name__)
OWN = (".json", ".jsonl", ".csv", "")
"""Endings of the files that hold one configuration or many in names of ours."""


def configs_of(
    file: Path, kind: str | None = None, beside: tuple[Path, ...] = (),
    given: Mapping[str, Any] | None = None,
) -> tuple[list[dict[str, Any]], list[Understood]]:  # fmt: skip
    """Return configurations in our fields, and what was understood where names were not ours.

    `beside` are other files of the same run, `given` values that none of them says. Raises
    ConfigError where a file can not be read, or asks for what it lacks.
    """
    is_table = kind is None and file.suffix.lower() not in OWN and str(file) != "-"
    if beside or file.is_dir() or is_table:
        found = read_form(file, list(beside), given)
        return [found.check()], [found]
    configs, told = [], []
    is_csv = (kind or file.suffix.lstrip(".").lower()) == "csv"
    values = documents_in(read_configs(file, kind))
    if is_csv:  # a table of somebody's has columns of its own
        columns = dict.fromkeys(name for row in values for name in row)
        beside_ours = [name for name in columns if is_beside(name)]
        if beside_ours:
            log.warning("%s: not read: %s", file, ", ".join(beside_ours))
        values = [{k: v for k, v in row.items() if k not in beside_ours} for row in values]
    for number, config in enumerate(values, start=1):
        plain = flat_config(config) if is_document(config) else config
        own, understood = config_of(plain, str(file), number, given)
        configs.append(own)
        told += [understood] if understood is not None else []
    return configs, told


def config_of(
    config: Mapping[str, Any], file: str, number: int, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], Understood | None]:
    """Return a configuration in our fields, and what was understood where names were not ours.

    `number` is its place in the file. Raises ConfigError asking for what it lacks.
    """
    if _is_ours(config) and not given:
        return dict(config), None
    where = Path(file if number == 1 else f"{file} configuration {number}")
    found = understand([(where, Raw("json", _flat(config)))], given or {})
    if found.program == "own":  # a name nobody knows is a slip of ours: it is told as one
        found.config |= {name: config[name] for name in found.unread if name in config}
    if slips := unknown_names(found.config):
        notes = "".join(f"; {note}" for note in found.notes)
        raise ConfigError(f"configuration {number}: {slips}{notes}")
    found.check()
    return found.config, found


def is_beside(name: str) -> bool:
    """Return whether a name is neither a field nor near to one: something of a table's own."""
    return name not in KNOWN and name not in TABLES["own"] and nearest_field(name) is None


def _is_ours(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration needs no understanding: names of ours, numbers as such.

    One with a name that no program has is ours too, with a slip.
    """
    if any(isinstance(config.get(name), str) and is_number(name) for name in config):
        return False
    if "params_total" in config and "params_non_embedding" not in config:
        return False  # what counts embeddings is not the size that the model reads
    names = set(config) - KNOWN
    return not names or (
        program_of(_flat(config)) == "own" and not any(name in TABLES["own"] for name in names)
    )


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted names, but for an optimizer's own numbers, which are one field."""
    extra = {k: v for k, v in config.items() if k == "optimizer_extra"}
    try:
        return flattened({k: v for k, v in config.items() if k not in extra}) | extra
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a configuration of {error}") from error
