"""The network: transformers read the configuration and correct the response surface.

The sequence is [start, context fields..., LAW, recipe fields..., LOSS]. Attention is causal, so
what is read at LAW (corrections to the surface's coefficients) depends on the context only, and
what is read at LOSS (a small free residual, the width of the interval) on everything. Learning rate
and batch enter as distances to the surface's own optimum: that is what carries over between sizes.

All members of a fit are one network whose weights have a member axis. Runs are the last dimension,
so that sums over the few tokens and features run along long rows. Two things are left out that
nobody reads: the last layer at positions other than LAW and LOSS, and, for predictions, what runs
of one size, data and optimizer share, computed once. The same code predicts (NumPy) and is trained
(torch).

Legend: M members, B runs, U contexts, F fields, T tokens, Q tokens asked for, W width, H heads, E
width of a head, K local coefficients, 6 inputs of the law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from ncpl.errors import BundleError
from ncpl.model.arrays import Array, constant, module_of
from ncpl.model.config import FitConfig
from ncpl.model.encoder import Encoder
from ncpl.model.inputs import RATE, Inputs
from ncpl.model.response_surface import CORRECTION_SCALE, Surface, distances
from ncpl.model.seen import LAW_FIELDS
from ncpl.model.weight_shapes import check_backbone, check_shapes

EPSILON = 1e-6
"""Added to mean squares before a norm divides by their root."""
ROTARY_BASE = 10_000.0
SHARED = ("low", "high", "scale")
"""Arrays that all members share, with the surface."""


class Output(NamedTuple):
    """What M members say about B runs."""

    loss: Array
    """(M, B) nats per token."""
    log_scale: Array
    """(M, B) log of the expected absolute error, nats."""
    correction: Array
    """(M, B, K) corrections to the surface's coefficients, in units of CORRECTION_SCALE."""
    residual: Array
    """(M, B) free residual, in units of the configuration's residual_scale."""
    hidden: Array
    """(M, W, B) what is read at LOSS; curve heads read it."""


@dataclass(frozen=True)
class Network:
    """The members of one configuration and one surface, side by side."""

    n_context: int
    """Fields read before LAW."""
    law_columns: tuple[tuple[int, int], ...]
    """Columns that hold learning rate and batch, and which distance replaces each."""
    n_layers: int
    n_heads: int
    residual_scale: float
    surface: Surface
    low: Array
    """(F,) smallest inputs of the training runs, less a margin; below, inputs stay at it."""
    high: Array
    """(F,) largest ones."""
    scale: Array
    """(K,) size of one unit of a correction; zero where the surface stays as it is."""
    weights: dict[str, Array]
    """Every weight by its name in a bundle, with the member axis first."""

    @classmethod
    def of(
        cls, config: FitConfig, encoder: Encoder, surface: Surface, weights: dict[str, Array]
    ) -> Self:
        """Return the network of these weights, with no limit to its inputs yet.

        Raises ConfigError for a backbone that is none of BACKBONES.
        """
        check_backbone(config)
        n_fields = len(encoder.network_fields)
        columns = tuple(
            (j, LAW_FIELDS.index(name) - RATE)
            for j, name in enumerate(encoder.network_fields)
            if name in LAW_FIELDS[RATE : RATE + 2]
        )
        far = np.full(n_fields, np.inf, dtype=np.float32)
        scale = np.array(CORRECTION_SCALE, dtype=np.float32) * np.float32(config.is_structured)
        return cls(
            len(encoder.context), columns, config.n_layers, config.n_heads, config.residual_scale,
            surface, -far, far, scale, weights,
        )  # fmt: skip

    @classmethod
    def of_states(
        cls, config: FitConfig, encoder: Encoder, states: Sequence[Mapping[str, Array]]
    ) -> Self:
        """Return the network of members kept apart, as a bundle keeps them.

        Raises BundleError if the members do not share one surface and range, ValueError for a
        weight that is missing or has another shape.
        """
        first = states[0]
        check_shapes(states, config, encoder)
        shared = [n for n in first if n in SHARED or n.startswith("surface.")]
        for name in shared:
            if any(not np.array_equal(state[name], first[name]) for state in states[1:]):
                raise BundleError(f"members differ in {name}; train the bundle again")
        start = "surface."
        surface = Surface.of_state(
            {n.removeprefix(start): first[n] for n in shared if n.startswith(start)}
        )
        weights = {n: np.stack([s[n] for s in states]) for n in first if n not in shared}
        found = cls.of(config, encoder, surface, weights)
        return replace(found, **{name: first[name] for name in SHARED})

    def states(self) -> list[dict[str, Array]]:
        """Return the named arrays of each member."""
        shared = {name: getattr(self, name) for name in SHARED}
        shared |= {f"surface.{name}": array for name, array in self.surface.state().items()}
        return [
            shared | {name: array[i] for name, array in self.weights.items()}
            for i in range(self.n_members)
        ]

    def map(self, change: Callable[[Array], Array]) -> Self:
        """Return the network with each array changed."""
        shared = {name: change(getattr(self, name)) for name in SHARED}
        weights = {name: change(array) for name, array in self.weights.items()}
        return replace(self, surface=self.surface.map(change), weights=weights, **shared)

    @property
    def n_members(self) -> int:
        """Return M."""
        return len(self.weights["names"])

    @property
    def n_fields(self) -> int:
        """Return F, the fields the network reads; more columns of its inputs are left alone."""
        return int(self.weights["names"].shape[1])

    def with_hull(self, inputs: Inputs, margin: float) -> Self:
        """Return the network whose inputs stay within the range of these training runs."""
        seen_BF = self.seen(inputs)
        given_BF = inputs.codes[:, : self.n_fields] > 0
        low = np.where(given_BF, seen_BF, np.inf).min(0) - margin
        high = np.where(given_BF, seen_BF, -np.inf).max(0) + margin
        return replace(self, low=low.astype(np.float32), high=high.astype(np.float32))

    def seen(self, inputs: Inputs) -> Array:
        """Return the numbers (B, F) with the law's fields as distances to its optimum."""
        away = distances(self.surface.coefficients(inputs.law), inputs.law)
        columns = [inputs.numbers[..., j] for j in range(self.n_fields)]
        for column, which in self.law_columns:
            columns[column] = away[..., which]
        return module_of(away).stack(columns, axis=-1)

    def __call__(self, inputs: Inputs) -> Output:
        """Return what the members say of runs: each of the same (B, ...) or of its own (M, B, ...).

        `law` may hold NaN, codes 0 mean absent.
        """
        xp = module_of(inputs.law)
        inputs = inputs.map(lambda array: array if array.ndim == 3 else array[None])
        seen = xp.minimum(xp.maximum(self.seen(inputs), self.low), self.high)
        codes = inputs.codes[..., : self.n_fields]
        one_U, of_run = shared_contexts(seen[0, :, : self.n_context], codes[0, :, : self.n_context])
        x_MWTU = self.tokens(seen[:, one_U], codes[:, one_U], is_prefix=True)
        x_MWTB = self.tokens(seen, codes, is_prefix=False)
        n_shared, n_tokens = x_MWTU.shape[2], x_MWTU.shape[2] + x_MWTB.shape[2]
        for i in range(self.n_layers):
            is_last = i == self.n_layers - 1
            x_MWTU, known = self.layer(i, x_MWTU, range(n_shared - 1 if is_last else 0, n_shared))
            known = (known[0][..., of_run], known[1][..., of_run])
            asked = range(n_tokens - 1 if is_last else n_shared, n_tokens)
            x_MWTB, _ = self.layer(i, x_MWTB, asked, known)
        law_MWU, last_MWB = (self.normed(x, "norm")[:, :, 0] for x in (x_MWTU, x_MWTB))
        correction_MBK = xp.swapaxes(self.head("law", law_MWU), 1, 2)[:, of_run]
        residual_MB = self.head("loss", last_MWB)[:, 0]
        log_scale_MB = self.head("scale", constant(last_MWB))[:, 0]
        coefficients_MBK = self.surface.coefficients(inputs.law) + self.scale * correction_MBK
        loss_MB = self.surface.value(coefficients_MBK, inputs.law)
        loss_MB = loss_MB + self.residual_scale * residual_MB
        return Output(loss_MB, log_scale_MB - 5, correction_MBK, residual_MB, last_MWB)

    def head(self, name: str, x_MWB: Array) -> Array:
        """Return what a linear head gives (M, V, B)."""
        weight, bias = (self.weights[f"{name}_head.{part}"] for part in ("weight", "bias"))
        return weight @ x_MWB + bias[..., None]

    def tokens(self, seen_MBF: Array, codes_MBF: Array, *, is_prefix: bool) -> Array:
        """Return what the first layer reads up to LAW, or after it (M, W, T, B)."""
        xp = module_of(seen_MBF)
        own = slice(None, self.n_context) if is_prefix else slice(self.n_context, None)
        at_MF1B, codes_MFB = (xp.swapaxes(array[..., own], 1, 2) for array in (seen_MBF, codes_MBF))
        slope, shift, out, names = (
            self.weights[name][:, own]
            for name in ("numbers.slope", "numbers.shift", "numbers.out", "names")
        )
        hidden_MFWB = xp.tanh(at_MF1B[:, :, None] * slope[..., None] + shift[..., None])
        values_MFWB = xp.swapaxes(out, 2, 3) @ hidden_MFWB
        is_number = codes_MFB == 1
        if not is_number.all():
            words = self.weights["backbone.embed_tokens.weight"]
            member = xp.arange(self.n_members)[:, None, None]
            words_MFWB = xp.swapaxes(words[member, codes_MFB], 2, 3)
            values_MFWB = xp.where(is_number[:, :, None], values_MFWB, words_MFWB)
        fields = xp.swapaxes(values_MFWB + names[..., None], 1, 2)
        readers = xp.swapaxes(self.weights["readers"], 1, 2)[..., None]
        shape = (*readers.shape[:3], fields.shape[-1])
        readers = xp.broadcast_to(readers, shape)
        if is_prefix:
            return xp.concatenate([readers[:, :, :1], fields, readers[:, :, 1:2]], axis=2)
        return xp.concatenate([fields, readers[:, :, 2:]], axis=2)

    def layer(
        self, i: int, x_MWTB: Array, asked: range, before: tuple[Array, Array] | None = None
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return layer i's output at the positions `asked` (M, W, Q, B), and all keys and values.

        `before` are keys and values (M, H, E, P, B) of the P positions before those of x.
        """
        xp = module_of(x_MWTB)
        n_before = 0 if before is None else before[0].shape[3]
        positions = range(n_before, n_before + x_MWTB.shape[2])
        scaled = self.normed(x_MWTB, f"layers.{i}.input_layernorm")
        own = slice(asked.start - n_before, asked.stop - n_before)
        key = self.heads(i, "k", scaled, positions)
        value = self.heads(i, "v", scaled, None)
        query = self.heads(i, "q", scaled[:, :, own], asked) * key.shape[2] ** -0.5
        if before is not None:
            key = xp.concatenate([before[0], key], axis=3)
            value = xp.concatenate([before[1], value], axis=3)
        mixed = [
            attend(query[:, :, :, j : j + 1], key[..., : t + 1, :], value[..., : t + 1, :])
            for j, t in enumerate(asked)
        ]
        mixed_MHEQB = xp.stack(mixed, axis=3)
        kept = x_MWTB[:, :, own]
        kept = kept + self.times(i, "self_attn.o_proj", mixed_MHEQB.reshape(kept.shape))
        scaled = self.normed(kept, f"layers.{i}.post_attention_layernorm")
        gate, up = (self.times(i, f"mlp.{name}_proj", scaled) for name in ("gate", "up"))
        # SiLU; by tanh, which can not overflow.
        gated = gate * (0.5 + 0.5 * xp.tanh(0.5 * gate)) * up
        return kept + self.times(i, "mlp.down_proj", gated), (key, value)

    def times(self, i: int, name: str, x_MWTB: Array) -> Array:
        """Return each member's matrix of layer i times its vectors (M, V, T, B)."""
        weight_MVW = self.weights[f"backbone.layers.{i}.{name}.weight"]
        flat = x_MWTB.reshape(*x_MWTB.shape[:2], -1)
        return (weight_MVW @ flat).reshape(len(weight_MVW), -1, *x_MWTB.shape[2:])

    def normed(self, x: Array, name: str) -> Array:
        """Return vectors of root mean square one along their second dimension, times a weight."""
        weight = self.weights[f"backbone.{name}.weight"][:, :, None, None]
        return root_mean_square_one(x, 1) * weight

    def heads(self, i: int, name: str, x_MWTB: Array, positions: range | None) -> Array:
        """Return queries, keys or values (M, H, E, T, B), the first two rotated by position."""
        flat = self.times(i, f"self_attn.{name}_proj", x_MWTB)
        x = flat.reshape(len(flat), self.n_heads, -1, *flat.shape[2:])
        if positions is None:
            return x
        norm = self.weights.get(f"backbone.layers.{i}.self_attn.{name}_norm.weight")
        if norm is not None:
            x = root_mean_square_one(x, 2) * norm[:, None, :, None, None]
        xp = module_of(x)
        cos, sin = (
            xp.asarray(part[:, positions.start : positions.stop, None]) for part in self.rotary
        )
        half = x.shape[2] // 2
        swapped = xp.concatenate((x[:, :, half:], x[:, :, :half]), axis=2)
        return x * cos + swapped * sin

    @cached_property
    def rotary(self) -> tuple[Array, Array]:
        """Return cosines and signed sines (E, T) of the rotary positions.

        A rotation swaps the halves of a head and turns the sign of the first.
        """
        width = self.weights["names"].shape[2] // self.n_heads
        rate = ROTARY_BASE ** -(np.arange(0, width, 2) / width)
        angle = rate[:, None] * np.arange(self.n_fields + 3)
        cos, sin = np.cos(angle), np.sin(angle)
        return (
            np.concatenate([cos, cos]).astype(np.float32),
            np.concatenate([-sin, sin]).astype(np.float32),
        )


def shared_contexts(seen_BC: Array, codes_BC: Array) -> tuple[Array, Array]:
    """Return one run of each context (U), and each run's context (B); all runs where it costs more.

    Runs of one size, data and optimizer share what is read up to LAW.
    """
    everything = slice(None)
    if not isinstance(seen_BC, np.ndarray) or len(seen_BC) < 2:
        return everything, everything
    rows = np.ascontiguousarray(np.concatenate([seen_BC, codes_BC.astype(np.float32)], axis=1))
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    return (everything, everything) if 2 * len(first) > len(place) else (first, place)


def attend(query_MHE1B: Array, key_MHETB: Array, value_MHETB: Array) -> Array:
    """Return what one position reads from those it sees (M, H, E, B)."""
    xp = module_of(query_MHE1B)
    score_MHTB = (query_MHE1B * key_MHETB).sum(2)
    weight_MHTB = xp.exp(score_MHTB - xp.amax(score_MHTB, axis=2, keepdims=True))
    mixed = (weight_MHTB[:, :, None] * value_MHETB).sum(3)
    return mixed / weight_MHTB.sum(2)[:, :, None]


def root_mean_square_one(x: Array, axis: int) -> Array:
    """Return vectors of root mean square one along an axis."""
    return x / module_of(x).sqrt((x * x).mean(axis, keepdims=True) + EPSILON)
