"""Which column of a table counts optimizer steps."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.text_rows import number_in
from ncpl_data.schema.hints import spreadsheet_hint

STEP_KEYS = (
    *("train/global_step", "trainer/global_step", "global_step", "train/step", "train/iteration"),
    *("iter", "iteration", "iterations", "iter_num", "train/iter", "num_updates", "train_step"),
    *("optimizer_step", "update_step", "opt_step", "training_step", "step"),
)
"""Names of training steps, the surest first; W&B's own `_step` only counts log calls."""

CALLS = "_step"
NOT_STEPS = re.compile(
    r"token|sample|epoch|time|second|flop|seen|example|doc|byte|memory|mem_|gpu|system|batch_size"
    r"|best|param|seed|micro|batch_idx|_per_|index|rank|count|size|seq|length|loss|ppl|acc",
    re.IGNORECASE,
)
"""Columns that rise and are no steps."""

MICRO = re.compile(r"micro", re.IGNORECASE)


def step_key(rows: Sequence[Mapping[str, Any]], chosen: str | None, where: str) -> str:
    """Return the column that counts optimizer steps.

    Raises InputError where two columns disagree, where a column nobody knows rises beside W&B's
    count of calls, or where there is none.
    """
    names = list(dict.fromkeys(key for row in rows for key in row))
    if chosen is not None:
        if chosen not in names:
            raise InputError(
                f'{where} has no column "{chosen}"; there are: {", ".join(names)[:300]}'
            )
        return chosen
    known = [name for name in STEP_KEYS if name in names and column(rows, name)]
    # Steps of other programs are spelt in many ways: Step, Iteration, Global Step.
    plain = {re.sub(r"[ -]", "_", name.lower()): name for name in names}
    known += [
        plain[name]
        for name in STEP_KEYS
        if name in plain and plain[name] not in known and column(rows, plain[name])
    ]
    if known:
        first = column(rows, known[0])
        for other in known[1:]:
            values = column(rows, other)
            both = [(first[i], values[i]) for i in first.keys() & values.keys()]
            if any(abs(a - b) > 1 for a, b in both):
                raise InputError(
                    f'{where}: "{known[0]}" and "{other}" both count steps and disagree '
                    f"({first[max(first)]:g} and {values[max(values)]:g} at the end). Which are "
                    f"optimizer steps? --step-key {known[0]}"
                )
        return known[0]
    calls = column(rows, CALLS)
    for name in names:
        values = column(rows, name)
        if name == CALLS or name.startswith("_") or NOT_STEPS.search(name) or len(values) < 3:
            continue
        in_order = [values[i] for i in sorted(values)]
        rises = all(a < b for a, b in pairwise(in_order))
        offsets = {values[i] - calls[i] for i in values if i in calls}
        if rises and len(offsets) > 1:
            raise InputError(
                f'{where}: "{name}" rises apart from _step ({in_order[-1]:g} at the end): does it '
                f"count optimizer steps? --step-key {name}, or --step-key _step"
            )
    if not calls:
        for name in (plain[key] for key in STEP_KEYS if key in plain):
            said = [row[name] for row in rows if row.get(name) not in (None, "")]
            odd = [value for value in said if not column([{name: value}], name)]
            if odd:
                hint = spreadsheet_hint(str(odd[0])[:200])
                raise InputError(
                    f'{where}: {name} is "{str(odd[0])[:40]}"; expected whole numbers of steps'
                    f"{'. ' + hint if hint else ''}"
                )
        raise InputError(
            f"{where} has no column of steps; there are: {', '.join(names)[:300]}. Name it: "
            "--step-key NAME (a table with one row a run needs --mapping FILE.toml)"
        )
    return CALLS


def column(rows: Sequence[Mapping[str, Any]], name: str) -> dict[int, float]:
    """Return the whole numbers of a column by row; {} where one of its values is something else."""
    found = {}
    for index, row in enumerate(rows):
        value = row.get(name)
        if value is None or value == "":
            continue
        number = number_in(value)
        if number is None or math.isnan(number) or number != int(number):
            return {}
        found[index] = number
    return found
