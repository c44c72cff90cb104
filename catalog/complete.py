"""A run with what follows from what it says: sizes, budget, compute, family; each with its rule.

A source's runs are completed when they are ingested. A submitted document is kept as it was given;
its run is completed where it is learned from: in a snapshot, a split, a count of what is there.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.budget import budget, flops
from ncpl_data.catalog.canonical import canonical_json
from ncpl_data.catalog.families import RULE as FAMILY_RULE
from ncpl_data.catalog.families import SHAPE_COLUMNS, Row, family_of
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.sizes import sizes

SIZE_COLUMNS = (*SHAPE_COLUMNS, "params_non_embedding", "n_experts", "sequence_length")


@lru_cache(maxsize=4096)
def sizes_of(values: tuple[Any, ...]) -> dict[str, tuple[int, str]]:
    """Return the sizes that follow from values of `SIZE_COLUMNS`; runs of one shape share them."""
    return sizes(dict(zip(SIZE_COLUMNS, values, strict=True)))


def what_follows(row: Row) -> dict[str, tuple[Any, str]]:
    """Return every value that a run's own values give by rule: column to value and rule."""
    full = {k: v for k, v in row.items() if v is not None}
    follows: dict[str, tuple[Any, str]] = {**sizes_of(tuple(map(full.get, SIZE_COLUMNS)))}
    full |= {column: value for column, (value, _) in follows.items()}
    follows |= budget(full)
    full |= {column: value for column, (value, _) in follows.items()}
    if "train_flops" not in full and (compute := flops(full)) is not None:
        follows["train_flops"] = compute
    if "loss_family" not in full and (family := family_of(full)) is not None:
        follows["loss_family"] = (family.key, FAMILY_RULE)
    return follows


def complete(run: Run) -> Run:
    """Return a run with every value its own values give by rule; what is stated stays.

    Complete again, a run stays as it is.
    """
    follows = what_follows(vars(run))
    if not follows:
        return run
    values = {column: value for column, (value, _) in follows.items()}
    return run.with_values(**values, origins={**(run.origins or {}), **origins_of(follows)})


def complete_rows(runs: pa.Table, sources: Collection[str]) -> pa.Table:
    """Return the table `runs` with the rows of some sources completed."""
    wanted = pc.is_in(runs["source"], pa.array(sorted(sources), type=pa.string()))
    if not pc.any(wanted).as_py():
        return runs
    rows = runs.filter(wanted).to_pylist()
    for row in rows:
        follows = what_follows(row)
        if follows:
            stated = json.loads(row["origins"]) if row["origins"] else {}
            row |= {column: value for column, (value, _) in follows.items()}
            row["origins"] = canonical_json(stated | origins_of(follows))
    done = pa.Table.from_pylist(rows, schema=runs.schema)
    return pa.concat_tables([runs.filter(pc.invert(wanted)), done]).sort_by("run_id")


def origins_of(follows: dict[str, tuple[Any, str]]) -> dict[str, dict[str, str]]:
    """Return the origins of values that follow by rule."""
    return {column: {"kind": "derived", "rule": rule} for column, (_, rule) in follows.items()}
