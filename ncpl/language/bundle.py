"""A bundle of the paper's mode: a folder with one network, its vocabulary and its card.

Holds weights.safetensors, config.json (the backbone's shape), tokenizer.json and card.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from ncpl.data.consistency import check_prediction, checked_row, other_data
from ncpl.data.fields import Config, derive
from ncpl.data.snapshot import Family
from ncpl.errors import BundleError, ConfigError
from ncpl.language.base import new_backbone, read_shape, write_shape
from ncpl.language.checkpoint import replace
from ncpl.language.examples import row_of
from ncpl.language.forecast import residuals
from ncpl.language.network import LanguageNetwork
from ncpl.language.sequence import Query, Sequencer
from ncpl.language.settings import LanguageConfig
from ncpl.language.vocabulary import Vocabulary
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.hub.kept import OnHub
from ncpl.model.intervals import Intervals
from ncpl.model.predictor import answering
from ncpl.model.seal import check_seal, seal

FORMAT = "ncpl-language/1"
WEIGHTS, CARD, TOKENIZER, SHAPE = (
    "weights.safetensors",
    "card.json",
    "tokenizer.json",
    "config.json",
)
HASHED = (WEIGHTS, TOKENIZER, SHAPE)
OUTSIDE_FACTOR = 3.0
"""How much wider the interval is for a configuration outside what training has seen; a guess."""
WATCHED = ("params_non_embedding", "data_tokens", "learning_rate", "batch_size_sequences")
TOLERANCE = 1e-6
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LanguagePrediction:
    """What a bundle says about one configuration; losses in nats per token."""

    loss: float
    low: float
    high: float
    """90% interval, from errors on held-out training groups."""
    baseline: float
    """The law alone."""
    source: str
    """The source whose losses this one is comparable with."""
    warnings: list[str]


@dataclass(frozen=True)
class FamilyFit:
    """What a bundle keeps of one family of comparable losses."""

    family: Family
    baseline: Chinchilla
    half_width: float
    """Half of the 90% interval inside what training has seen, nats."""
    ranges: dict[str, tuple[float, float]]
    """Smallest and largest training value of the watched numbers."""
    optimizers: tuple[str, ...]
    seeds: list[int]

    @property
    def fields(self) -> tuple[str, ...]:
        """Return none: the network reads the configuration as text."""
        return ()

    def outside(self, row: Config) -> list[str]:
        """Return one sentence for each value of a row outside what training has seen."""
        found = []
        for name, (low, high) in self.ranges.items():
            value = row.get(name)
            if value is None:
                found.append(f"{name} is not given")
            elif not low * (1 - TOLERANCE) <= value <= high * (1 + TOLERANCE):
                found.append(f"{name} is {value:g}, in training it was {low:g} to {high:g}")
        if self.optimizers and row.get("optimizer") not in (None, *self.optimizers):
            known = ", ".join(self.optimizers)
            found.append(f"optimizer is {row['optimizer']!r}, in training it was {known}")
        return found


@dataclass
class LanguageBundle(OnHub):
    """One network for every family of a snapshot, and what is needed to ask it."""

    config: LanguageConfig
    network: LanguageNetwork
    vocabulary: Vocabulary
    fits: list[FamilyFit]
    snapshot_id: str
    about: dict[str, Any] = field(default_factory=dict)
    """Scores, seed, date, sources: everything a card tells and prediction does not need."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def predict(self, configs: Sequence[Config], *, nearest: int = 0) -> list[LanguagePrediction]:
        """Return one prediction of the final loss for each configuration.

        `nearest` is taken so that both kinds of bundle are called alike: this one keeps no training
        runs and names none. Raises ConfigError for an unknown field, a value out of range, or a
        missing size or data.
        """
        del nearest
        rows, fits = self._checked(configs)
        losses = self.losses(rows, fits, [(1.0,)] * len(rows))
        found = []
        for i, (row, fit, (loss,)) in enumerate(zip(rows, fits, losses, strict=True), start=1):
            notes = fit.outside(row)
            half = fit.half_width * (OUTSIDE_FACTOR if notes else 1.0)
            law, low, high = _law(fit, row), max(float(loss) - half, 0.0), float(loss) + half
            told = LanguagePrediction(float(loss), low, high, law, fit.family[0], notes)
            doubt = check_prediction(vars(told), where=f"configuration {i}")
            notes[:0] = [*([doubt] if doubt else []), *other_data(row, fit.family)]
            found.append(told)
        return found

    def intervals(self, fit: FamilyFit, configs: Sequence[Config]) -> Intervals:
        """Return losses with 90% intervals of configurations of one family."""
        found = self.predict([dict(config) | {"source": fit.family[0]} for config in configs])
        loss, low, high = (
            np.array([getattr(p, name) for p in found]) for name in ("loss", "low", "high")
        )
        rows = [derive(config) for config in configs]
        return Intervals(loss, low, high, np.array([bool(fit.outside(row)) for row in rows]))

    def curves(self, configs: Sequence[Config], fractions: Sequence[float]) -> Array:
        """Return losses (B, P) at each fraction of the run, in (0, 1].

        Raises ConfigError as `predict` does, and where the bundle was trained on final losses only.
        """
        if not self.config.has_curves and any(fraction != 1.0 for fraction in fractions):
            raise ConfigError(
                "this bundle was trained on final losses alone; train one with has_curves = true"
            )
        if not all(0 < fraction <= 1 for fraction in fractions):
            raise ConfigError(f"fractions are {list(fractions)}; expected numbers in (0, 1]")
        rows, fits = self._checked(configs)
        found = self.losses(rows, fits, [tuple(map(float, fractions))] * len(rows))
        return np.stack(found) if found else np.empty((0, len(fractions)))

    def losses(
        self, rows: Sequence[Config], fits: Sequence[FamilyFit], asked: Sequence[tuple[float, ...]]
    ) -> list[Array]:
        """Return the losses of derived configurations at the fractions asked of each."""
        queries = [Query(row, fractions) for row, fractions in zip(rows, asked, strict=True)]
        sequencer = Sequencer(self.vocabulary, self.config)
        found = residuals(self.network.eval(), sequencer, queries, self.device) if queries else {}
        return [
            _law(fit, row) + found[i] for i, (row, fit) in enumerate(zip(rows, fits, strict=True))
        ]

    def fit_for(self, row: Config, number: int = 1) -> FamilyFit:
        """Return the fit that answers for a derived configuration: its source's, else the largest.

        Raises ConfigError when size or data are missing, or the source is unknown.
        """
        return answering(self.fits, row, number)

    def _checked(self, configs: Sequence[Config]) -> tuple[list[Config], list[FamilyFit]]:
        rows: list[Config] = []
        fits = []
        for i, config in enumerate(configs, start=1):
            checked, derived = checked_row(config, where=f"configuration {i}")
            fit = self.fit_for(derived, i)
            fits.append(fit)
            rows.append(row_of(checked, fit.family[0]))
        return rows, fits

    def card(self) -> dict[str, Any]:
        """Return everything but the weights."""
        return {
            "format": FORMAT,
            "snapshot_id": self.snapshot_id,
            "config": self.config.to_dict(),
            "config_sha256": self.config.sha256(),
            "families": [asdict(fit) for fit in self.fits],
            **self.about,
        }

    def save(self, folder: Path) -> None:
        """Write the bundle; an older one in the folder is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.network.state_dict()
        replace(folder / WEIGHTS, {n: t.cpu().contiguous().clone() for n, t in state.items()})
        self.vocabulary.save(folder / TOKENIZER)
        write_shape(self.network.base.config, folder)
        hashes = {name: _sha256(folder / name) for name in HASHED}
        text = json.dumps(self.card() | {"files_sha256": hashes}, indent=1, allow_nan=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")
        seal(folder)


def load(path: Path | str) -> LanguageBundle:
    """Return the bundle of a folder, on a CUDA device where there is one.

    Raises BundleError if there is none, or its files, configuration and card do not match.
    """
    folder = Path(path)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{folder} holds no bundle with a readable {CARD}: {error}") from error
    if card.get("format") != FORMAT:
        raise BundleError(
            f"{folder}: format is {card.get('format')!r}, expected {FORMAT!r}; train it again with "
            "this version: ncpl-train"
        )
    try:
        return _of_card(folder, card)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{folder / CARD}: lacks or garbles {error}; train it again") from error


def _of_card(folder: Path, card: Mapping[str, Any]) -> LanguageBundle:
    config = LanguageConfig.from_dict(card["config"], where=f"{folder / CARD}: config")
    if config.sha256() != card["config_sha256"]:
        raise BundleError(f"{folder}: the configuration does not have the hash on the card")
    for name in HASHED:
        if not (folder / name).is_file() or _sha256(folder / name) != card["files_sha256"][name]:
            raise BundleError(
                f"{folder / name} is not the file the card was written for; train it again"
            )
    network = LanguageNetwork(new_backbone(read_shape(folder)))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise BundleError(f"{folder / WEIGHTS} does not fit {SHAPE}: {error}") from error
    check_seal(folder)
    fits = []
    for raw in card["families"]:
        source, metric, dataset, tokenizer, unit = raw["family"]
        ranges = {name: (low, high) for name, (low, high) in raw["ranges"].items()}
        fits.append(
            FamilyFit(
                (source, metric, dataset, tokenizer, unit),
                Chinchilla(**raw["baseline"]),
                raw["half_width"],
                ranges,
                tuple(raw["optimizers"]),
                list(raw["seeds"]),
            )
        )
    used = ("format", "snapshot_id", "config", "config_sha256", "families", "files_sha256")
    about = {name: value for name, value in card.items() if name not in used}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vocabulary = Vocabulary.from_file(folder / TOKENIZER)
    network = network.to(device).eval()
    return LanguageBundle(config, network, vocabulary, fits, card["snapshot_id"], about, device)


def _law(fit: FamilyFit, row: Config) -> float:
    return float(fit.baseline.predict(row["params_non_embedding"], row["data_tokens"]))


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
