"""What a value of a sane run may be: the ranges `ncpl predict` has, so that the two agree.

The schema is wider: what others published is kept as it is. A document is somebody's own run, and
a value out of these ranges is a wrong unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from ncpl_data.ingest.submissions.sections import Section
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.validate import Problem

RANGES: Mapping[str, tuple[float, float]] = {
    "learning_rate": (1e-8, 1.0),
    "min_learning_rate": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "grad_clip_norm": (0.0, 1e6),
    "n_layers": (1, 1e4),
    "n_heads": (1, 1e4),
    "sequence_length": (8, 1e8),
    "batch_size_sequences": (1, 1e7),
    "train_steps": (1, 1e9),
    "warmup_steps": (0, 1e8),
}
"""By column of the table `runs`. Each is that of the same field in ncpl/data/fields.py, and a test
holds the two together. Sizes and tokens are left out: a toy run is valid, though no model answers
for it; `submit` says so."""


def check_ranges(document: Section) -> Iterator[Problem]:
    """Each value lies where that of a sane run does."""
    for path, pointer, low, high in places():
        place: object = document
        for key in path:
            place = place.get(key) if isinstance(place, Mapping) else None
        if isinstance(place, int | float) and not low <= place <= high:
            yield Problem(
                pointer,
                "range",
                f"{place:,}" if isinstance(place, int) else f"{place:g}",
                f"{low:g} to {high:g}",
                "Outside it lies another unit, or a run that no model can learn from.",
            )


@cache
def places() -> tuple[tuple[tuple[str, ...], str, float, float], ...]:
    """Return path, pointer and range of each field that has one."""
    fields = {field.column: field for field in run_fields()}
    return tuple(
        (fields[name].path, fields[name].pointer, low, high) for name, (low, high) in RANGES.items()
    )
