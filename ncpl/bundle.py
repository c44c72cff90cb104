"""A bundle: fitted members, the card that says how they came about, and predictions.

A bundle folder holds weights.safetensors, card.json (read by `load`) and README.md (the same for
people).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from ncpl.calibrate import FALLBACK, total_scale
from ncpl.config import FitConfig
from ncpl.data import Family
from ncpl.encoder import Encoder, column
from ncpl.errors import BundleError, ConfigError
from ncpl.features import Config, check_config, derive
from ncpl.laws.chinchilla import Chinchilla
from ncpl.surface import Surface
from ncpl.train import Fit, new_member

FORMAT = "ncpl-bundle/1"
WEIGHTS, CARD = "weights.safetensors", "card.json"
DEFAULT = Path(__file__).parent / "weights"
"""The bundle that ships inside the package."""
OPEN = {
    "open_learning_rate": "learning rate",
    "open_batch": "batch size",
    "open_both": "learning rate and batch size",
}
"""What a configuration may leave open, by its key in the calibration."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """Predictions of B runs with 90% intervals, nats per token."""

    loss: Array
    low: Array
    high: Array
    outside: npt.NDArray[np.bool_]
    """Which runs (B) lie outside what training has seen."""


@dataclass(frozen=True)
class Prediction:
    """What a bundle says about one configuration; losses in nats per token."""

    loss: float
    low: float
    """Lower end of the 90% interval."""
    high: float
    baseline: float
    """The refitted Chinchilla law alone."""
    source: str
    """The source whose losses this one is comparable with."""
    warnings: list[str]
    """Where the configuration lies outside what training has seen, and what was assumed."""


@dataclass
class Bundle:
    """Fits of one configuration on one snapshot, one a family of comparable losses."""

    config: FitConfig
    fits: list[Fit]
    snapshot_id: str
    about: dict[str, Any] = field(default_factory=dict)
    """Scores, seeds, date, sources: everything a card tells and prediction does not need."""

    def predict(self, configs: Sequence[Config]) -> list[Prediction]:
        """Return one prediction for each configuration, given by the flat names of the schema.

        Raises ConfigError for an unknown field, a value out of range, or a missing size or data.
        """
        rows = [
            derive(check_config(config, where=f"configuration {i}"))
            for i, config in enumerate(configs, start=1)
        ]
        fits = [self.fit_for(row, i) for i, row in enumerate(rows, start=1)]
        found: dict[int, Prediction] = {}
        for fit in self.fits:
            own = [i for i, of in enumerate(fits) if of is fit]
            if own:
                found |= zip(own, self._predict(fit, [rows[i] for i in own]), strict=True)
        return [found[i] for i in range(len(rows))]

    def fit_for(self, row: Config, number: int = 1) -> Fit:
        """Return the fit that answers for a derived configuration: its source's, else the largest.

        Raises ConfigError when size or data are missing, or the source is unknown.
        """
        for name, how in (
            ("params_non_embedding", "or n_layers, d_model and d_ff"),
            ("data_tokens", "as train_tokens, or train_steps with the batch and sequence length"),
        ):
            if not row.get(name):
                raise ConfigError(f"configuration {number}: {name} is missing; give it, {how}")
        source = row.get("source")
        if source is None:
            return self.fits[0]
        for fit in self.fits:
            if fit.family[0] == source:
                return fit
        known = ", ".join(sorted({fit.family[0] for fit in self.fits}))
        raise ConfigError(
            f"configuration {number}: this bundle knows no source {source!r}; it has {known}"
        )

    def _predict(self, fit: Fit, rows: Sequence[Config]) -> list[Prediction]:
        found = self._intervals(fit, rows)
        baseline = fit.baseline.predict(
            column(rows, "params_non_embedding"), column(rows, "data_tokens")
        )
        columns = (found.loss, found.low, found.high, baseline)
        numbers = [values.tolist() for values in columns]
        notes = [
            _assumed(row, fit.calibration) + (fit.encoder.outside(row) if is_outside else [])
            for row, is_outside in zip(rows, found.outside, strict=True)
        ]
        return [
            Prediction(loss, low, high, law, fit.family[0], told)
            for loss, low, high, law, told in zip(*numbers, notes, strict=True)
        ]

    def intervals(self, fit: Fit, configs: Sequence[Config]) -> Intervals:
        """Return losses and 90% intervals of checked configurations of one family."""
        return self._intervals(fit, [derive(config) for config in configs])

    def _intervals(self, fit: Fit, rows: Sequence[Config]) -> Intervals:
        losses_MB, scales_MB = (t.numpy() for t in fit.predict(fit.encoder.encode_rows(rows)))
        loss_B, scale_B = losses_MB.mean(0), total_scale(losses_MB, scales_MB)
        factors = FALLBACK | fit.calibration
        outside_B = fit.encoder.is_outside(rows)
        half_B = scale_B * np.where(outside_B, factors["outside"], factors["inside"])
        # What is left open counts as the best choice; any other one is worse.
        above_B = np.array([factors[name] if (name := left_open(row)) else 0.0 for row in rows])
        return Intervals(loss_B, loss_B - half_B, loss_B + half_B + above_B, outside_B)

    def card(self) -> dict[str, Any]:
        """Return everything but the weights."""
        return {
            "format": FORMAT,
            "snapshot_id": self.snapshot_id,
            "config": self.config.to_dict(),
            "config_sha256": self.config.sha256(),
            "families": [
                {
                    "family": list(fit.family),
                    "encoder": fit.encoder.to_dict(),
                    "baseline": asdict(fit.baseline),
                    "seeds": fit.seeds,
                    "calibration": fit.calibration,
                }
                for fit in self.fits
            ],
            **self.about,
        }

    def save(self, folder: Path) -> None:
        """Write the bundle; an older one in the folder is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{i}/{seed}/{name}": tensor.contiguous().clone()
            for i, fit in enumerate(self.fits)
            for seed, member in zip(fit.seeds, fit.members, strict=True)
            for name, tensor in member.state_dict().items()
        }
        save_file(tensors, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors writes files for their owner only
        card = self.card() | {"weights_sha256": _sha256(folder / WEIGHTS)}
        text = json.dumps(card, indent=1, allow_nan=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")


def load(path: Path | str | None = None) -> Bundle:
    """Return the bundle of a folder, or the one that ships with the package.

    Raises BundleError if there is none, or its files, configuration and card do not match.
    """
    folder = DEFAULT if path is None else Path(path)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError as error:
        hint = "train one: ncpl-train --snapshot latest --out DIR, then pass --bundle DIR"
        raise BundleError(f"{folder} holds no bundle (no {CARD}); {hint}") from error
    except json.JSONDecodeError as error:
        raise BundleError(f"{folder / CARD} is not JSON ({error}); train it again") from error
    if str(card.get("format")).startswith("ncpl-language/"):
        from ncpl.language.bundle import load as load_language

        # The paper's mode: another class that answers predict, card, fits and fit_for alike.
        return cast("Bundle", load_language(folder))
    if card.get("format") != FORMAT:
        raise BundleError(f"{folder}: format is {card.get('format')!r}, expected {FORMAT!r}")
    config = FitConfig.from_dict(card["config"], where=f"{folder / CARD}: config")
    if config.sha256() != card["config_sha256"]:
        raise BundleError(f"{folder}: the configuration does not have the hash on the card")
    weights = folder / WEIGHTS
    if not weights.is_file() or _sha256(weights) != card["weights_sha256"]:
        raise BundleError(f"{weights} is not the file the card was written for; train it again")
    tensors = load_file(weights)
    fits = [_fit_of(raw, config, f"{i}/", tensors) for i, raw in enumerate(card["families"])]
    used = ("format", "snapshot_id", "config", "config_sha256", "families", "weights_sha256")
    about = {name: value for name, value in card.items() if name not in used}
    return Bundle(config, fits, card["snapshot_id"], about)


def _fit_of(
    raw: Mapping[str, Any], config: FitConfig, prefix: str, tensors: Mapping[str, torch.Tensor]
) -> Fit:
    encoder = Encoder.from_dict(raw["encoder"])
    members = []
    for seed in raw["seeds"]:
        member = new_member(config, encoder, Surface(), seed)
        own = f"{prefix}{seed}/"
        state = {name[len(own) :]: t for name, t in tensors.items() if name.startswith(own)}
        member.load_state_dict(state)
        members.append(member.eval())
    source, metric, dataset, tokenizer, unit = raw["family"]
    family: Family = (source, metric, dataset, tokenizer, unit)
    baseline = Chinchilla(**raw["baseline"])
    return Fit(family, encoder, baseline, members, list(raw["seeds"]), dict(raw["calibration"]))


def left_open(row: Config) -> str | None:
    """Return what a derived configuration leaves open, as a key of the calibration."""
    no_rate, no_batch = row.get("learning_rate") is None, row.get("batch_tokens") is None
    if no_rate and no_batch:
        return "open_both"
    return "open_learning_rate" if no_rate else "open_batch" if no_batch else None


def _assumed(row: Config, calibration: Mapping[str, float]) -> list[str]:
    name = left_open(row)
    if name is None:
        return []
    what = OPEN[name]
    above = calibration.get(name, FALLBACK[name])
    basis = "90% of training runs lie within that" if name in calibration else "not measured"
    return [
        f"no {what} given: the prediction is for the best choice, and the interval reaches "
        f"{above:.3f} nats further up for any other ({basis})"
    ]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
