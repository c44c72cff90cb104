"""What the start of a run changes in a family: its correction of a bundle's curve, and how sure.

A correction is the mean of two: a distribution of curves (`curve_process`) and a process over
residuals in windows (`window_process`). Both are learned from training runs with predictions of
fits that did not know them. Half widths of 90% intervals are quantiles of what left-out training
runs were missed by, of those whose prefix lies as far off as this one's (Mondrian). Early in a run,
where left-out runs were not helped, the configuration alone answers.

A bundle keeps this in prefix.safetensors, and the file's hash on its card.

Legend: C cuts, U places of the rest, Q shares asked for, S bins of size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from ncpl.data.fields import Config
from ncpl.data.schedules import FIRST, Array
from ncpl.model.added_file import added, write_added
from ncpl.model.curve_process import CurveProcess
from ncpl.model.ensemble import part
from ncpl.model.intervals import Z90
from ncpl.model.prefix_features import Prefixes, features, is_spiky
from ncpl.model.window_process import PLACES, WindowProcess

PREFIX = "prefix.safetensors"
CUTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.9)
"""Shares of the run at which a correction and its widths are learned; between them, in between."""
NARROWEST = 0.5
"""Least share of the usual width of a configuration that narrows an interval."""
REACH = 0.3
"""Nats, for files that hold none: 99% of left-out residuals lie below .06 to .39, by cut."""
FLAT = 2.0
"""Standard deviation of a final loss of which only the start of the run tells, nats."""
ENTRY = "prefix"
"""Its name on the card."""


class Correction(NamedTuple):
    """What a prefix says lies off the predicted curve, at Q shares past the cut, nats."""

    shift: Array
    half: Array
    """Half widths of 90% intervals."""
    weight: float
    """Share of the correction that counts: 0 where the configuration alone answers."""
    beyond: float = 0.0
    """How much farther off the prefix lies than hardly any that training has seen, nats: as much is
    added to half widths, since what of it will last was never measured."""


@dataclass(frozen=True)
class FamilyPrefix:
    """The corrections of one family."""

    curves: CurveProcess
    windows: list[WindowProcess]
    """One a cut."""
    trust: Array
    """(C,) share of the correction that counts."""
    edges: Array
    """(C, S - 1) sizes of the last residual between bins, nats."""
    widths: Array
    """(C, S + 1, U) half widths in each bin, then of runs that spiked, at PLACES of the rest."""
    reach: Array
    """(C,) size of the last residual that hardly any training run exceeded, nats."""
    typical: float
    """Usual half width of a configuration alone, nats."""
    power: float
    """Of a configuration's half width over the usual one, by which these are multiplied."""
    least: float = NARROWEST
    """Least share of the usual half width that counts."""

    def correct(
        self, row: Config, prefixes: Prefixes, cut: float, at_Q: Array, half: float
    ) -> Correction:
        """Return the correction of one run; `half` is the half width by its configuration alone."""
        known = prefixes.up_to(cut)[0]
        residual_P = (prefixes.loss - prefixes.predicted)[0, known]
        shift_Q = np.zeros(len(at_Q))
        told = self.curves.tell(row, prefixes.frac[0, known], residual_P, at_Q)
        if not known.any():
            return Correction(shift_Q, np.full(len(at_Q), half), 0.0)
        place_Q = np.clip((at_Q - cut) / max(1 - cut, 1e-9), 0.0, 1.0)
        residual, context = features(prefixes, [row], cut)
        size = abs(residual[0, 1])
        spiked = bool(is_spiky(prefixes.loss, known[None])[0])
        wide = max(half / self.typical, self.least) ** self.power
        below, above, share = between(cut)
        weight, half_Q = 0.0, np.zeros(len(at_Q))
        for i, much in ((below, 1 - share), (above, share)):
            if not much:
                continue
            window_U = self.windows[i].shifts(residual, context)[0]
            window_Q = np.interp(place_Q, PLACES, window_U)
            shift_Q += much * self.trust[i] * (told.mean + window_Q) / 2
            weight += much * float(self.trust[i])
            bin_ = -1 if spiked else int(np.searchsorted(self.edges[i], size))
            half_Q += much * np.interp(place_Q, PLACES, self.widths[i, bin_])
        beyond = size - (1 - share) * float(self.reach[below]) - share * float(self.reach[above])
        return Correction(shift_Q, half_Q * wide + max(beyond, 0.0), weight, max(beyond, 0.0))

    def state(self) -> dict[str, Array]:
        """Return the arrays of a bundle."""
        own: dict[str, Array] = {
            "trust": self.trust, "edges": self.edges, "widths": self.widths,
            "reach": self.reach, "typical": np.array(self.typical), "power": np.array(self.power),
        }  # fmt: skip
        own |= {f"curves/{name}": a for name, a in self.curves.state().items()}
        for i, window in enumerate(self.windows):
            own |= {f"window{i}/{name}": a for name, a in window.state().items()}
        return own

    @classmethod
    def of_state(cls, state: Mapping[str, Array]) -> Self:
        """Return the corrections of a bundle's arrays. Raises LookupError where one is missing."""
        windows = [WindowProcess.of_state(part(state, f"window{i}")) for i in range(len(CUTS))]
        older = "reach" not in state  # files until 0.2.0: widths only grew, and had no reach
        return cls(
            CurveProcess.of_state(part(state, "curves")), windows, state["trust"], state["edges"],
            state["widths"], np.full(len(CUTS), REACH) if older else state["reach"],
            state["typical"].item(), 1.0 if older else state["power"].item(),
            1.0 if older else NARROWEST,
        )  # fmt: skip


def between(cut: float) -> tuple[int, int, float]:
    """Return the two neighbours of a cut among CUTS, and how far it lies to the second."""
    above = int(np.clip(np.searchsorted(CUTS, cut), 1, len(CUTS) - 1))
    share = (cut - CUTS[above - 1]) / (CUTS[above] - CUTS[above - 1])
    return above - 1, above, float(np.clip(share, 0.0, 1.0))


@dataclass(frozen=True)
class AnyPrefix:
    """The shape of any curve, for runs whose family no model knows."""

    curves: CurveProcess
    """Of losses themselves, the base being zero."""
    widths: Array
    """(C, U) half widths in a family that the shape was not learned from."""

    def tell(
        self, row: Config, frac_P: Array, loss_P: Array, cut: float, at_Q: Array
    ) -> Correction:
        """Return losses at Q shares past the cut and half widths, by the start of the run alone."""
        known = (frac_P > FIRST) & (frac_P <= cut + 1e-9)
        level = (float(loss_P[-1]), FLAT)
        told = self.curves.tell(row, frac_P[known], loss_P[known], at_Q, final=level)
        below, above, share = between(cut)
        half_U = (1 - share) * self.widths[below] + share * self.widths[above]
        if cut < CUTS[0]:
            half_U = half_U * CUTS[0] / max(cut, FIRST)  # nothing was measured: openly wide
        place_Q = np.clip((at_Q - cut) / max(1 - cut, 1e-9), 0.0, 1.0)
        half_Q = np.maximum(np.interp(place_Q, PLACES, half_U), Z90 * told.spread)
        return Correction(told.mean, half_Q, 1.0)


@dataclass(frozen=True)
class PrefixModel:
    """The corrections of a bundle's families, by their sources, and the shape of any curve."""

    families: dict[str, FamilyPrefix]
    anywhere: AnyPrefix
    about: dict[str, Any]

    def save(self, folder: Path) -> str:
        """Write the arrays into a bundle's folder and return the file's hash."""
        tensors = {f"anywhere/{name}": a for name, a in self.anywhere.curves.state().items()}
        tensors["anywhere/widths"] = self.anywhere.widths
        for source, family in self.families.items():
            tensors |= {f"{source}/{name}": a for name, a in family.state().items()}
        return write_added(folder / PREFIX, tensors)


def load_prefix(folder: Path, card: Mapping[str, Any]) -> PrefixModel | None:
    """Return what a bundle's folder holds of prefixes; None where it holds nothing.

    Raises BundleError where the file is not that of the card.
    """
    entry = card.get(ENTRY)
    if not entry:
        return None
    with added(folder / PREFIX, entry) as tensors:
        families = {s: FamilyPrefix.of_state(part(tensors, s)) for s in entry["sources"]}
        shape = part(tensors, "anywhere")
        anywhere = AnyPrefix(CurveProcess.of_state(shape), shape["widths"])
    return PrefixModel(families, anywhere, dict(entry))


def prefixes_of(frac_P: Array, loss_P: Array, curve: Any, cut: float) -> Prefixes:
    """Return one run's prefix; `curve(shares)` gives the predicted losses at shares of the run."""
    known = (frac_P > FIRST) & (frac_P <= cut + 1e-9)
    own = frac_P[known]
    predicted = curve(np.concatenate([own, [cut, 1.0]]))
    return Prefixes(
        own[None], loss_P[known][None], predicted[None, :-2], predicted[-2:-1], predicted[-1:]
    )
