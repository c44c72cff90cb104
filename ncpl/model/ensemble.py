"""A fit: what training gives for one family of comparable losses, and what it says of runs.

Legend: M members, B runs, P points, J functions of a curve, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ncpl.data.fields import Config
from ncpl.data.schedules import Array, Schedules
from ncpl.data.snapshot import Family
from ncpl.errors import ConfigError
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.completion import Completer
from ncpl.model.config import FitConfig
from ncpl.model.curve_head import CurveHeads, head_inputs
from ncpl.model.divergence import Risk
from ncpl.model.encoder import Encoded, Encoder
from ncpl.model.gaussian_process import Process
from ncpl.model.inputs import SIZE, Inputs
from ncpl.model.neighbours import Known, KnownRuns
from ncpl.model.network import Network
from ncpl.model.response_surface import Surface


class Readings(NamedTuple):
    """What the members of a fit say about B runs."""

    loss: Array
    """(M, B) nats per token."""
    scale: Array
    """(M, B) expected absolute error, nats."""
    hidden: Array
    """(M, B, W) what each transformer holds at the end; curve heads read it."""
    best: Array
    """(B,) the loss of the best tenth of runs of that size and data by the surface, nats."""


@dataclass(frozen=True)
class Fit:
    """What training gives for one family of comparable losses."""

    family: Family
    encoder: Encoder
    baseline: Chinchilla
    network: Network
    """All members."""
    seeds: list[int]
    """Of the members."""
    process: Process | None = None
    process_share: float = 0.0
    """Weight of the process beside each member."""
    heads: CurveHeads | None = None
    """None where the fit knows no curves."""
    risk: Risk | None = None
    """Risk of divergence; None where too few training runs diverged."""
    known: KnownRuns = field(default_factory=lambda: KnownRuns([], [], []))
    """The training runs, in the order of the process."""
    calibration: dict[str, float] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields it reads."""
        return self.encoder.fields

    @property
    def surface(self) -> Surface:
        """Return the response surface, which all members share."""
        return self.network.surface

    @property
    def floor(self) -> float:
        """Return the surface's irreducible loss, nats: more size and data never go below it."""
        return float(self.surface.base[4])

    @cached_property
    def completer(self) -> Completer:
        """Return what fills in absent fields from the training runs; made once."""
        return Completer(self.encoder, self.surface, self.known.configs, self.known.losses)

    def read(self, encoded: Encoded, batch_size: int = 128) -> Readings:
        """Return what every member says about the runs."""
        inputs = Inputs.of(encoded)
        parts = [
            self._read(inputs.take(slice(i, i + batch_size)))
            for i in range(0, max(len(encoded), 1), batch_size)
        ]
        loss, log_scale, hidden, best = (
            np.concatenate(part, axis=-1).astype(np.float64) for part in zip(*parts, strict=True)
        )
        return Readings(loss, np.exp(log_scale), hidden.swapaxes(1, 2), best)

    def _read(self, inputs: Inputs) -> tuple[Array, Array, Array, Array]:
        out = self.network(inputs)
        coefficients_BK = self.surface.coefficients(inputs.law)
        loss_MB = out.loss
        if self.process is not None and self.process_share:
            surface_B = self.surface.value(coefficients_BK, inputs.law)
            whole_B = surface_B + self.process.mean(inputs, self.surface)
            loss_MB = loss_MB + self.process_share * (whole_B - loss_MB)
            kept_B = self.process.kept(inputs.law[:, SIZE])
            loss_MB = surface_B + kept_B * (loss_MB - surface_B)
        best_B = coefficients_BK[:, 0] + self.surface.lowest
        return loss_MB, out.log_scale, out.hidden, best_B

    def divergence_risk(self, encoded: Encoded) -> Array | None:
        """Return probabilities of divergence (B,), or None where the fit learned no risk."""
        if self.risk is None or self.process is None:
            return None
        found: Array = self.risk(Inputs.of(encoded), self.process, self.surface)
        return found

    def nearest(self, encoded: Encoded, count: int) -> list[list[Known]]:
        """Return the `count` training runs most like each run; none without a process."""
        if self.process is None:
            return [[] for _ in range(len(encoded))]
        places, far = self.process.nearest(Inputs.of(encoded), self.surface, count)
        return [
            self.known.at(place, distance)
            for place, distance in zip(places.tolist(), far.tolist(), strict=True)
        ]

    def shapes(
        self, rows: Sequence[Config], encoded: Encoded, hidden_MBW: Array, frac_BP: Array
    ) -> Array:
        """Return every member's loss less its final loss, (M, B, P), nats.

        `rows` are derived configurations, `hidden_MBW` what `read` gave for them. Raises
        ConfigError when the fit has no curves.
        """
        if self.heads is None:
            raise ConfigError(f"the fit for {self.family[0]} was trained without curves")
        schedules = Schedules.of(rows)
        inputs_BS = head_inputs(self.network, rows, Inputs.of(encoded), schedules)
        coefficients_MBJ = self.heads(hidden_MBW.astype(np.float32), inputs_BS)
        shapes_BPM = schedules.functions(frac_BP) @ coefficients_MBJ.transpose(1, 2, 0)
        return np.moveaxis(shapes_BPM, 2, 0)

    def entry(self) -> dict[str, Any]:
        """Return what the card tells of the fit: everything but arrays and known runs."""
        return {
            "family": list(self.family),
            "encoder": self.encoder.to_dict(),
            "baseline": asdict(self.baseline),
            "seeds": self.seeds,
            "calibration": self.calibration,
        }

    def arrays(self) -> dict[str, Array]:
        """Return every array by part and name; the part of a member is its seed."""
        parts = dict(zip(map(str, self.seeds), self.network.states(), strict=True))
        if self.process is not None:
            parts["process"] = self.process.state()
        if self.risk is not None:
            parts["risk"] = self.risk.state()
        if self.heads is not None:
            names = (f"head{seed}" for seed in self.seeds)
            parts |= dict(zip(names, self.heads.states(), strict=True))
        return {
            f"{part}/{name}": np.array(array, order="C")
            for part, state in parts.items()
            for name, array in state.items()
        }

    @classmethod
    def of_entry(
        cls,
        entry: Mapping[str, Any],
        found: Mapping[str, Array],
        config: FitConfig,
        known: KnownRuns,
    ) -> Fit:
        """Return the fit of a card's entry and its arrays."""
        encoder = Encoder.from_dict(entry["encoder"])
        seeds = list(entry["seeds"])
        network = Network.of_states(config, encoder, [part(found, str(seed)) for seed in seeds])
        heads = [state for seed in seeds if (state := part(found, f"head{seed}"))]
        process, risk = part(found, "process"), part(found, "risk")
        source, metric, dataset, tokenizer, unit = entry["family"]
        return cls(
            (source, metric, dataset, tokenizer, unit),
            encoder,
            Chinchilla(**entry["baseline"]),
            network,
            seeds,
            Process.of_state(process) if process else None,
            config.process_share,
            CurveHeads.of_states(heads) if heads else None,
            Risk(**risk) if risk else None,
            known,
            dict(entry["calibration"]),
        )


def part(found: Mapping[str, Array], name: str) -> dict[str, Array]:
    """Return the arrays of one part, by their names inside it."""
    start = f"{name}/"
    return {key.removeprefix(start): t for key, t in found.items() if key.startswith(start)}
