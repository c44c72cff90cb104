"""Mixtures of experts: the dense answer at an effective size, and how sure.

A mixture of N parameters of which Na are active does as well as a dense model of
N_eff = Na exp(u), where u depends on the ratio N / Na and on Na (Clark et al. 2022 find the same
with experts in place of the ratio). The law of u is learned from a source that varies both; how far
another way of routing lies from it, from left-out routers. Where a family's own mixtures are known,
a process over what the law misses comes on top.

A bundle keeps this in experts.safetensors, and the file's hash on its card.

Legend: B configurations, K terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ncpl.data.consistency import checked_row
from ncpl.data.fields import Config
from ncpl.data.schedules import Array
from ncpl.data.sizes import mixture_sizes
from ncpl.errors import ConfigError
from ncpl.model.added_file import added, write_added
from ncpl.model.community import CommunityPrediction
from ncpl.model.ensemble import part
from ncpl.model.intervals import Z90

EXPERTS = "experts.safetensors"
ENTRY = "experts"
"""Its name on the card."""
SIZE_REFERENCE = 2.5e8
TERMS = ("1", "r", "r^2", "n", "r n", "n^2")
"""r = log(N / Na), n = log(Na / 250M)."""
OWN = (
    "r", "n", "d", "learning_rate", "batch_tokens", "experts_per_token",
)  # fmt: skip
"""What a process over a family's own mixtures reads, as logs."""
LENGTHS = (5.0, 5.0, 5.0, 2.0, 2.0, 5.0)
"""Lengths of the process along OWN, in spreads of the own runs."""
LINEAR = 0.1
"""Variance of level and slopes over that of the process."""
NEEDED = {
    "n_experts": "the experts of a layer",
    "experts_per_token": "how many of them a token uses",
    "params_non_embedding": "all parameters without embeddings",
    "params_active_non_embedding": "those that a token uses",
}
SIZED = ("params_non_embedding", "params_active_non_embedding")
SLACK, SIZE_SLACK = 1.5, 4.0
"""Factor beyond the known ratios, experts and sizes, and above the largest active size, up to which
is answered."""
SHAPED = (
    "n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "head_dim", "n_experts",
    "experts_per_token", "params_active_non_embedding", "params_active", "params_total",
    "d_ff_expert", "d_ff_shared_expert", "n_dense_layers", "n_shared_experts", "run_id",
)  # fmt: skip
"""What the dense configuration of an effective size leaves out."""


class DenseAnswers(Protocol):
    """What a bundle says of dense configurations."""

    def predict(self, configs: Sequence[Config], *, nearest: int = 0) -> Sequence[Any]:
        """Return one prediction for each configuration."""
        ...


@dataclass(frozen=True)
class DenseLaw:
    """Dense losses of a source whose mixtures are known but whom no bundle answers for."""

    log_a: float
    alpha: float
    floor: float
    tokens: float
    """Of all its runs."""

    def losses(self, log_size_B: Array) -> Array:
        """Return losses of sizes, nats per token."""
        return np.asarray(
            np.exp(self.log_a - self.alpha * (log_size_B - np.log(SIZE_REFERENCE))) + self.floor
        )


@dataclass(frozen=True)
class OwnMixtures:
    """What a family's own mixtures say beyond the law."""

    law: DenseLaw | None
    """None where a bundle answers for its dense runs."""
    centre: Array
    scale: Array
    points: Array
    """(B, V) own runs, scaled."""
    solved: Array
    """(B,) kernel's inverse times what the law misses."""
    inverse: Array
    """(B, B)"""
    stretch: float
    """On LENGTHS."""
    noise: float
    """Variance over that of the process."""
    half: float
    """Half width of left-out groups where the process has unit variance, nats."""
    beyond: float = 0.0
    """Growth of it, as a share, by each log of size and tokens above the own ones."""

    @property
    def n_runs(self) -> int:
        """Return the number of own mixtures."""
        return len(self.points)

    def shift(self, rows: Sequence[Config]) -> tuple[Array, Array]:
        """Return what is added to the law, and half widths (B,), nats."""
        x_BV = scaled(rows, self.centre, self.scale)
        near = kernel(x_BV, self.points, self.stretch)
        own = 1 + LINEAR * (1 + np.square(x_BV).sum(1))
        left = own - np.einsum("bi,ij,bj->b", near, self.inverse, near)
        half = self.half * np.sqrt(np.maximum(left, 0) + self.noise)
        return near @ self.solved, half * (1 + self.beyond * self.above(x_BV))

    def above(self, x_BV: Array) -> Array:
        """Return how far size and tokens lie above those of the own runs (B,), in logs."""
        of = slice(OWN.index("n"), OWN.index("d") + 1)
        away = np.maximum(x_BV[:, of] - self.points[:, of].max(0), 0.0)
        return np.asarray((away * self.scale[of]).sum(1))


@dataclass(frozen=True)
class ExpertsModel:
    """The law of effective sizes, and families with mixtures of their own."""

    weights: Array
    """(K,) of TERMS."""
    spread: Array
    """(2, 2) covariance of level and slope in r over ways of routing."""
    half: float
    """Half width of left-out sizes, nats."""
    growth_beyond: float
    """Growth of the half width, as a share of it, by each log of a size above the known ones."""
    bounds: Mapping[str, tuple[float, float]]
    """Known ratios, active sizes and experts."""
    families: dict[str, OwnMixtures]
    about: dict[str, Any] = field(default_factory=dict)

    def growth(self, rows: Sequence[Config]) -> tuple[Array, Array]:
        """Return log(N_eff / Na) of derived configurations, and its spread over routers (B,)."""
        z_BK = terms(rows)
        two = z_BK[:, :2]
        return z_BK @ self.weights, np.sqrt(np.einsum("bk,kl,bl->b", two, self.spread, two))

    def predict(
        self, bundle: DenseAnswers, configs: Sequence[Config], numbers: Sequence[int]
    ) -> list[CommunityPrediction]:
        """Return one prediction for each mixture.

        `bundle` answers for dense runs of the configurations' sources; `numbers` name the
        configurations in messages. Raises ConfigError for one that lacks what is needed, or that
        lies outside what is known.
        """
        rows = []
        for config, number in zip(configs, numbers, strict=True):
            where = f"configuration {number}"
            row = checked_row(config, where=where, read=("n_experts",))[1]
            sizes = mixture_sizes(config)
            for name, value in zip(SIZED, sizes or (), strict=False):
                row[name] = value
            self.check(row if sizes else row | {k: config.get(k) for k in SIZED}, where)
            rows.append(row)
        growth, spread = self.growth(rows)
        active = np.array([row["params_active_non_embedding"] for row in rows])
        steps = np.column_stack([np.zeros(len(rows)), -spread, spread, -growth])
        log_size = np.log(active)[:, None] + growth[:, None] + steps
        laws = [self._law_of(row) for row in rows]
        asked = [i for i, law in enumerate(laws) if law is None]
        dense = bundle.predict(
            [dense_at(configs[i], float(np.exp(s))) for i in asked for s in log_size[i]]
        )
        told = {i: dense[4 * place : 4 * place + 4] for place, i in enumerate(asked)}
        found = []
        for i, (row, law) in enumerate(zip(rows, laws, strict=True)):
            if law is None:
                losses = np.array([p.loss for p in told[i]])
                half, name = (told[i][0].high - told[i][0].low) / 2, str(told[i][0].source)
                notes = list(told[i][0].warnings)
            else:
                name, half, notes = str(row["source"]), 0.0, []
                check_tokens(row, law, f"configuration {numbers[i]}", name)
                losses = law.losses(log_size[i])
            size = float(np.exp(log_size[i, 0]))
            found.append(self._answer(row, name, losses, half, size, notes))
        return found

    def _law_of(self, row: Config) -> DenseLaw | None:
        own = self.families.get(str(row.get("source")))
        return None if own is None else own.law

    def check(self, row: Config, where: str) -> None:
        """Raise ConfigError where a mixture is not told whole, or unlike those that are known."""
        lacking = [f"{name} ({what})" for name, what in NEEDED.items() if not row.get(name)]
        if lacking:
            raise ConfigError(
                f"{where}: a mixture of experts needs {', '.join(lacking)}; sizes follow from "
                "n_layers, d_model, d_ff_expert (d_ff_shared_expert, n_dense_layers and d_ff too, "
                "where there are such)"
            )
        total, active = row["params_non_embedding"], row["params_active_non_embedding"]
        if active > total:
            raise ConfigError(
                f"{where}: params_active_non_embedding is {active:.4g}, above params_non_embedding "
                f"of {total:.4g}, which counts all experts"
            )
        values = {
            "all parameters over the active ones": total / active,
            "params_active_non_embedding": active,
            "n_experts": row["n_experts"],
        }
        for name, value in values.items():
            low, high = self.bounds[name]
            above = SIZE_SLACK if name.startswith("params_active") else SLACK
            if not low / SLACK <= value <= high * above:
                raise ConfigError(
                    f"{where}: {name}: {value:.4g}; known mixtures of experts have {low:.4g} to "
                    f"{high:.4g}, and others can not be predicted"
                )

    def _answer(
        self, row: Config, name: str, losses: Array, dense_half: float, size: float,
        warnings: Sequence[str],
    ) -> CommunityPrediction:  # fmt: skip
        """Return the prediction from dense losses at N_eff, less and more of it, and at Na."""
        middle, low, high, base = losses.tolist()
        own = self.families.get(name)
        largest = self.bounds["params_active_non_embedding"][1]
        above = max(float(np.log(row["params_active_non_embedding"] / largest)), 0.0)
        more = self.half * self.growth_beyond * above
        if own is None:
            shift = 0.0
            half = float(np.hypot(Z90 * (low - high) / 2, np.hypot(self.half + more, dense_half)))
            known = f"mixtures of {', '.join(sorted(self.families))}; none of {name} is known"
        else:
            shifts, halves = own.shift([row])
            shift, half = float(shifts[0]), float(halves[0])
            if own.law is not None:  # the law of sizes came from these, and ends where they end
                half = float(np.hypot(half, more))
            known = f"{own.n_runs} mixtures of {name}"
        note = f"a mixture of experts: as a dense model of {size:.3g} parameters, by {known}"
        loss = middle + shift
        return CommunityPrediction(
            loss, max(loss - half, 0.0), loss + half, base, name, None, [], [note, *warnings]
        )

    def save(self, folder: Path) -> str:
        """Write the arrays into a bundle's folder and return the file's hash."""
        tensors = {"weights": self.weights, "spread": self.spread}
        tensors["half"] = np.array([self.half, self.growth_beyond])
        tensors["bounds"] = np.array([self.bounds[name] for name in sorted(self.bounds)])
        for name, own in self.families.items():
            tensors |= {
                f"{name}/{key}": np.asarray(getattr(own, key), dtype=np.float64) for key in ARRAYS
            }
            if own.law is not None:
                tensors[f"{name}/law"] = np.array(list(vars(own.law).values()))
        return write_added(folder / EXPERTS, tensors)


def load_experts(folder: Path, card: Mapping[str, Any]) -> ExpertsModel | None:
    """Return what a bundle's folder holds of mixtures of experts; None where it holds nothing.

    Raises BundleError where the file is not that of the card.
    """
    entry = card.get(ENTRY)
    if not entry:
        return None
    with added(folder / EXPERTS, entry) as tensors:
        bounds = {
            name: (float(low), float(high))
            for name, (low, high) in zip(sorted(BOUNDED), tensors["bounds"], strict=True)
        }
        half, growth = tensors["half"].tolist()
        families = {name: _own_of(part(tensors, name)) for name in entry["sources"]}
        weights, spread = tensors["weights"], tensors["spread"]
    return ExpertsModel(weights, spread, half, growth, bounds, families, dict(entry))


ARRAYS = ("centre", "scale", "points", "solved", "inverse", "stretch", "noise", "half", "beyond")
BOUNDED = ("all parameters over the active ones", "params_active_non_embedding", "n_experts")


def check_tokens(row: Config, law: DenseLaw, where: str, name: str) -> None:
    """Raise ConfigError where a mixture saw other tokens than those its source's law is of."""
    tokens = row.get("data_tokens") or law.tokens
    if not 1 / SLACK <= tokens / law.tokens <= SLACK:
        raise ConfigError(
            f"{where}: data_tokens is {tokens:.4g}; mixtures of {name} are known on "
            f"{law.tokens:.4g} tokens only"
        )


def _own_of(tensors: Mapping[str, Array]) -> OwnMixtures:
    law = tensors.get("law")
    return OwnMixtures(
        None if law is None else DenseLaw(*law.tolist()),
        tensors["centre"], tensors["scale"], tensors["points"], tensors["solved"],
        tensors["inverse"], *(float(tensors[name].item()) for name in ARRAYS[5:]),
    )  # fmt: skip


def terms(rows: Sequence[Config]) -> Array:
    """Return the terms of the law of effective sizes (B, K)."""
    r, n = ratio_of(rows), size_logs(rows)
    return np.column_stack([np.ones(len(rows)), r, r**2, n, r * n, n**2])


def ratio_of(rows: Sequence[Config]) -> Array:
    """Return log(N / Na) of mixtures (B,)."""
    pairs = [(row["params_non_embedding"], row["params_active_non_embedding"]) for row in rows]
    return np.array([np.log(total / active) for total, active in pairs])


def size_logs(rows: Sequence[Config]) -> Array:
    """Return log(Na / 250M) of mixtures (B,)."""
    return np.log([row["params_active_non_embedding"] / SIZE_REFERENCE for row in rows])


def own_columns(rows: Sequence[Config]) -> Array:
    """Return what a family's own surface reads (B, V), as logs; NaN where it is not stated."""
    names = [name for name in OWN if name not in ("r", "n", "d")]
    found = [[row.get(name) or np.nan for name in ("data_tokens", *names)] for row in rows]
    logs = np.log(np.array(found, dtype=np.float64).reshape(len(rows), -1))
    return np.column_stack([ratio_of(rows), size_logs(rows), logs])


def scaled(rows: Sequence[Config], centre: Array, scale: Array) -> Array:
    """Return the columns (B, V), scaled; zero where not stated, or never varied."""
    columns = own_columns(rows)
    return np.nan_to_num((columns - centre) / np.where(scale > 0, scale, np.inf))


def kernel(x_BV: Array, y_IV: Array, stretch: float) -> Array:
    """Return the covariance of a smooth process, with level and slopes (B, I)."""
    lengths = stretch * np.array(LENGTHS)
    far = np.square((x_BV[:, None] - y_IV[None]) / lengths).sum(-1)
    return np.asarray(np.exp(-far / 2) + LINEAR * (1 + x_BV @ y_IV.T))


def dense_at(config: Config, size: float) -> dict[str, Any]:
    """Return the dense configuration of a size with the recipe of a mixture."""
    kept = {name: value for name, value in config.items() if name not in SHAPED}
    return kept | {"params_non_embedding": size}
