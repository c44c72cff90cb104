"""Files of one's own runs, whoever wrote them: configurations with what they gave.

Read are JSON, JSONL and CSV in our names or another program's, documents of the schema, and the
logs `ncpl-data convert` reads, where the data half is installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncpl.data.documents import documents_in, is_document, own_run
from ncpl.data.own_runs import OUTCOME
from ncpl.data.progress import LOSSES, imported
from ncpl.errors import ConfigError
from ncpl.evaluate.configurations import read_configs
from ncpl.forms.files import OWN, config_of, is_beside


def read_own_runs(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the runs of a file, and what is to be said of how they were read.

    An empty file holds no run: a population answers without one too. Raises ConfigError, naming
    the place, for what is no run, or for losses of two metrics, which do
    not compare.
    """
    if file.is_dir() or (file.suffix.lower() not in OWN and str(file) != "-"):
        values, notes = imported(file)
    else:
        values, notes = documents_in(read_configs(file, may_be_empty=True)), []
    told: dict[str, None] = dict.fromkeys(notes)
    runs = [_run(value, file, i, told) for i, value in enumerate(values, start=1)]
    metrics = sorted({str(run.pop("final_loss_metric", "")) for run in runs} - {""})
    if len(metrics) > 1:
        raise ConfigError(
            f"{file}: losses of {', '.join(metrics)} do not compare; keep the runs of one"
        )
    return runs, list(told)


def _run(
    value: Mapping[str, Any], file: Path, number: int, told: dict[str, None]
) -> dict[str, Any]:
    """Return one run, flat, in our names; what was decided in reading it goes into `told`."""
    where = f"{file} run {number}"
    if is_document(value):
        return own_run(value, where)
    config = {k: v for k, v in value.items() if k not in OUTCOME}
    outcome = {k: value[k] for k in OUTCOME if value.get(k) is not None}
    given = [name for name in LOSSES if config.get(name) is not None]
    if given and not outcome:
        if len(given) > 1:
            raise ConfigError(
                f"{where} has {' and '.join(given)}; call the one that counts final_loss"
            )
        outcome["final_loss"] = config.pop(given[0])
        told[f"{given[0]} is read as final_loss, nats per token"] = None
    for name in [n for n in config if is_beside(n)]:
        del config[name]
        told[f"not read: {name}"] = None
    found, understood = config_of(config, str(file), number)
    if understood is not None:
        for name, origin in understood.origins.items():
            if origin != name:
                told[f"{name} is read from {origin}"] = None
    with contextlib.suppress(ValueError, TypeError):  # a cell of a table is text
        if "final_loss" in outcome:
            outcome["final_loss"] = float(outcome["final_loss"])
    return found | outcome
