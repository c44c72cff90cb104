"""What every importer shares: a draft of a run document, aliases, units of metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.spelling import (
    WORDS,
    flattened,
    is_finite,
    is_zero,
    jsonable,
    metric_name,
    number_of,
    numeric_pointers,
    safe_name,
    split_of,
    unit_of,
    whole,
)
from ncpl_data.ingest.secrets import scrubbed, without_homes
from ncpl_data.ingest.submissions.documents import set_value
from ncpl_data.schema.aliases import Alias, alias_tables
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.load import SCHEMA_VERSION
from ncpl_data.schema.text import TextError, check_characters, decode
from ncpl_data.schema.yaml_text import parse_yaml


@dataclass(frozen=True)
class Options:
    """What the user says beside the log."""

    source: str
    run: str | None = None
    """Name of the run, where the log holds one and does not name it."""
    metric: str | None = None
    """Metric whose end is the final loss; by default the importer's choice."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units of metrics, by name."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values by JSON Pointer that the user declares of every run."""
    mapping: Path | None = None
    config: Path | None = None
    aliases: str = "common"


class Draft:
    """A run document in the making, with the origin of every value."""

    def __init__(self, options: Options, name: str) -> None:
        """Start with the identity; what the user declared stands first."""
        self.options = options
        self.name = safe_name(options.run or name)
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Any] = {}
        self.raw_config: dict[str, Any] = {}
        self.curves: dict[str, dict[int, float]] = {}
        self.not_finite: dict[str, int] = {}
        """Last step at which a metric was logged as NaN or infinite."""
        self.tokens: dict[int, int] = {}
        self.metrics: dict[str, dict[str, Any]] = {}
        for pointer, value in options.values.items():
            self.set(pointer, value, "declared")

    def set(self, pointer: str, value: Any, origin: Any = "logged") -> None:
        """State a value, unless it is empty or stated already."""
        if value is not None and pointer not in self.values:
            self.values[pointer] = value
            self.origins[pointer] = origin

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
        # Ratios need the steps, the peak rate and the sequence length: these come first.
        for alias in sorted(given, key=lambda a: a.transform in NEEDS):
            self.apply_alias(alias, flat[alias.name])

    def apply_alias(self, alias: Alias, value: Any) -> None:
        """Take one value of another program, in our unit."""
        value = number_of(value) if alias.pointer in numeric_pointers() else value
        if value is None:
            return
        if alias.transform is None:
            self.set(alias.pointer, whole(alias.pointer, value))
            return
        converted, origin = self.transform(alias, value)
        self.set(alias.pointer, converted, origin)

    def transform(self, alias: Alias, value: Any) -> tuple[Any, Any]:
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
        if not (is_finite(base) and base and is_finite(value)):
            return None, None
        if kind == "tokens_to_sequences":
            converted: Any = value / base
            if converted != int(converted):
                return None, None
            converted = int(converted)
        else:
            converted = value * base
            if kind != "ratio_of_rate":
                converted = math.ceil(converted) if kind.endswith("_up") else round(converted)
        return converted, {"kind": "derived", "rule": f"{alias.name} {rule}"}

    def point(self, metric: str, step: int, value: float, tokens: int | None = None) -> None:
        """Add a point of a curve; a step logged again after a restart replaces the first."""
        if not math.isfinite(value):
            self.not_finite[metric_name(metric)] = int(step)
        else:
            self.curves.setdefault(metric_name(metric), {})[int(step)] = float(value)
            if tokens is not None:
                self.tokens[int(step)] = tokens

    def document(self, primary: Iterable[str] = ()) -> dict[str, Any]:
        """Return the finished document; the first primary metric that was logged is the loss."""
        self.derive()
        self.finish_outcome(primary)
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": f"{self.options.source}/{self.name}",
            "source": self.options.source,
        }
        for pointer, value in self.values.items():
            set_value(document, pointer, value)
        if self.metrics:
            set_value(document, "/outcome/metrics", list(self.metrics.values()))
        if self.curves:
            document["curves"] = [self.curve(m) for m in sorted(self.curves)]
        columns = {f.pointer: f.column for f in run_fields()}
        origins = {columns[p]: o for p, o in self.origins.items() if p in columns}
        if origins:
            set_value(document, "/provenance/origins", origins)
        if self.raw_config:
            kept = without_homes(scrubbed(self.raw_config))
            set_value(document, "/provenance/raw_config", jsonable(kept))
        return document

    def curve(self, metric: str) -> dict[str, Any]:
        """Return one curve, sorted by step."""
        points = sorted(self.curves[metric].items())
        curve: dict[str, Any] = {"metric": metric, "step": [s for s, _ in points]}
        if all(step in self.tokens for step, _ in points):
            curve["tokens"] = [self.tokens[step] for step, _ in points]
        return curve | {"value": [v for _, v in points]}

    def derive(self) -> None:
        """State what follows from what is stated: the tokens of the whole run."""
        sizes = ("/schedule/batch_size_sequences", SEQUENCE_LENGTH, TRAIN_STEPS)
        factors = [self.get(pointer) for pointer in sizes]
        if all(is_finite(factor) and factor for factor in factors):
            rule = {"kind": "derived", "rule": "batch x sequence x steps"}
            self.set("/schedule/train_tokens", math.prod(factors), rule)

    def finish_outcome(self, primary: Iterable[str]) -> None:
        """State the final loss and step, and what each metric is."""
        wanted = [metric_name(self.options.metric)] if self.options.metric else list(primary)
        if self.options.metric and wanted[0] not in self.curves:
            raise InputError(
                f'no metric "{wanted[0]}" was logged; there are: {", ".join(sorted(self.curves))}'
            )
        for metric in self.curves:
            entry = self.metrics.setdefault(metric, {"name": metric})
            entry["unit"] = self.options.units.get(metric) or entry.get("unit") or unit_of(metric)
            if split := split_of(metric):
                entry.setdefault("split", split)
        chosen = next((m for m in wanted if m in self.curves), None)
        if chosen is not None and self.not_finite.get(chosen, -1) > max(self.curves[chosen]):
            rule = {"kind": "derived", "rule": f"{chosen} ends as NaN or infinite"}
            self.values["/outcome/status"], self.origins["/outcome/status"] = "diverged", rule
        elif chosen is not None:
            last = max(self.curves[chosen])
            rule = {"kind": "derived", "rule": f"last value of {chosen}"}
            self.set("/outcome/final_loss", self.curves[chosen][last], rule)
            self.set("/outcome/final_loss_metric", chosen, "declared")
            self.set("/outcome/final_loss_unit", self.metrics[chosen]["unit"], "declared")
        if self.curves and self.get("/outcome/final_step") is None:
            last_step = max(max(points) for points in self.curves.values())
            self.set("/outcome/final_step", last_step, {"kind": "derived", "rule": "last step"})


TRAIN_STEPS, SEQUENCE_LENGTH = "/schedule/train_steps", "/schedule/sequence_length"
NEEDS = {
    "steps_or_ratio": (TRAIN_STEPS, "x steps"),
    "ratio_of_steps": (TRAIN_STEPS, "x steps"),
    "steps_or_ratio_up": (TRAIN_STEPS, "x steps, rounded up"),
    "ratio_of_steps_up": (TRAIN_STEPS, "x steps, rounded up"),
    "ratio_of_rate": ("/optimizer/learning_rate", "x peak learning rate"),
    "tokens_to_sequences": (SEQUENCE_LENGTH, "/ sequence length"),
}
"""What a transform multiplies with or divides by, and how an origin says so."""


def read_config(path: Path) -> dict[str, Any]:
    """Return a configuration file (JSON, YAML or TOML) as a dict.

    Raises InputError if it can not be read.
    """
    import tomllib

    found: Any
    try:
        text = decode(path.read_bytes())
        if path.suffix == ".toml":
            return tomllib.loads(text)
        if path.suffix in (".yaml", ".yml"):
            found = next(iter(parse_yaml(text)), (1, {}))[1]
        else:
            found = json.loads(text)  # programs log NaN; what is not finite is left out later
            check_characters(found)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (TextError, ValueError, OSError) as error:
        raise InputError(f"{path} can not be read: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; expected an object")
    return found
