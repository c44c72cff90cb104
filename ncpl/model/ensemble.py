"""A fit: what training gives for one family of comparable losses, and what it says of runs.

Legend: M members, B runs, P points, W width, S inputs of a curve head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ncpl.data.columns import column
from ncpl.data.fields import Config
from ncpl.data.schedules import Array, Schedules
from ncpl.data.snapshot import Family
from ncpl.errors import ConfigError
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.curve_head import CurveHead
from ncpl.model.divergence import Risk
from ncpl.model.encoder import Encoded, Encoder
from ncpl.model.gaussian_process import Process
from ncpl.model.neighbours import Known, KnownRuns
from ncpl.model.network import NCPL, sized
from ncpl.model.process_mean import ProcessMean
from ncpl.model.response_surface import Surface
from ncpl.model.stacked import Stacked


@dataclass
class Fit:
    """What training gives for one family of comparable losses."""

    family: Family
    encoder: Encoder
    baseline: Chinchilla
    members: list[NCPL]
    seeds: list[int]
    process: Process | None = None
    process_share: float = 0.0
    """Weight of the process beside each member."""
    heads: list[CurveHead] = field(default_factory=list)
    """One a member, or none: then the fit knows no curves."""
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
        """Return the law, which all members share."""
        return self.members[0].surface

    @cached_property
    def stacked(self) -> Stacked:
        """Return the members side by side; made once, from the weights as they then are."""
        return Stacked(self.members)

    @cached_property
    def process_mean(self) -> ProcessMean | None:
        """Return what the process says; made once, from its numbers as they then are."""
        return None if self.process is None else ProcessMean(self.process)

    @torch.inference_mode()
    def read(self, encoded: Encoded, batch_size: int = 128) -> Readings:
        """Return what every member says about the runs."""
        tensors = tensors_of(encoded)
        parts = [
            self._read(*(t[i : i + batch_size] for t in tensors))
            for i in range(0, max(len(encoded), 1), batch_size)
        ]
        loss_MB, log_scale_MB, hidden_MWB, best_B = (
            torch.cat(p, dim=-1) for p in zip(*parts, strict=True)
        )
        return Readings(
            loss_MB.double(), log_scale_MB.exp().double(), hidden_MWB.mT, best_B.double()
        )

    def _read(
        self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        loss_MB, log_scale_MB, hidden_MWB = self.stacked(numbers_BF, codes_BF, law_B6)
        law_B6 = sized(law_B6)
        coefficients_BK = self.surface.coefficients(law_B6)
        if self.process_mean is not None and self.process_share:
            law_B = self.surface.value(coefficients_BK, law_B6)
            left_B = self.process_mean((numbers_BF, codes_BF, law_B6), self.surface)
            loss_MB = loss_MB.lerp((law_B + left_B).expand_as(loss_MB), self.process_share)
        return loss_MB, log_scale_MB, hidden_MWB, coefficients_BK[:, 0] + self.surface.lowest

    def divergence_risk(self, encoded: Encoded) -> Array | None:
        """Return probabilities of divergence (B,), or None where the fit learned no risk."""
        if self.risk is None or self.process is None:
            return None
        found = self.risk(tensors_of(encoded), self.process, self.surface)
        return np.asarray(found, dtype=np.float64)

    def nearest(self, encoded: Encoded, count: int) -> list[list[Known]]:
        """Return the `count` training runs most like each run; none without a process."""
        if self.process is None:
            return [[] for _ in range(len(encoded))]
        places, far = self.process.nearest(tensors_of(encoded), self.surface, count)
        return [
            self.known.at(place, distance)
            for place, distance in zip(places.tolist(), far.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def shapes(
        self, rows: Sequence[Config], encoded: Encoded, hidden_MBW: Tensor, frac_BP: Array
    ) -> Tensor:
        """Return every member's loss less its final loss, (members, B, P), nats.

        `rows` are derived configurations, `hidden_MBW` what `read` gave for them. Raises
        ConfigError when the fit has no curves.
        """
        if not self.heads:
            raise ConfigError(f"the fit for {self.family[0]} was trained without curves")
        schedules = Schedules.of(rows)
        functions_BPJ = torch.from_numpy(schedules.functions(frac_BP)).float()
        # Members share the law, and so what their heads hear beside the transformer.
        inputs_BS = head_inputs(self.members[0], rows, tensors_of(encoded), schedules)
        found = [
            torch.einsum("bpj,bj->bp", functions_BPJ, head(hidden_BW, inputs_BS))
            for head, hidden_BW in zip(self.heads, hidden_MBW, strict=True)
        ]
        return torch.stack(found).double()


class Readings(NamedTuple):
    """What the members of a fit say about B runs."""

    loss: Tensor
    """(M, B) nats per token."""
    scale: Tensor
    """(M, B) expected absolute error, nats."""
    hidden: Tensor
    """(M, B, W) what each transformer holds at the end; curve heads read it."""
    best: Tensor
    """(B,) the loss of the best tenth of runs of that size and data by the law, nats."""


def tensors_of(encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
    """Return the network's three inputs."""
    return (
        torch.from_numpy(encoded.numbers),
        torch.from_numpy(encoded.codes),
        torch.from_numpy(encoded.law).float(),
    )


def head_inputs(
    member: NCPL,
    rows: Sequence[Config],
    tensors: tuple[Tensor, Tensor, Tensor],
    schedules: Schedules,
) -> Tensor:
    """Return what a curve head hears beside the transformer (B, S).

    The numbers of the recipe, the schedule, the log of the number of steps, and the
    optimizer as one of the known ones.
    """
    numbers_BF, codes_BF, law_B6 = tensors
    law_B6 = sized(law_B6)
    numbers = member.network_inputs(numbers_BF, law_B6) * (codes_BF == 1)
    steps = np.nan_to_num(np.log(column(rows, "train_steps") / 1e4))
    place_B = torch.nan_to_num(law_B6[:, 5], nan=member.surface.n_optimizers).long()
    optimizer = nn.functional.one_hot(place_B, member.surface.n_optimizers + 1)
    rest = np.column_stack([schedules.inputs(), steps])
    return torch.cat([numbers, torch.from_numpy(rest), optimizer], dim=1).float()
