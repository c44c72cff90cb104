"""The parts of docs/data.md that say what a model can learn from, and which losses compare."""

from __future__ import annotations

from ncpl_data.catalog import families, model_ready
from ncpl_data.catalog.store import Catalog

READY = """\
## What a model can learn from

Physical pretraining runs of text with a final loss, each counted once, at the source whose row says
most. *Usable*: the run ended, its loss is of a family of comparable losses, size and tokens are
known. *Recipe*: learning rate, batch, schedule, warm-up and optimizer, of the runs that are asked
for one (studies that vary the mixture alone are not). What the others would need:
`ncpl-data coverage --model -v`; which rules derive what: [sizes.md](sizes.md).

"""
COMPARABLE = """\
## Families of comparable losses

Losses compare, and are learned together, within one family: publisher, metric, training data,
tokenizer and unit. Families with fewer than {least} usable runs are left out here; of the others
`--split community` holds parts out.

"""


def ready_rows(catalog: Catalog) -> list[dict[str, str]]:
    """Return one row a source, then one for all."""
    rows = catalog.read("runs", list(model_ready.COLUMNS)).to_pylist()
    found = []
    for part in model_ready.coverage(rows):
        counts = part.as_dict()
        totals = {
            "size and data": counts["size_and_data"],
            "usable": counts["usable"],
            "recipe": counts["recipe"],
            "of": counts["recipe_asked"],
            **counts["fields"],
        }
        shown = {name.replace("_", " "): f"{count:,}" for name, count in totals.items()}
        found.append({"source": part.name, "runs": f"{part.runs:,}", **shown})
    return found


def family_rows(catalog: Catalog) -> list[dict[str, str]]:
    """Return one row a family of enough usable runs."""
    rows = catalog.read("runs", list(families.COLUMNS)).to_pylist()
    return [
        {
            "family": one.family.replace("|", " / "),
            "usable runs": f"{one.usable:,}",
            "sizes": f"{one.sizes:,}",
            "parameters": f"{one.min_params:,} to {one.max_params:,}",
            "tokens": f"{one.min_tokens:,} to {one.max_tokens:,}",
            "varies": ", ".join(one.varies),
        }
        for one in families.families(rows)
        if one.is_split
    ]
