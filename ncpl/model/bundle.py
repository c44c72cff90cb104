"""A bundle: fitted members, the card that says how they came about, and predictions.

A bundle folder holds weights.safetensors, known.parquet (the training runs), card.json (read by
`load`), README.md (the same for people) and SHA256SUMS (the hashes of them all).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ncpl.data.columns import column
from ncpl.data.consistency import check_prediction, checked_row, other_data
from ncpl.data.fields import Config, derive
from ncpl.errors import BundleError, ConfigError
from ncpl.model.completion import Completed
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit, Readings, part
from ncpl.model.hub.kept import OnHub
from ncpl.model.intervals import FACTORS, Intervals, form_factors, half_width, joined
from ncpl.model.neighbours import Known, read_known, write_known
from ncpl.model.predictor import answering
from ncpl.model.seal import check_seal, seal

if TYPE_CHECKING:
    from ncpl.model.community import Community

FORMAT = "ncpl-bundle/5"
WEIGHTS, CARD, KNOWN = "weights.safetensors", "card.json", "known.parquet"
DEFAULT = Path(__file__).parents[1] / "weights"
"""The bundle that ships inside the package."""
USED = (
    "format", "snapshot_id", "config", "config_sha256", "families", "weights_sha256", "known_sha256"
)  # fmt: skip
"""What a card says that a bundle is built from."""
BLOCK = 4096
"""Configurations predicted at once: comparing each with every training run takes memory."""
Array = npt.NDArray[np.float64]


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
    divergence_risk: float | None
    """Probability that the run diverges; None where training held too few that did."""
    nearest: list[Known]
    """The training runs most like it, where asked for."""
    warnings: list[str]
    """Where the configuration lies outside what training has seen, and what was assumed."""


@dataclass
class Bundle(OnHub):
    """Fits of one configuration on one snapshot, one a family of comparable losses."""

    config: FitConfig
    fits: list[Fit]
    snapshot_id: str
    about: dict[str, Any] = field(default_factory=dict)
    """Scores, seeds, date, sources: everything a card tells and prediction does not need."""

    def predict(self, configs: Sequence[Config], *, nearest: int = 0) -> list[Prediction]:
        """Return one prediction for each configuration, given by the flat names of the schema.

        A field left out is what all training runs had, where they had one value, a shape like that
        of the nearest size, or drawn from training runs like it (see completion.py). With
        `nearest`, each names that many training runs most like it. Raises ConfigError for an
        unknown field, a value out of range, a missing size or data, or a loss no run can reach.
        """
        found: dict[int, Prediction] = {}
        for fit, places, asked in self._by_fit(configs):
            found |= zip(places, self._predict(fit, asked, nearest), strict=True)
        for i, prediction in found.items():
            doubt = check_prediction(vars(prediction), where=f"configuration {i + 1}")
            prediction.warnings[:0] = [doubt] if doubt else []
        return [found[i] for i in range(len(configs))]

    def curves(self, configs: Sequence[Config], fractions: Sequence[float]) -> Array:
        """Return losses along the run (B, P), nats per token, at shares of the run.

        A curve ends, at share 1, at the loss `predict` gives; it is NaN under a schedule that no
        training run had. Raises ConfigError as `predict` does, for a share outside (0, 1], or when
        the bundle was trained without curves.
        """
        frac_P = np.asarray(fractions, dtype=np.float64)
        if frac_P.ndim != 1 or not ((frac_P > 0) & (frac_P <= 1)).all():
            raise ConfigError("fractions: expected shares of the run above 0 and up to 1")
        losses = np.empty((len(configs), len(frac_P)))
        for fit, places, asked in self._by_fit(configs):
            rows = [part.row for part in asked]
            losses[places] = self.curves_of(fit, rows, np.tile(frac_P, (len(rows), 1)))
            # Training with one schedule can not separate the effect of time from that of the rate.
            losses[np.array(places)[~fit.encoder.knows("schedule", rows)]] = np.nan
        return losses

    def curves_of(self, fit: Fit, rows: Sequence[Config], frac_BP: Array) -> Array:
        """Return losses (B, P) of derived configurations of one family at their own shares."""
        completed = fit.completer(rows)
        encoded = fit.encoder.encode_rows(completed.rows)
        read = fit.read(encoded)
        shapes_MCP = fit.shapes(completed.rows, encoded, read.hidden, frac_BP[completed.of])
        return completed.mean(np.asarray((read.loss[:, :, None] + shapes_MCP).mean(0)))

    def _by_fit(self, configs: Sequence[Config]) -> Iterator[tuple[Fit, list[int], list[Asked]]]:
        """Yield fits with places and configurations they answer for, BLOCK at a time."""
        checked = [
            checked_row(config, where=f"configuration {i}")
            for i, config in enumerate(configs, start=1)
        ]
        fits = [self.fit_for(row, i) for i, (_, row) in enumerate(checked, start=1)]
        for fit in self.fits:
            own = [i for i, of in enumerate(fits) if of is fit]
            for begin in range(0, len(own), BLOCK):
                places = own[begin : begin + BLOCK]
                yield fit, places, [Asked.of(fit, *checked[i]) for i in places]

    def fit_for(self, row: Config, number: int = 1) -> Fit:
        """Return the fit that answers for a derived configuration: its source's, else the largest.

        Raises ConfigError when size or data are missing, or the source is unknown.
        """
        return answering(self.fits, row, number)

    def _predict(self, fit: Fit, asked: Sequence[Asked], nearest: int) -> list[Prediction]:
        rows = [part.row for part in asked]
        completed = fit.completer(rows)
        encoded = fit.encoder.encode_rows(completed.rows)
        found = self._intervals(fit, completed, fit.read(encoded))
        floored = [False] * len(rows) if found.is_floored is None else found.is_floored.tolist()
        risk = fit.divergence_risk(encoded)
        risks = [None] * len(rows) if risk is None else completed.mean(risk).tolist()
        first = fit.encoder.encode_rows([completed.rows[i] for i in completed.first])
        known = fit.nearest(first, nearest) if nearest else [[] for _ in rows]
        baseline = fit.baseline.predict(
            column(rows, "params_non_embedding"), column(rows, "data_tokens")
        )
        columns = (found.loss, found.low, found.high, baseline)
        numbers = [values.tolist() for values in columns]
        notes = [
            (fit.encoder.outside(part.row) + self._elsewhere(part.row, fit) if is_outside else [])
            + told
            + other_data(part.row, fit.family)
            + unread(part.unread, fit.family[0])
            + (["the interval ends at the floor of the law"] if is_floored else [])
            for part, told, is_outside, is_floored in zip(
                asked, completed.notes, found.outside, floored, strict=True
            )
        ]
        return [
            Prediction(loss, low, high, law, fit.family[0], danger, near, told)
            for loss, low, high, law, danger, near, told in zip(
                *numbers, risks, known, notes, strict=True
            )
        ]

    def _elsewhere(self, row: Config, fit: Fit) -> list[str]:
        """Return which source knows the optimizer of a row that names no source."""
        name = row.get("optimizer")
        if row.get("source") or name in (None, *fit.encoder.optimizers):
            return []
        others = [o.family[0] for o in self.fits if name in o.encoder.optimizers]
        return [f"runs of {name}: give the source {other}" for other in others]

    def intervals(self, fit: Fit, configs: Sequence[Config]) -> Intervals:
        """Return losses and 90% intervals of checked configurations of one family."""
        rows = [Asked.of(fit, config, derive(config)).row for config in configs]
        completed = fit.completer(rows)
        read = fit.read(fit.encoder.encode_rows(completed.rows))
        return self._intervals(fit, completed, read)

    def _intervals(self, fit: Fit, completed: Completed, read: Readings) -> Intervals:
        factors = FACTORS | fit.calibration
        distance_C = fit.encoder.distance(completed.rows)
        apart_C = fit.encoder.apart(completed.rows)
        loss_C, half_C = half_width(read, distance_C, apart_C, factors)
        factor_B = form_factors(completed, factors)
        loss_B, low_B, high_B = joined(completed, loss_C, half_C, factor_B)
        is_outside = np.maximum.reduceat(distance_C + apart_C, completed.first) > 0
        floor_B = np.minimum(fit.floor, loss_B)
        return Intervals(loss_B, np.maximum(low_B, floor_B), high_B, is_outside, low_B < floor_B)

    def adapt(self, runs: Sequence[Mapping[str, Any]]) -> Community:
        """Return a bundle of one family: that of these runs, each with `final_loss`.

        By the community bundle that ships with the package; no network is retrained.
        """
        from ncpl.model.community import load_community

        return load_community().adapt(runs)

    def card(self) -> dict[str, Any]:
        """Return everything but the weights."""
        return {
            "format": FORMAT,
            "snapshot_id": self.snapshot_id,
            "config": self.config.to_dict(),
            "config_sha256": self.config.sha256(),
            "families": [fit.entry() for fit in self.fits],
            **self.about,
        }

    def save(self, folder: Path) -> None:
        """Write the bundle; an older one in the folder is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{i}/{name}": tensor
            for i, fit in enumerate(self.fits)
            for name, tensor in fit.arrays().items()
        }
        write_known(folder / KNOWN, [fit.known for fit in self.fits])
        save_file(tensors, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors writes files for their owner only
        hashes = {
            "weights_sha256": _sha256(folder / WEIGHTS), "known_sha256": _sha256(folder / KNOWN)
        }  # fmt: skip
        card = self.card() | hashes
        text = json.dumps(card, indent=1, allow_nan=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")
        seal(folder)


def load(path: Path | str | None = None) -> Bundle:
    """Return the bundle of a folder, or the one that ships with the package.

    Raises BundleError if there is none, or its files, configuration and card do not match.
    """
    folder = DEFAULT if path is None else Path(path)
    card = read_card(folder)
    if card.get("format") != FORMAT:
        raise BundleError(
            f"{folder}: format is {card.get('format')!r}, expected {FORMAT!r}; train it again with "
            "this version: ncpl-train"
        )
    lacking = [name for name in USED if name not in card]
    if lacking:
        raise BundleError(f"{folder / CARD}: {lacking[0]!r} is missing; train the bundle again")
    config = FitConfig.from_dict(card["config"], where=f"{folder / CARD}: config")
    if config.sha256() != card["config_sha256"]:
        raise BundleError(f"{folder}: the configuration does not have the hash on the card")
    weights = folder / WEIGHTS
    if not weights.is_file() or _sha256(weights) != card["weights_sha256"]:
        raise BundleError(f"{weights} is not the file the card was written for; train it again")
    if not (folder / KNOWN).is_file() or _sha256(folder / KNOWN) != card["known_sha256"]:
        raise BundleError(f"{folder / KNOWN} is not the file the card was written for")
    try:
        tensors = load_file(weights)
        known = read_known(folder / KNOWN, len(card["families"]))
        fits = [
            Fit.of_entry(raw, part(tensors, str(i)), config, known[i])
            for i, raw in enumerate(card["families"])
        ]
    except BundleError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(
            f"{folder}: the files do not fit the card ({reason}); train the bundle again"
        ) from error
    check_seal(folder)
    about = {name: value for name, value in card.items() if name not in USED}
    return Bundle(config, fits, card["snapshot_id"], about)


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a bundle of either kind. Raises BundleError if there is none."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError as error:
        hint = "train one: ncpl-train --snapshot latest --out DIR, then pass --bundle DIR"
        raise BundleError(f"{folder} holds no bundle (no {CARD}); {hint}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{folder / CARD} is not JSON ({error}); train it again") from error
    if not isinstance(card, dict):
        raise BundleError(f"{folder / CARD} holds no JSON object; train the bundle again")
    return card


@dataclass(frozen=True)
class Asked:
    """A configuration as a fit reads it."""

    row: Config
    """Derived, without what no training run like it had."""
    unread: list[str]
    """The names of what it states and no model reads."""

    @classmethod
    def of(cls, fit: Fit, config: Config, row: Config) -> Asked:
        """Return what a fit reads of a checked configuration and its derived row."""
        kept, left = fit.encoder.read_part(config)
        return cls(row if kept is config else derive(kept), left)


def unread(names: Sequence[str], source: str) -> list[str]:
    """Return the sentence that names what is not read of a configuration."""
    if not names:
        return []
    return [f"not read, since no training run of {source} tells its effect: {', '.join(names)}"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
