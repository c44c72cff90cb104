"""What a configuration leaves out, filled in from training runs: by a rule, or as a distribution.

Every prediction goes by the path that is scored, that of whole configurations. What is absent comes
from the training runs of the source, in this order:

1. a field with one value in all of them has that value (`Encoder.completed`);
2. the shape is that of the trained size nearest in log N. Beyond the trained sizes nobody knows it:
   that shape and the usual feed-forward layers, four times as wide as the model, count half each;
3. all other fields (learning rate, batch, optimizer, its own numbers) are drawn together from
   training runs near in size, data and whatever is given: at most `DRAWN` of them, spread evenly
   over how good their settings are. Learning rates and batches are carried to the size and data
   asked for along the law's optimum.

A field that most runs of an optimizer do not state is none of its own, and stays away.

Legend: B configurations, C completions, R training runs, G given numbers compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.columns import column, scaled_by
from ncpl.data.fields import EXTRA, FIELDS, Config, derive
from ncpl.model.encoder import Encoder
from ncpl.model.inputs import PLACE
from ncpl.model.response_surface import Surface

Array = npt.NDArray[np.float64]
DRAWN = 16
"""Training runs that stand for the distribution of what is absent."""
SHAPE = ("n_layers", "d_model", "d_ff", "n_heads")
USUAL_RATIO = 4.0
"""Feed-forward width over model width where nothing else is known."""
SAME_SIZE = 0.05
"""Logs of size beyond the trained ones within which a model has the nearest size's shape."""
NEAR = {
    "params_non_embedding": 0.5,
    "data_tokens": 0.5,
    "learning_rate": 0.35,
    "batch_tokens": 0.35,
}
"""Logs within which a training run counts as near; other numbers: one standard deviation."""
STATED = 0.5
"""Share of an optimizer's runs that must state a field for it to be one of its own."""
BLOCK = 512
"""Configurations compared with all training runs at once."""
SHARES = frozenset(("warmup_frac", "decay_frac"))
"""Fields that the number of steps decides."""
DERIVED_TOO = frozenset(("timescale_frac", "ffn_ratio"))
"""Fields that follow from others, and so are not drawn."""


@dataclass(frozen=True)
class Completed:
    """Whole configurations that stand for B partial ones."""

    rows: list[Config]
    """(C) derived configurations."""
    of: npt.NDArray[np.int64]
    """(C) which configuration each belongs to, in ascending order."""
    weight: Array
    """(C) those of one configuration sum to one."""
    missing: list[tuple[str, ...]]
    """(B) what was drawn, with `shape` for a shape: the form of each configuration."""
    notes: list[list[str]] = field(default_factory=list)
    """(B) one sentence for each thing that was filled in, constants left out."""

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """Return the place of the first completion of each configuration (B)."""
        return np.flatnonzero(np.diff(self.of, prepend=-1))

    def mean(self, values_C: Array) -> Array:
        """Return the weighted mean over the completions of each configuration (B, ...)."""
        weight = self.weight.reshape(-1, *[1] * (values_C.ndim - 1))
        return np.asarray(np.add.reduceat(weight * values_C, self.first, axis=0))


class Completer:
    """The training runs of one fit, ready to lend what a configuration leaves out."""

    def __init__(
        self, encoder: Encoder, surface: Surface, configs: Sequence[Config], losses: Sequence[float]
    ) -> None:
        """Keep the runs in the order of how far above the law's best each is."""
        self.encoder, self.surface = encoder, surface
        rows = [derive(config) for config in configs]
        excess = np.array(losses) - self._law(rows)[:, 0] if rows else np.zeros(0)
        order = np.argsort(excess, kind="stable")
        self.rows = [rows[i] for i in order]
        self.optimizer = np.array([str(row.get("optimizer") or "") for row in self.rows])
        self.optimum_R2 = self._law(self.rows)[:, 2:4] if rows else np.zeros((0, 2))
        drawn = [n for n in encoder.fields if n not in DERIVED_TOO and n not in NEAR]
        drawn = ["learning_rate", "batch_tokens", *drawn]
        drawn += ["schedule"] if len(encoder.categories.get("schedule", ())) > 1 else []
        self.drawn = tuple(dict.fromkeys(drawn))
        self.own = {
            name: self._stated(
                [r for r, o in zip(self.rows, self.optimizer, strict=True) if o == name]
            )
            for name in dict.fromkeys(self.optimizer.tolist())
        }
        self.all = self._stated(self.rows)
        self.logs = {name: np.log(column(self.rows, name)) for name in NEAR}
        shapes = {
            row["params_non_embedding"]: {name: row[name] for name in SHAPE if name in row}
            for row in self.rows
            if row.get("params_non_embedding") and row.get("ffn_ratio")
        }
        self.sizes = np.log(np.array(sorted(shapes)))
        self.shapes = [shapes[size] for size in sorted(shapes)]

    def __call__(self, rows: Sequence[Config]) -> Completed:
        """Return whole configurations for derived ones; what lacks nothing stands for itself."""
        rows = [self.encoder.completed(row) for row in rows]
        notes: list[list[str]] = [[] for _ in rows]
        parts: list[list[tuple[Config, float]]] = [[(row, 1.0)] for row in rows]
        missing = [self._missing(row) for row in rows]
        patterns: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for i, (row, lacking) in enumerate(zip(rows, missing, strict=True)):
            if lacking:
                patterns.setdefault((str(row.get("optimizer") or ""), lacking), []).append(i)
        for (optimizer, lacking), own in patterns.items():
            for begin in range(0, len(own), BLOCK):
                block = own[begin : begin + BLOCK]
                asked = [rows[i] for i in block]
                donors, weight = self._drawn(asked, optimizer, lacking)
                optimum_B2 = self._law(asked)[:, 2:4]
                for i, places, best_2 in zip(block, donors, optimum_B2, strict=True):
                    carried = np.exp(best_2 - self.optimum_R2[places]).tolist()
                    parts[i] = [
                        (self._lent(rows[i], self.rows[place], lacking, to), weight)
                        for place, to in zip(places.tolist(), carried, strict=True)
                    ]
                    notes[i].append(self._told(lacking, [row for row, _ in parts[i]]))
        low, high = self.encoder.ranges.get("ffn_ratio", (0.0, 0.0))
        if self.shapes and low < high:  # else the shape says nothing beside the size
            for i, row in enumerate(rows):
                if row.get("ffn_ratio") is None:
                    shaped, told = self._shapes(row)
                    parts[i] = [
                        ({**r, **shape}, w / len(shaped)) for r, w in parts[i] for shape in shaped
                    ]
                    missing[i] = (*missing[i], "shape")
                    notes[i].append(told)
        of = np.repeat(np.arange(len(rows)), [len(part) for part in parts])
        whole = [row for part in parts for row, _ in part]
        return Completed(
            whole, of, np.array([w for part in parts for _, w in part]), missing, notes
        )

    def _law(self, rows: Sequence[Config]) -> Array:
        """Return the law's coefficients (B, K), those of no optimizer in particular."""
        law = self.encoder.encode_rows(rows).law.copy()
        law[:, PLACE] = np.nan
        law[:, :PLACE] = np.nan_to_num(law[:, :PLACE])
        return np.asarray(self.surface.coefficients(law.astype(np.float32)), dtype=np.float64)

    def _stated(self, rows: Sequence[Config]) -> tuple[str, ...]:
        """Return the fields that most of these runs have."""
        enough = STATED * len(rows)
        return tuple(
            name for name in self.drawn if sum(row.get(name) is not None for row in rows) > enough
        )

    def _missing(self, row: Config) -> tuple[str, ...]:
        """Return the fields a row lacks that runs like it have."""
        optimizer = row.get("optimizer")
        if optimizer is None and len(self.encoder.optimizers) > 1:
            return (
                "optimizer",
                *(n for n in self.drawn if n != "optimizer" and row.get(n) is None),
            )
        own = self.own.get(str(optimizer or ""), self.all)
        lacking = [name for name in own if row.get(name) is None]
        follows = {
            name
            for name, of in (("warmup_frac", "warmup_steps"), ("decay_frac", "schedule"))
            if lacking and row.get(of) is not None
        }
        return tuple(name for name in lacking if name not in follows)

    def _drawn(
        self, rows: Sequence[Config], optimizer: str, lacking: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], float]:
        """Return places of training runs (B, DRAWN) for rows that lack the same, and their weight.

        They are the quantiles of the runs near each row, in the order of how good runs are.
        """
        allowed = self.optimizer == optimizer if optimizer in self.own else self.optimizer != "?"
        far_BR = np.zeros((len(rows), len(self.rows)))
        for name in self._given(rows, lacking):
            own_R, asked_B, reach = self._compared(name, rows)
            apart_BR = (asked_B[:, None] - own_R) / reach
            stated_R = np.isfinite(own_R)
            if (stated_R & allowed).any():
                allowed = allowed & stated_R
            far_BR += np.nan_to_num(apart_BR) ** 2
        far_BR = np.where(allowed, far_BR, np.inf)
        near_BR = np.exp((far_BR.min(1, keepdims=True) - far_BR) / 2)
        share_BR = near_BR.cumsum(1) / near_BR.sum(1, keepdims=True)
        at = (np.arange(DRAWN) + 0.5) / DRAWN
        places = [np.searchsorted(share_R, at) for share_R in share_BR]
        return np.minimum(np.stack(places), len(self.rows) - 1), 1 / DRAWN

    def _given(self, rows: Sequence[Config], lacking: Sequence[str]) -> list[str]:
        """Return the numbers by which rows that lack the same are compared with training runs."""
        names = [*NEAR, *(name for name in self.drawn if name not in NEAR)]
        if "batch_tokens" in lacking:  # shares of a run whose steps are not known
            names = [name for name in names if name not in SHARES]
        return [
            name
            for name in names
            if name not in lacking
            and FIELDS[name].kind == "number"
            and all(row.get(name) is not None for row in rows)
        ]

    def _compared(self, name: str, rows: Sequence[Config]) -> tuple[Array, Array, float]:
        """Return a number of all training runs (R) and of rows (B), and what counts as near."""
        if name in NEAR:
            return self.logs[name], np.log(column(rows, name)), NEAR[name]
        own, asked = (scaled_by(FIELDS[name], column(r, name)) for r in (self.rows, rows))
        known = own[np.isfinite(own)]
        return own, asked, float(known.std()) + 1e-3 if len(known) else 1.0

    def _lent(
        self, row: Config, donor: Config, lacking: Sequence[str], carried: Sequence[float]
    ) -> Config:
        """Return a row with what it lacks from one training run.

        Learning rate and batch are `carried`, each by its factor, to the size and data of the row.
        """
        own: dict[str, Any] = dict(row)
        for name in lacking:
            if donor.get(name) is not None:
                own[name] = donor[name]
        for name, factor in zip(("learning_rate", "batch_tokens"), carried, strict=True):
            if name in lacking and donor.get(name):
                low, high = self.encoder.ranges[name]
                own[name] = min(max(donor[name] * factor, low), high)
        length = own.get("sequence_length") or donor.get("sequence_length")
        if "batch_tokens" in lacking and own.get("batch_tokens") and length:
            own["batch_tokens"] = min(own["batch_tokens"], float(own["data_tokens"]))
            own |= {
                "batch_size_sequences": own["batch_tokens"] / length,
                "sequence_length": length,
                "train_steps": own["data_tokens"] / own["batch_tokens"],
            }
        steps = own.get("train_steps")
        if "min_learning_rate" in lacking and donor.get("learning_rate"):
            share = (donor.get("min_learning_rate") or 0.0) / donor["learning_rate"]
            own["min_learning_rate"] = share * (own.get("learning_rate") or donor["learning_rate"])
        if "decay_frac" in lacking and donor.get("decay_steps") and steps:
            own["decay_steps"] = donor["decay_frac"] * steps
        extra = {key: own[name] for key, name in EXTRA.items() if name in own}
        told = derive(self.encoder.completed(own))
        for name in lacking:  # a share of the run stays what it was drawn as
            if name not in EXTRA.values() and name not in told and name in own:
                told[name] = own[name]
        return told | {EXTRA[key]: value for key, value in extra.items()}

    def _shapes(self, row: Config) -> tuple[list[dict[str, Any]], str]:
        """Return the shapes a row may have, each with its ratio, and what is to be said of them."""
        far = np.log(row["params_non_embedding"]) - self.sizes
        near = self.shapes[int(np.abs(far).argmin())]
        ratio = near["d_ff"] / near["d_model"]
        own = {name: row[name] for name in SHAPE if row.get(name) is not None}
        shape = {**(own or near), "ffn_ratio": ratio}
        text = (
            f"{near['n_layers']:g} layers, width {near['d_model']:g}, feed-forward {near['d_ff']:g}"
        )
        if far.min() <= SAME_SIZE or abs(ratio - USUAL_RATIO) < 0.01:
            return [shape], f"no shape given: one like the training runs' of this size, {text}"
        return [shape, {**own, "ffn_ratio": USUAL_RATIO}], (
            f"no shape given: half one like the largest training runs' ({text}), half one with "
            f"feed-forward layers {USUAL_RATIO:g} times as wide as the model"
        )

    def _told(self, lacking: Sequence[str], rows: Sequence[Config]) -> str:
        """Return what was drawn, each with its range."""
        found = []
        for name in lacking:
            values = [row[name] for row in rows if row.get(name) is not None]
            shown = name
            if name == "batch_tokens" and all(row.get("batch_size_sequences") for row in rows):
                shown, values = "batch_size_sequences", [r["batch_size_sequences"] for r in rows]
            if not values:
                continue
            if FIELDS[name].kind == "category":
                found.append(f"{shown} {', '.join(sorted(set(values)))}")
            else:
                low, high = f"{min(values):.3g}", f"{max(values):.3g}"
                found.append(f"{shown} {low}" if low == high else f"{shown} {low} to {high}")
        names = "; ".join(found)
        return f"not given, and drawn from {DRAWN} training runs like it: {names}"


def form_of(missing: Sequence[str]) -> str:
    """Return the form of a configuration: what kinds of field it lacks, "whole" for none."""
    kinds: Mapping[str, str] = {
        "learning_rate": "rate", "batch_tokens": "batch", "shape": "shape", "optimizer": "optimizer"
    }  # fmt: skip
    found = {kinds.get(name, "recipe") for name in missing}
    if "optimizer" in found:
        found.discard("recipe")
    return "+".join(sorted(found)) or "whole"
