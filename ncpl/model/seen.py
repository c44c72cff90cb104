"""What training has seen: ranges and names, and how far a configuration lies outside them.

Legend: B runs. A row is a configuration after `fields.derive`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.data.columns import column, scaled_by
from ncpl.data.fields import FIELDS, Config

LAW_FIELDS = (
    "params_non_embedding",
    "data_tokens",
    "learning_rate",
    "batch_tokens",
    "ffn_ratio",
)
TOLD_BY_OTHERS = frozenset(
    (
        "train_tokens", "nominal_train_tokens", "train_steps", "warmup_frac", "ffn_ratio",
        "decay_frac", "timescale_frac",
    )
)  # fmt: skip
"""Fields whose range says nothing that the range of another does not."""
SHAPE = frozenset(("n_layers", "d_model", "d_ff", "n_heads"))
"""Fields that grow with the size: where the size itself lies outside, they say it again."""
COUNTED_ONCE = SHAPE | {"batch_size_sequences"}
"""Fields that count the same however odd: a shape matters little beside the size, and how odd a
batch is its tokens tell."""
UNSEEN_NAME = 3.0
"""Distance of a name that training has not seen: Marin's optimizers, left out one at a time, are
missed by up to three times what the left-out largest size is (the card tells both)."""
RISING = 3.0
"""The same for each log of a learning rate above the highest: somewhere there runs diverge."""
ORDINARY_PRECISION = frozenset(
    (None, "bf16", "bfloat16", "fp16", "float16", "fp32", "float32", "tf32", "mixed", "bf16-mixed")
)
"""Precisions that change a loss by less than two runs of one configuration differ by."""
AT_ZERO, MOST_ODD = 1.0, 4.0
"""How odd a number is at zero, where no training run had it, and at most: openly wide."""
TOLERANCE = 1e-6
"""Relative slack of a range."""


ANY_DENSITY = (0.0, 1e300)
"""Range of tokens per parameter where training runs state no sizes."""


COARSE = frozenset(("precision", "weight_bits", "activation_bits"))


def is_coarse(row: Config) -> bool:
    """Return whether a run counts in numbers coarser than those of 16 bits, as no training run."""
    bits = [row.get(name) for name in ("weight_bits", "activation_bits")]
    few = any(isinstance(count, int | float) and count < 16 for count in bits)
    return few or row.get("precision") not in ORDINARY_PRECISION


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Ranges and names of the training runs of one family."""

    ranges: dict[str, tuple[float, float]]
    """Smallest and largest value seen in training, of every number in the table."""
    categories: dict[str, tuple[str, ...]]
    density: tuple[float, float] = ANY_DENSITY
    """Fewest and most tokens per parameter: where size and data are known together."""

    def distance(self, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return how far each row (B) lies outside what training has seen; 0 inside.

        Logs of size, data, learning rate and batch beyond their range, summed; more for each name
        that training has not seen, and if any other number is outside, half one more and how odd it
        is in units of its field. A shape counts only where the size is within its range: a larger
        model is deeper or wider.
        """
        far = np.zeros(len(rows))
        other = np.zeros(len(rows))
        sized = self._beyond("params_non_embedding", rows) > 0
        given = set().union(*rows)
        for name in self.ranges:
            if name not in given or name in TOLD_BY_OTHERS:
                continue
            if name in LAW_FIELDS:
                far += self._beyond(name, rows)
                continue
            odd = self._odd(name, rows)
            other = np.maximum(other, np.where(sized, 0.0, odd) if name in SHAPE else odd)
        for name in given & set(self.categories):
            far += UNSEEN_NAME * ~self.knows(name, rows)
        if given & COARSE:
            far += UNSEEN_NAME * np.array([is_coarse(row) for row in rows])
        return far + other

    def apart(self, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return the logs by which tokens per parameter (B) lie below or above all training runs'.

        Size and data may each lie near their range where the two together do not.
        """
        low, high = self.density
        logs = np.log(column(rows, "data_tokens") / column(rows, "params_non_embedding"))
        logs = np.nan_to_num(logs, nan=math.log(low) if low > 0 else 0.0)
        few = np.maximum(math.log(low) - logs, 0) if low > 0 else 0.0 * logs
        beyond = few + np.maximum(logs - math.log(high), 0) if high < ANY_DENSITY[1] else few
        return np.where(beyond < TOLERANCE, 0.0, beyond)

    def knows(self, name: str, rows: Sequence[Config]) -> npt.NDArray[np.bool_]:
        """Return for which rows (B) a name is one training has seen, or absent."""
        known = {None, *self.categories.get(name, ())}
        return np.fromiter((row.get(name) in known for row in rows), bool, len(rows))

    def _odd(self, name: str, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return half one, and more where it is counted, for a number outside its range (B)."""
        ends = np.array(self.ranges[name])
        values = np.nan_to_num(column(rows, name), nan=ends[0])
        slack = TOLERANCE * np.abs(values)
        odd = (values < ends[0] - slack) | (values > ends[1] + slack)
        if name in COUNTED_ONCE or not odd.any():
            return np.where(odd, 0.5, 0.0)
        scaled, (low, high) = (scaled_by(FIELDS[name], v) for v in (values, ends))
        away = np.maximum(scaled - high, low - scaled)
        if FIELDS[name].transform == "log":  # zero has no place on it
            away[(values == 0) | (ends[1] == 0)] = AT_ZERO
        return np.where(odd, 0.5 + np.minimum(away, MOST_ODD), 0.0)

    def _beyond(self, name: str, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return the logs by which a number lies beyond its range (B); 0 where it is absent."""
        if name not in self.ranges:
            return np.zeros(len(rows))
        low, high = np.log(self.ranges[name])
        logs = np.log(np.maximum(np.nan_to_num(column(rows, name), nan=np.exp(low)), 1e-300))
        above = RISING if name == "learning_rate" else 1.0
        beyond = above * np.maximum(logs - high, 0) + np.maximum(low - logs, 0)
        return np.where(beyond < TOLERANCE, 0.0, beyond)

    def outside(self, row: Config) -> list[str]:
        """Return one sentence for each value of a row outside what training has seen."""
        found = []
        for name, (low, high) in self.ranges.items():
            if name in TOLD_BY_OTHERS:
                continue
            value = row.get(name)
            if value is None or low * (1 - TOLERANCE) <= value <= high * (1 + TOLERANCE):
                continue
            seen = f"always {low:g}" if low == high else f"{low:g} to {high:g}"
            effect = "" if name in LAW_FIELDS else "; no training run shows its effect there"
            found.append(f"{name} is {value:g}, in training it was {seen}{effect}")
        if self.apart([row])[0] > 0:
            share = row["data_tokens"] / row["params_non_embedding"]
            low, high = self.density
            found.append(
                f"tokens per parameter are {share:.3g}, in training {low:.3g} to {high:.3g}"
            )
        for name, values in self.categories.items():
            if row.get(name) is not None and row[name] not in values:
                found.append(f"{name} is {row[name]!r}, in training it was {', '.join(values)}")
        return found
