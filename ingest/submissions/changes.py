"""Field by field, what a new version of a run changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl_data.catalog.record import Run
from ncpl_data.schema.fields import run_fields


@dataclass(frozen=True)
class ContentChange:
    """One value that a submission adds, changes or removes."""

    run_id: str
    pointer: str
    before: Any
    after: Any


def differences(before: Run, after: Run) -> Iterator[ContentChange]:
    """Yield each value in which two versions of a run differ."""
    old, new = before.row(), after.row()
    for f in run_fields():
        a, b = old[f.column], new[f.column]
        if a != b:
            yield ContentChange(after.run_id, f.pointer, a, b)
    old_curves = {c.metric: c for c in before.curves}
    new_curves = {c.metric: c for c in after.curves}
    for metric in sorted({*old_curves, *new_curves}):
        a, b = old_curves.get(metric), new_curves.get(metric)
        if a is None or b is None:
            found = [None if c is None else f"{len(c.step):,} points" for c in (a, b)]
            yield ContentChange(after.run_id, f"/curves/{metric}", *found)
            continue
        common = min(len(a.step), len(b.step))
        unequal = (a.step[:common] != b.step[:common]) | (a.value[:common] != b.value[:common])
        if unequal.any():
            at = int(np.argmax(unequal))
            shown = [f"{c.value[at]:g} at step {c.step[at]}" for c in (a, b)]
            yield ContentChange(after.run_id, f"/curves/{metric}", *shown)
        elif len(a.step) != len(b.step):
            shown = [f"{len(c.step):,} points" for c in (a, b)]
            yield ContentChange(after.run_id, f"/curves/{metric}", *shown)
        elif (a.tokens is None) != (b.tokens is None) or (
            a.tokens is not None and not np.array_equal(a.tokens, b.tokens)  # type: ignore[arg-type]
        ):
            yield ContentChange(
                after.run_id, f"/curves/{metric}/tokens", "other tokens", "these tokens"
            )
    if sorted(map(repr, before.evals)) != sorted(map(repr, after.evals)):
        found = [f"{len(run.evals):,} evaluations" for run in (before, after)]
        yield ContentChange(after.run_id, "/evals", *found)
