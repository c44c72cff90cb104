"""What a model can learn from a run, and what a run that can not be learned from would need.

One rule for the catalog (`ncpl-data coverage --model`), a submission and a snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ncpl_data.catalog import families
from ncpl_data.catalog.families import (
    Full,
    family_of,
    has_outcome,
    is_text_pretraining,
    tokens_of,
)
from ncpl_data.catalog.sizes import needed_for_size
from ncpl_data.catalog.twins import physical_runs

Row = Mapping[str, Any]

SHAPE = ("n_layers", "d_model")
CHECKPOINT = "checkpoint_of_a_longer_run"


@dataclass(frozen=True)
class Readiness:
    """What one run brings to a model."""

    has: tuple[str, ...]
    """Fields of `FIELDS` the model can read off it, derived ones included."""
    needs: Mapping[str, str]
    """Each other field, and what would give it."""
    is_mixture_only: bool = False
    """Whether the run is one of a study of mixtures that states no learning rate."""

    @property
    def is_usable(self) -> bool:
        """Whether the model can learn its loss: size, data and loss are there."""
        return all(name in self.has for name in NEEDED)

    @property
    def has_size(self) -> bool:
        """Whether size and data are there."""
        return "size" in self.has and "data" in self.has

    @property
    def has_recipe(self) -> bool:
        """Whether the recipe is there too."""
        return all(name in self.has for name in RECIPE)


NEEDED = ("loss", "size", "data")
RECIPE = ("learning_rate", "batch", "schedule", "warmup", "optimizer")


def model_ready(row: Row) -> Readiness:
    """Return what a model can read off a run: a row of the table `runs`, or a run's values by name.

    A column that is absent counts as one the run does not state. What follows by rule counts as
    there.
    """
    full = Full(row)
    needs = {name: need for name, test in FIELDS.items() if (need := test(full)) is not None}
    has = tuple(name for name in FIELDS if name not in needs)
    return Readiness(has, needs, bool(full["mixture"]) and full["learning_rate"] is None)


def needs_loss(row: Row) -> str | None:
    """Return what the loss lacks to be learned in a family."""
    if row["final_loss"] is None:
        return "final_loss"
    if not has_outcome(row):
        return f"a run that ended (status is {row['status']})"
    if family_of(row) is None:
        unit = row["final_loss_unit"]
        return (
            "final_loss_metric and final_loss_unit"
            if row["final_loss_metric"] is None or unit is None
            else f"a loss that compares (unit is {unit})"
        )
    return None


def needs_size(row: Row) -> str | None:
    """Return what would give the non-embedding parameters."""
    missing = needed_for_size(row)
    if row["params_non_embedding"] or not missing:
        return None
    return f"params_non_embedding, or {' and '.join(missing)}"


def needs_data(row: Row) -> str | None:
    """Return what would give the training tokens."""
    if tokens_of(row):
        return None
    missing = [n for n in ("batch_size_sequences", "sequence_length", "train_steps") if not row[n]]
    return f"train_tokens, or {' and '.join(missing)}"


def needs_batch(row: Row) -> str | None:
    """Return what would give the tokens of one step."""
    if row["batch_ramp"] and row["sequence_length"]:
        return None
    missing = [n for n in ("batch_size_sequences", "sequence_length") if not row[n]]
    return " and ".join(missing) or None


def needs_rate(row: Row) -> str | None:
    """Return what would give the peak learning rate."""
    has = row["learning_rate"] is not None or row["learning_rate_groups"]
    return None if has else "learning_rate"


def needs_shape(row: Row) -> str | None:
    """Return what the shape lacks."""
    return " and ".join(name for name in SHAPE if not row[name]) or None


def needs_column(column: str) -> Callable[[Row], str | None]:
    """Return the test of a field that is one column."""
    return lambda row: column if row[column] is None else None


FIELDS: Mapping[str, Callable[[Row], str | None]] = {
    "loss": needs_loss,
    "size": needs_size,
    "data": needs_data,
    "learning_rate": needs_rate,
    "batch": needs_batch,
    "schedule": needs_column("schedule"),
    "warmup": needs_column("warmup_steps"),
    "weight_decay": needs_column("weight_decay"),
    "optimizer": needs_column("optimizer"),
    "shape": needs_shape,
    "vocabulary": needs_column("vocab_size"),
}
"""What a model reads off a run, and the test that says what it lacks."""

COLUMNS = (
    *families.COLUMNS, "learning_rate_groups", "vocab_size", "is_copy", "flags",
)  # fmt: skip
"""Columns of `runs` that the rule looks at."""


@dataclass
class Coverage:
    """How much of some runs a model can learn from."""

    name: str
    runs: int = 0
    """Physical pretraining runs of text with a final loss."""
    sized: int = 0
    """Runs with size and data."""
    usable: int = 0
    """Those whose loss can be learned too: they ended, and it compares with others."""
    recipe: int = 0
    """Runs with learning rate, batch, schedule, warm-up and optimizer."""
    recipe_asked: int = 0
    """Runs of which a recipe is asked: not those of a study that varies the mixture alone."""
    has: Counter[str] = field(default_factory=Counter)
    needs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many runs lack a field, by field and by what would give it."""

    def add(self, ready: Readiness) -> None:
        """Count one run."""
        self.runs += 1
        self.sized += ready.has_size
        self.usable += ready.is_usable
        self.recipe += ready.has_recipe and not ready.is_mixture_only
        self.recipe_asked += not ready.is_mixture_only
        self.has.update(ready.has)
        self.needs.update(ready.needs.items())

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "name": self.name,
            "runs": self.runs,
            "size_and_data": self.sized,
            "usable": self.usable,
            "recipe": self.recipe,
            "recipe_asked": self.recipe_asked,
            "fields": {name: self.has[name] for name in FIELDS},
            "needs": [
                {"field": name, "needs": need, "runs": count}
                for (name, need), count in sorted(
                    self.needs.items(), key=lambda item: (-item[1], item[0])
                )
            ],
        }


def coverage(rows: Sequence[Row], *, by: str = "source") -> list[Coverage]:
    """Return the coverage of each source, and of all, each physical run counted once.

    Of the rows of one run the one that says most counts, the owner's where they say the same.
    Runs of other stages and modalities, rows without any loss, and checkpoints of a run whose later
    ones are there too are left out.
    """
    physical = physical_runs(rows)
    continued = {row.get("parent_run_id") for row in rows}
    best: dict[str, tuple[tuple[Any, ...], Row, Readiness]] = {}
    for row in rows:
        if row["final_loss"] is None or not is_text_pretraining(row):
            continue
        if CHECKPOINT in (row.get("flags") or ()) and row["run_id"] in continued:
            continue
        ready = model_ready(row)
        rank: tuple[Any, ...] = (
            ready.is_usable,
            ready.has_recipe,
            len(ready.has),
            row["is_copy"] is not True,
        )
        key = physical[row["run_id"]]
        if key not in best or rank > best[key][0]:
            best[key] = (rank, row, ready)
    parts: dict[str, Coverage] = {}
    whole = Coverage("all")
    for _, row, ready in best.values():
        parts.setdefault(str(row[by]), Coverage(str(row[by]))).add(ready)
        whole.add(ready)
    return [*(parts[name] for name in sorted(parts)), whole]


def summary(rows: Iterable[Row]) -> str:
    """Return in one sentence what a model will learn from runs: for `submit` and `snapshot`."""
    total = usable = recipe = 0
    lacking: Counter[str] = Counter()
    for row in rows:
        ready = model_ready(row)
        total += 1
        usable += ready.is_usable
        recipe += ready.is_usable and ready.has_recipe
        lacking.update({need: 1 for name, need in ready.needs.items() if name in NEEDED})
    if total == 0:
        return "no run to learn from"
    text = f"{usable:,} of {total:,} runs can be learned from, {recipe:,} with their whole recipe"
    if lacking:
        need, count = lacking.most_common(1)[0]
        text += f"; {count:,} lack {need}"
    return text
