"""A family of one's own runs as a plan sees it: what is known, what may vary, and its draws.

Everything a plan asks of a fit of the main bundle is answered here from a family placed in the
population. Ranges go beyond the own runs, for what families have in common is known there too.

Legend: S draws, B runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ncpl.data.fields import FIELDS, Config, derive
from ncpl.data.snapshot import Family
from ncpl.errors import ConfigError
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.community import Community, CommunityPrediction, Placed
from ncpl.model.ensemble import Fit
from ncpl.model.family_law import optimum_of
from ncpl.model.intervals import Intervals
from ncpl.model.law_inputs import Array
from ncpl.model.neighbours import KnownRuns

BEYOND = 4.0
"""Factor beyond the own learning rates and batches up to which is searched: within it the bowls of
a family are quadratic (docs/community.md)."""
UNSTATED = 8.0
"""The same about the best learning rate of the population, where no own run states one."""
RECIPE = ("optimizer", "schedule", "sequence_length", "weight_decay")
"""What stays as in most own runs."""


@dataclass(frozen=True)
class OwnSeen:
    """What the own runs have shown, as the encoder of a fit tells it."""

    fields: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    constants: Mapping[str, Any]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnFit:
    """A family of own runs."""

    placed: Placed
    encoder: OwnSeen
    known: KnownRuns
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> Family:
        """Return the family's parts."""
        return self.placed.family

    @property
    def baseline(self) -> Chinchilla:
        """Return the law of size and data at the middle of the draws."""
        return self.placed.baseline

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields a plan may choose."""
        return self.encoder.fields

    @property
    def seeds(self) -> list[int]:
        """Return the seed of its draws."""
        return self.placed.seeds

    def member_losses(self, configs: Sequence[Config]) -> Array:
        """Return losses (S, B) of configurations in every draw, nats."""
        return self.placed.adapted.losses([derive(config) for config in configs])


@dataclass
class OwnPlans:
    """A bundle of one family of own runs, in which plans are made."""

    bundle: Community
    fit: OwnFit
    snapshot_id: str
    about: dict[str, Any]

    @classmethod
    def of(cls, bundle: Community) -> OwnPlans:
        """Return the plans of an adapted bundle.

        Raises ConfigError where it holds no family of own runs, or none with a final loss.
        """
        known = bundle.about.get("known")
        if not known or len(bundle.fits) != 1:
            raise ConfigError(
                "this bundle holds no runs of your own to plan by; give --runs FILE with a final "
                "loss each, or a --bundle that ncpl adapt wrote from such"
            )
        return cls(bundle, _fit_of(bundle.fits[0], known), bundle.snapshot_id, bundle.about)

    @property
    def fits(self) -> list[OwnFit]:
        """Return the one family."""
        return [self.fit]

    def fit_for(self, row: Config, number: int = 1) -> OwnFit:
        """Return the family. Raises ConfigError for another source."""
        self.bundle.fit_for(row, number)
        return self.fit

    def predict(self, configs: Sequence[Config], *, nearest: int = 0) -> list[CommunityPrediction]:
        """Return one prediction for each configuration, as the adapted bundle does."""
        return self.bundle.predict(configs, nearest=nearest)

    def curves(self, configs: Sequence[Config], fractions: Sequence[float]) -> Array:
        """Raise ConfigError: a family of own runs knows final losses only."""
        return self.bundle.curves(configs, fractions)

    def intervals(self, fit: OwnFit, configs: Sequence[Config]) -> Intervals:
        """Return losses and 90% intervals of configurations."""
        return self.bundle.intervals(fit.placed, configs)

    def card(self) -> dict[str, Any]:
        """Return the card of the adapted bundle."""
        return self.bundle.card()


PlanFit = Fit | OwnFit
"""What a plan is made with."""


def _fit_of(placed: Placed, known: Sequence[Mapping[str, Any]]) -> OwnFit:
    names = [str(run.get("run_id") or i) for i, run in enumerate(known, start=1)]
    configs = [dict(run["config"]) for run in known]
    rows = [derive(config) for config in configs]
    runs = KnownRuns(names, [float(run["loss"]) for run in known], configs)
    notes: list[str] = list(placed.about.get("notes", ()))
    ranges = {"params_non_embedding": placed.sizes, "data_tokens": placed.data}
    rates = [float(row["learning_rate"]) for row in rows if row.get("learning_rate")]
    batches = [float(row["batch_tokens"]) for row in rows if row.get("batch_tokens")]
    fields = ["params_non_embedding", "data_tokens", "learning_rate"]
    if rates:
        ranges["learning_rate"] = _within("learning_rate", min(rates), max(rates), BEYOND)
    else:
        best, _ = optimum_of(placed.adapted.theta.mean(0), *_middle(rows))
        ranges["learning_rate"] = _within("learning_rate", best, best, UNSTATED)
        notes.append("no own run states a learning rate: the one told is what families share")
    if batches:
        ranges["batch_tokens"] = (min(batches) / BEYOND, max(batches) * BEYOND)
        fields.append("batch_tokens")
    else:
        notes.append("no own run states its batch and sequence length: no batch is told")
    if rates and max(rates) == min(rates):
        notes.append(
            "all own runs have one learning rate: what another gives is what families share"
        )
    constants, varied = _recipe(rows)
    optimizers = tuple(sorted({str(r["optimizer"]) for r in rows if r.get("optimizer")}))
    if len(optimizers) > 1:  # then it is chosen, not kept
        constants.pop("optimizer")
        varied.remove("optimizer")
        fields.append("optimizer")
    notes += [f"{name} varies among own runs; kept at {constants[name]}" for name in varied]
    seen = OwnSeen(
        tuple(fields), ranges, constants, {"optimizer": optimizers} if optimizers else {}
    )
    return OwnFit(placed, seen, runs, tuple(notes))


def _within(name: str, low: float, high: float, factor: float) -> tuple[float, float]:
    entry = FIELDS[name]
    return max(low / factor, entry.low or low / factor), min(high * factor, entry.high)


def _middle(rows: Sequence[Config]) -> tuple[float, float]:
    """Return size and tokens of the largest run: what is planned lies nearest to it."""
    last = max(rows, key=lambda row: row["params_non_embedding"] * row["data_tokens"])
    return float(last["params_non_embedding"]), float(last["data_tokens"])


def _recipe(rows: Sequence[Config]) -> tuple[dict[str, Any], list[str]]:
    """Return what most own runs have of a recipe, and which fields of it vary."""
    found: dict[str, Any] = {}
    varied = []
    for name in RECIPE:
        counts = Counter(row[name] for row in rows if row.get(name) is not None)
        if counts:
            found[name] = counts.most_common(1)[0][0]
            varied += [name] if len(counts) > 1 else []
    return found, varied
