"""What every importer shares: a draft of a run document, and what the user says beside the log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.history import settle
from ncpl_data.ingest.importers.launches import Observation
from ncpl_data.ingest.importers.outcome import Ending
from ncpl_data.ingest.importers.schedule import derive_schedule
from ncpl_data.ingest.importers.spelling import (
    WORDS,
    flattened,
    is_finite,
    is_over_steps,
    is_zero,
    jsonable,
    metric_name,
    number_of,
    numeric_pointers,
    safe_name,
    whole,
)
from ncpl_data.ingest.secrets import scrubbed, without_homes
from ncpl_data.ingest.submissions.documents import set_value
from ncpl_data.schema.aliases import Alias, alias_tables
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.load import SCHEMA_VERSION


@dataclass(frozen=True)
class Options:
    """What the user says beside the log, and where an importer puts what it has to tell."""

    source: str
    run: str | None = None
    """Name of the run, where the log holds one and does not name it."""
    metric: str | None = None
    """Metric whose end is the final loss; by default the importer's choice."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units of metrics, by name."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values by JSON Pointer that the user declares of every run."""
    run_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same of single runs, by the run's name."""
    mapping: Path | None = None
    config: Path | None = None
    aliases: str = "common"
    step_key: str | None = None
    """Column or key that counts optimizer steps."""
    launch: int | None = None
    """Which launch of a log that holds several, counted from 1; 0 for each as a run of its own."""
    lines: tuple[tuple[str, str], ...] = ()
    """Forms of lines of a text log: (metric, text with {step} and {value})."""
    notes: list[str] = field(default_factory=list)
    """What was decided or left out, in words; importers add to it."""


class Draft:
    """A run document in the making, with the origin of every value."""

    def __init__(self, options: Options, name: str, where: str = "") -> None:
        """Start with the identity; what the user declared stands first."""
        self.options = options
        self.name = safe_name(options.run or name)
        self.where = where or self.name
        """The file or folder, for what is told."""
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Any] = {}
        self.raw_config: dict[str, Any] = {}
        self.seen: list[Observation] = []
        """All that was logged, in its order."""
        self.points: dict[str, dict[int, float]] = {}
        """The points of the run once its history is settled, NaN among them."""
        self.tokens: dict[int, int] = {}
        self.metrics: dict[str, dict[str, Any]] = {}
        self.left_out: set[str] = set()
        self.n_launches = 1
        self.starts_at = 0
        self.ends_before: int | None = None
        declared = {**options.values, **options.run_values.get(self.name, {})}
        for pointer, value in declared.items():
            self.set(pointer, value, "declared")

    def note(self, text: str) -> None:
        """Tell something of this run, once."""
        if text not in self.options.notes:
            self.options.notes.append(text)

    def set(self, pointer: str, value: Any, origin: Any = "logged") -> None:
        """State a value, unless it is empty or stated already."""
        if value is not None and pointer not in self.values:
            self.values[pointer] = value
            self.origins[pointer] = origin

    def withdraw(self, pointer: str) -> None:
        """Take a value back, unless the user declared it."""
        if self.origins.get(pointer) != "declared":
            self.values.pop(pointer, None)
            self.origins.pop(pointer, None)

    def get(self, pointer: str) -> Any:
        """Return a value stated before, or None."""
        return self.values.get(pointer)

    def apply(self, program: str, config: Mapping[str, Any]) -> None:
        """Take what a program's configuration says, by its aliases, and keep it verbatim."""
        self.raw_config.update(config)
        flat = flattened(config)
        table = alias_tables().get(program)
        if table is None:
            raise InputError(
                f'no aliases are called "{program}"; there are: {", ".join(alias_tables())}'
            )
        given = [a for a in table if flat.get(a.name) is not None]
        # Of two names of one field a zero means "see the other": warmup_steps beside warmup_ratio.
        nonzero = {a.pointer for a in given if not is_zero(flat[a.name])}
        given = [a for a in given if a.pointer not in nonzero or not is_zero(flat[a.name])]
        partial = any(
            is_finite(number_of(flat.get(name))) and number_of(flat[name]) > 1
            for name in ACCUMULATIONS
        )
        devices = {number_of(flat[name]) for name in DEVICES if flat.get(name) is not None}
        partial |= program == "common" and bool(devices - {1})
        # Ratios need the steps, the peak rate and the sequence length: these come first.
        for alias in sorted(given, key=lambda a: a.transform in NEEDS):
            if partial and alias.name in DEVICE_BATCHES:
                self.note(
                    f"{self.where}: {alias.name} {flat[alias.name]} stands beside an accumulation "
                    "of gradients or several devices: it may be no batch of a whole step and was "
                    "left out. Add what you know: --set /schedule/batch_size_sequences=N"
                )
                continue
            self.apply_alias(alias, flat[alias.name], flat)

    def apply_alias(
        self, alias: Alias, value: Any, config: Mapping[str, Any] | None = None
    ) -> None:
        """Take one value of another program, in our unit."""
        value = number_of(value) if alias.pointer in numeric_pointers() else value
        if value is None:
            return
        if alias.transform is None:
            converted, origin = whole(alias.pointer, value), "logged"
        else:
            converted, origin = self.transform(alias, value, config or {})
        known = self.get(alias.pointer)
        if converted is not None and known is not None and not equal(known, converted):
            stands = (
                "what you declared" if self.origins[alias.pointer] == "declared" else "the first"
            )
            self.note(
                f"{self.where}: {alias.pointer} is {known} and {alias.name} says {converted}; "
                f"{stands} stands"
            )
        self.set(alias.pointer, converted, origin)

    def transform(self, alias: Alias, value: Any, config: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a value in our unit and its origin; (None, None) where the base is not known."""
        kind = str(alias.transform)
        if kind in WORDS:
            return WORDS[kind](str(value)), "logged"
        if kind == "nonzero":
            return (whole(alias.pointer, value), "logged") if value > 0 else (None, None)
        if (kind.startswith("steps_or_ratio") and value >= 1) or value == 0:
            return whole(alias.pointer, value), "logged"
        base_pointer, rule = NEEDS[kind]
        base = self.get(base_pointer)
        if kind == "ratio_of_decay" and is_finite(number_of(config.get("lr_decay_iters"))):
            base, rule = number_of(config["lr_decay_iters"]), "x lr_decay_iters"
        if not (is_finite(base) and base and is_finite(value)):
            return None, None
        if kind in ("tokens_to_sequences", "samples_to_steps"):
            converted: Any = value / base
            if converted != int(converted):
                return None, None
            converted = int(converted)
        else:
            converted = value * base
            if kind != "ratio_of_rate":
                converted = math.ceil(converted) if kind.endswith("_up") else round(converted)
        return converted, {"kind": "derived", "rule": f"{alias.name} {rule}"}

    def point(
        self,
        metric: str,
        step: int,
        value: float,
        tokens: int | None = None,
        place: int = 0,
        restarts_at: int | None = None,
    ) -> None:
        """Add a point in the order of the log."""
        name = metric_name(metric)
        if name in MEANS:
            return
        if not is_over_steps(metric):
            if name not in self.left_out:
                self.left_out.add(name)
                self.note(f"{self.where}: {metric} is no curve over steps; it was left out")
            return
        self.seen.append(Observation(name, int(step), float(value), place, restarts_at))
        if tokens is not None:
            self.tokens[int(step)] = tokens

    def settle(self) -> None:
        """Decide which of the observations are the run, by the one rule for all importers."""
        settled = settle(self.seen, self.where, launch=self.options.launch or None)
        self.n_launches = settled.n_launches
        self.points, self.ends_before = settled.points, settled.ends_before
        self.starts_at = settled.starts_at
        for text in settled.notes:
            self.note(text)

    def document(self, primary: Iterable[str] = ()) -> dict[str, Any]:
        """Return the finished document; the first primary metric that was logged is the loss."""
        if not self.points:
            self.settle()
        ending = Ending(self, tuple(primary))
        derive_schedule(self)
        ending.state()
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": f"{self.options.source}/{self.name}",
            "source": self.options.source,
        }
        for pointer, value in self.values.items():
            set_value(document, pointer, value)
        if self.metrics:
            set_value(document, "/outcome/metrics", list(self.metrics.values()))
        curves = [self.curve(m) for m in sorted(self.points) if self.finite(m)]
        if curves:
            document["curves"] = curves
        columns = {f.pointer: f.column for f in run_fields()}
        origins = {columns[p]: o for p, o in self.origins.items() if p in columns}
        if origins:
            set_value(document, "/provenance/origins", origins)
        if self.raw_config:
            kept = without_homes(scrubbed(self.raw_config))
            set_value(document, "/provenance/raw_config", jsonable(kept))
        return document

    def finite(self, metric: str) -> dict[int, float]:
        """Return the points of a metric that are numbers, sorted by step."""
        points = self.points.get(metric, {})
        return {step: points[step] for step in sorted(points) if math.isfinite(points[step])}

    def curve(self, metric: str) -> dict[str, Any]:
        """Return one curve, sorted by step."""
        points = self.finite(metric)
        curve: dict[str, Any] = {"metric": metric, "step": list(points)}
        tokens = [self.tokens.get(step) for step in points]
        # Tokens printed with few digits repeat: they are no count of each step.
        if all(t is not None for t in tokens) and len(set(tokens)) == len(tokens):
            curve["tokens"] = tokens
        return curve | {"value": list(points.values())}


TRAIN_STEPS, SEQUENCE_LENGTH = "/schedule/train_steps", "/schedule/sequence_length"
BATCH = "/schedule/batch_size_sequences"
NEEDS = {
    "steps_or_ratio": (TRAIN_STEPS, "x steps"),
    "ratio_of_steps": (TRAIN_STEPS, "x steps"),
    "steps_or_ratio_up": (TRAIN_STEPS, "x steps, rounded up"),
    "ratio_of_steps_up": (TRAIN_STEPS, "x steps, rounded up"),
    "ratio_of_decay": (TRAIN_STEPS, "x steps"),
    "ratio_of_rate": ("/optimizer/learning_rate", "x peak learning rate"),
    "tokens_to_sequences": (SEQUENCE_LENGTH, "/ sequence length"),
    "samples_to_steps": (BATCH, "/ batch in sequences"),
}
"""What a transform multiplies with or divides by, and how an origin says so."""

MEANS = frozenset(("train/train_loss", "train/total_flos", "train/train_runtime"))
"""What the Trainer logs once at its end: a mean over the whole run is no point of a curve."""

ACCUMULATIONS = (
    "gradient_accumulation_steps",
    "grad_accumulation_steps",
    "grad_accum_steps",
    "gradient_accumulation",
    "accumulate_grad_batches",
    "grad_accum",
    "accumulation_steps",
    "acc_steps",
    "accum_steps",
)
DEVICES = ("devices", "num_devices", "n_devices", "gpus", "n_gpus", "num_gpus", "world_size")
DEVICE_BATCHES = frozenset(
    ("batch_size", "bs", "bsz", "micro_batch_size", "device_batch_size", "train_batch_size")
)
"""Names of a batch that is no batch of a whole step where gradients are accumulated."""


def equal(a: Any, b: Any) -> bool:
    """Return whether two values of one field agree: numbers up to rounding."""
    if is_finite(a) and is_finite(b):
        return math.isclose(a, b, rel_tol=1e-6)
    return str(a).lower() == str(b).lower()
