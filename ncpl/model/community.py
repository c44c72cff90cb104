"""A bundle of placed families: the population, and where each family lies in it.

The community bundle holds every family of a snapshot; an adapted one a family of the user's own
runs. Both answer as every bundle does, and adapt further.

Legend: S draws, B runs, P parameters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.consistency import check_prediction, checked_row
from ncpl.data.fields import KNOWN, Config, derive
from ncpl.data.own_runs import OwnRuns, read_runs
from ncpl.data.sizes import size_of, worth_of
from ncpl.data.snapshot import Family
from ncpl.errors import BundleError, ConfigError
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.adaptation import Adapted
from ncpl.model.family_law import LAW, Effects
from ncpl.model.hub.kept import OnHub
from ncpl.model.intervals import Intervals
from ncpl.model.law_inputs import D_REFERENCE, N_REFERENCE, Array
from ncpl.model.population import Population
from ncpl.model.seal import check_seal, seal

FORMAT = "ncpl-community/1"
CARD, DRAWS = "card.json", "draws.safetensors"
DEFAULT = Path(__file__).parents[1] / "weights" / "community"
"""The community bundle that ships inside the package."""
OWN = "own"
"""Source of an adapted family."""
FIELDS = (
    "params_non_embedding", "data_tokens", "learning_rate", "batch_tokens", "weight_decay",
    "warmup_frac", "decay_frac", "ffn_ratio", "sequence_length", "optimizer", "schedule",
)  # fmt: skip
USED = ("format", "snapshot_id", "population", "families", "draws_sha256")
FAR = 16.0
"""Compute over the largest known from which a prediction says how far it reaches."""


@dataclass(frozen=True)
class Placed:
    """A family in the population."""

    family: Family
    adapted: Adapted
    sizes: tuple[float, float]
    """Least and most non-embedding parameters of its known runs; zeros where there are none."""
    data: tuple[float, float]
    """Least and most tokens."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Numbers for the card."""

    @property
    def name(self) -> str:
        """Return the family's parts as one name."""
        return "/".join(part for part in self.family[:4] if part)

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields its law reads."""
        return FIELDS

    @property
    def seeds(self) -> list[int]:
        """Return the seed of its draws."""
        return [self.adapted.seed]

    @cached_property
    def baseline(self) -> Chinchilla:
        """Return the law of size and data at the middle of the draws, without interaction."""
        log_a, log_alpha, log_b, log_beta, log_floor, _ = np.median(
            self.adapted.theta[:, : len(LAW)], axis=0
        )
        alpha, beta = float(np.exp(log_alpha)), float(np.exp(log_beta))
        return Chinchilla(
            a=float(np.exp(log_a)) * (N_REFERENCE / 1e6) ** alpha,
            alpha=alpha,
            b=float(np.exp(log_b)) * (D_REFERENCE / 1e9) ** beta,
            beta=beta,
            c=float(np.exp(log_floor)),
        )

    def outside(self, row: Config) -> list[str]:
        """Return what is to be said of how far a configuration lies from the known runs."""
        if not self.adapted.n_runs:
            return ["no run is known: differences between settings transfer, the level does not"]
        reach = size_of(row) * worth_of(row) / (self.sizes[1] * self.data[1])
        if reach <= FAR:
            return []
        return [f"{reach:.3g} times the compute of the largest size and data known"]


def place(
    population: Population,
    family: Family,
    rows: Sequence[Config],
    loss: Array,
    *,
    weight: Array | None = None,
    about: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Placed:
    """Return the family of these runs in the population."""
    adapted = Adapted.of(population, rows, loss, weight=weight, seed=seed)
    size, data = ([read(row) for row in rows] or [0.0] for read in (size_of, worth_of))
    ends = (min(size), max(size)), (min(data), max(data))
    return Placed(family, adapted, *ends, about or {})


def stated_by(row: Config) -> dict[str, Any]:
    """Return the configuration behind a derived one, its size without embeddings."""
    return {k: v for k, v in row.items() if k in KNOWN} | {"params_non_embedding": size_of(row)}


@dataclass(frozen=True)
class CommunityPrediction:
    """What a placed family says about one configuration; losses in nats per token."""

    loss: float
    low: float
    high: float
    """90% interval."""
    baseline: float
    source: str
    divergence_risk: float | None
    """None: a population holds no risk."""
    nearest: list[Any]
    warnings: list[str]


@dataclass
class Community(OnHub):
    """Families placed in one population."""

    population: Population
    fits: list[Placed]
    snapshot_id: str
    about: dict[str, Any] = field(default_factory=dict)

    def adapt(self, runs: Sequence[Mapping[str, Any]] | OwnRuns, *, seed: int = 0) -> Community:
        """Return a bundle of one family: that of these runs.

        A run is a configuration with `final_loss`, nats per token, and maybe `curve`: see
        `ncpl.data.own_runs`. Raises ConfigError, naming the run, for a wrong one.
        """
        own = runs if isinstance(runs, OwnRuns) else read_runs(runs)
        final = own.rows[: own.n_runs]
        placed = place(
            self.population, (OWN, "", "", "", "nats_per_token"), own.rows, own.loss,
            weight=own.weight, seed=seed,
            about={"runs": own.n_runs, "points": len(own.rows) - own.n_runs, "notes": own.notes},
        )  # fmt: skip
        told = {"adapted_from": self.snapshot_id, "sources": self.about.get("sources", [])}
        known = [
            {
                "run_id": name,
                "params_non_embedding": size_of(row),
                "train_tokens": worth_of(row),
                "loss": float(loss),
                "config": stated_by(row),
            }
            for row, loss, name in zip(final, own.loss, own.names, strict=False)
        ]
        return Community(self.population, [placed], self.snapshot_id, told | {"known": known})

    def predict(self, configs: Sequence[Config], *, nearest: int = 0) -> list[CommunityPrediction]:
        """Return one prediction for each configuration.

        `nearest` is taken so that all bundles are called alike: no run is kept and none is named.
        Raises ConfigError for an unknown field, a value out of range, a missing size or data, or a
        source that is not one of its families.
        """
        del nearest
        rows = [
            checked_row(config, where=f"configuration {i}", read=FIELDS)[1]
            for i, config in enumerate(configs, start=1)
        ]
        places = [self.fit_for(row, i) for i, row in enumerate(rows, start=1)]
        found: dict[int, CommunityPrediction] = {}
        for fit in self.fits:
            at = [i for i, placed in enumerate(places) if placed is fit]
            if not at:
                continue
            own = [rows[i] for i in at]
            answers = fit.adapted.predict(own)
            law = fit.baseline.predict([size_of(r) for r in own], [worth_of(r) for r in own])
            columns = [v.tolist() for v in (answers.loss, answers.low, answers.high, law)]
            for i, loss, low, high, base in zip(at, *columns, strict=True):
                prediction = CommunityPrediction(
                    loss, low, high, base, fit.family[0], None, [], fit.outside(rows[i])
                )
                doubt = check_prediction(vars(prediction), where=f"configuration {i + 1}")
                prediction.warnings[:0] = [doubt] if doubt else []
                found[i] = prediction
        return [found[i] for i in range(len(configs))]

    def intervals(self, fit: Placed, configs: Sequence[Config]) -> Intervals:
        """Return losses and 90% intervals of configurations of one family."""
        rows = [derive(config) for config in configs]
        found = fit.adapted.predict(rows)
        outside = np.array([bool(fit.outside(row)) for row in rows], dtype=bool)
        return Intervals(found.loss, found.low, found.high, outside)

    def curves(self, configs: Sequence[Config], fractions: Sequence[float]) -> Array:
        """Raise ConfigError: a population knows final losses only."""
        raise ConfigError(
            f"no curves of {len(configs)} configurations at {len(fractions)} shares: a family "
            "placed in the population knows final losses only; ask a bundle trained on its curves"
        )

    def fit_for(self, row: Config, number: int = 1) -> Placed:
        """Return the family that answers for a derived configuration.

        Its source names one, by the source alone or by the whole name. Raises ConfigError when size
        or data are missing, or the source is none or more than one of the families.
        """
        for value, how in (
            (size_of(row), "params_non_embedding is missing; give it, or n_layers, d_model, d_ff"),
            (worth_of(row), "data_tokens is missing; give train_tokens"),
        ):
            if not value > 0:
                raise ConfigError(f"configuration {number}: {how}")
        source = row.get("source")
        if source is None:
            if len(self.fits) == 1:
                return self.fits[0]
            raise ConfigError(f"configuration {number}: give a source, one of {self.names()}")
        return self.named(str(source), number)

    def named(self, source: str, number: int) -> Placed:
        """Return the family of a source or whole name. Raises ConfigError for none or several."""
        found = [fit for fit in self.fits if source in (fit.name, fit.family[0])]
        exact = [fit for fit in found if fit.name == source]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            names = ", ".join(fit.name for fit in found)
            raise ConfigError(f"configuration {number}: {source!r} has several families: {names}")
        reasons = [
            why
            for name, why in self.about.get("not_placed", {}).items()
            if source in (name, name.split("/", 1)[0])
        ]
        if reasons:
            raise ConfigError(f"configuration {number}: {'; '.join(reasons)}")
        raise ConfigError(
            f"configuration {number}: no source {source!r} is known; there are {self.names()}"
        )

    def names(self) -> str:
        """Return the names of all families as text."""
        return ", ".join(fit.name for fit in self.fits)

    def card(self) -> dict[str, Any]:
        """Return everything but the draws."""
        return {
            "format": FORMAT,
            "snapshot_id": self.snapshot_id,
            "population": self.population.to_json(),
            "families": [_entry(fit) for fit in self.fits],
            **self.about,
        }

    def save(self, folder: Path) -> None:
        """Write the bundle; an older one in the folder is replaced."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for i, fit in enumerate(self.fits):
            tensors[f"{i}/theta"] = np.ascontiguousarray(fit.adapted.theta)
            tensors[f"{i}/noise"] = np.ascontiguousarray(fit.adapted.noise)
        save_file(tensors, folder / DRAWS)
        (folder / DRAWS).chmod(0o644)  # safetensors writes files for their owner only
        card = self.card() | {"draws_sha256": _sha256(folder / DRAWS)}
        text = json.dumps(card, indent=1, allow_nan=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")
        seal(folder)


def load_community(path: Path | str | None = None) -> Community:
    """Return the bundle of a folder, or the community bundle that ships with the package.

    Raises BundleError if there is none, or its files and card do not match.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = DEFAULT if path is None else Path(path)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{folder} holds no bundle with a readable {CARD} ({error})") from error
    if card.get("format") != FORMAT:
        raise BundleError(f"{folder}: format is {card.get('format')!r}, expected {FORMAT!r}")
    draws = folder / DRAWS
    if not draws.is_file() or _sha256(draws) != card.get("draws_sha256"):
        raise BundleError(f"{draws} is not the file the card was written for; make it again")
    try:
        tensors = load_file(draws)
        population = Population.from_json(card["population"])
        fits = [
            _placed(raw, population, tensors[f"{i}/theta"], tensors[f"{i}/noise"])
            for i, raw in enumerate(card["families"])
        ]
    except (LookupError, TypeError, ValueError, SafetensorError) as error:
        raise BundleError(f"{folder}: the files do not fit the card ({error})") from error
    check_seal(folder)
    about = {name: value for name, value in card.items() if name not in USED}
    found = Community(population, fits, card["snapshot_id"], about)
    found.folder = folder
    return found


def _entry(fit: Placed) -> dict[str, Any]:
    return {
        "family": list(fit.family),
        "runs": fit.adapted.n_runs,
        "seed": fit.adapted.seed,
        "effects": [list(pair) for pair in fit.adapted.effects.names],
        "references": dict(fit.adapted.effects.references),
        "habit": fit.adapted.effects.habit and list(fit.adapted.effects.habit),
        "sizes": list(fit.sizes),
        "data": list(fit.data),
        "most_compute": fit.adapted.most_compute,
        "about": dict(fit.about),
    }


def _placed(raw: Mapping[str, Any], population: Population, theta: Array, noise: Array) -> Placed:
    source, metric, dataset, tokenizer, unit = raw["family"]
    effects = Effects(
        tuple((kind, value) for kind, value in raw["effects"]),
        raw["references"],
        (raw["habit"][0], raw["habit"][1], raw["habit"][2]) if raw["habit"] else None,
    )
    if theta.shape[1] != len(effects.parameters) or len(theta) != len(noise):
        raise ValueError(f"the draws of {source} have {theta.shape[1]} parameters")
    adapted = Adapted(
        population, effects, theta, noise, int(raw["runs"]), int(raw["seed"]),
        float(raw["most_compute"]),
    )  # fmt: skip
    (least, most), (fewest, longest) = raw["sizes"], raw["data"]
    family = (source, metric, dataset, tokenizer, unit)
    return Placed(family, adapted, (least, most), (fewest, longest), raw["about"])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
