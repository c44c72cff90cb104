"""Training runs that the model can not tell apart, and whose losses lie far apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from ncpl.data.fields import FIELDS, KNOWN

FAMILY = ("source", "final_loss_metric", "dataset", "tokenizer", "final_loss_unit")
READ = tuple(sorted({*FIELDS, "optimizer_extra", "decay_steps"} & KNOWN | {"optimizer_extra"}))
"""Columns of a snapshot that a fit reads, or derives from."""


def told(folder: Path) -> list[str]:
    """Return a sentence for each source whose training runs the model learns the mean of.

    Empty where the schema package, which holds the rule, is not installed.
    """
    try:
        from ncpl_data.schema.indistinct import indistinct
    except ImportError:
        return []
    splits = pq.read_table(folder / "splits.parquet").to_pylist()
    train = {row["run_id"] for row in splits if row["split"] == "train"}
    files = sorted((folder / "runs").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    in_train = (
        row for row in rows if row["run_id"] in train and row["final_loss_unit"] == "nats_per_token"
    )
    found = indistinct(in_train, READ, FAMILY)
    counts = Counter(one.run_ids[0].partition("/")[0] for one in found)
    first = {one.run_ids[0].partition("/")[0]: one for one in reversed(found)}
    return [
        f"{source}: {n:,} configurations have losses far apart that this model learns the mean "
        f"of; the widest: {first[source].sentence}"
        for source, n in sorted(counts.items())
    ]
