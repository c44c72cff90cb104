"""The settings of one fit, read from TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar, Self

from ncpl.errors import ConfigError
from ncpl.settings import Settings


@dataclass(frozen=True)
class FitConfig(Settings):
    """Everything that decides a fit, apart from the snapshot and the seed."""

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "carry": ("chosen", "yes", "no"),
        "fade": ("chosen", "yes", "no"),
    }

    context_fields: tuple[str, ...] = ("params_non_embedding", "data_tokens", "optimizer")
    """Fields read before the law's coefficients are given, so that these depend on nothing else."""
    recipe_fields: tuple[str, ...] = (
        "learning_rate",
        "batch_tokens",
        "weight_decay",
        "momentum",
        "adam_beta1",
        "warmup_frac",
        "decay_frac",
        "timescale_frac",
    )
    """Fields read after them; they move the prediction through the law and the residual."""
    process_fields: tuple[str, ...] = (
        "min_learning_rate",
        "adam_beta2",
        "adam_epsilon",
        "grad_clip_norm",
        "second_rate_ratio",
        "second_epsilon",
        "gamma",
        "preconditioner_beta",
        "preconditioner_period_steps",
        "preconditioner_learning_rate",
        "preconditioner_update_frac",
    )
    """Fields that only the process compares: few runs differ in them, and a token costs time."""
    backbone: str = "llama"
    """Architecture of the transformer: llama or qwen3."""
    is_structured: bool = True
    """Whether the network corrects a fitted law; if not, it predicts the residual to Chinchilla,
    as the paper's does."""
    width: int = 32
    n_layers: int = 2
    n_heads: int = 4
    members: int = 5
    """Networks trained from different seeds; the prediction is their mean."""
    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    huber_delta: float = 0.005
    """Errors above this many nats count linearly: high learning rates spike."""
    coefficient_penalty: float = 1e-3
    """Price of the network's squared corrections to the law, in units of their scale."""
    residual_penalty: float = 1e-3
    """Price of the squared free residual, in units of `residual_scale`."""
    residual_scale: float = 0.02
    """Nats of free residual at one unit of the head."""
    floor: float = 0.0
    """Where the law's irreducible loss starts, nats; 0 chooses it by left-out sizes."""
    surface_penalty: float = 1e-3
    """Pull of the law's own parameters to their start values."""
    hull_margin: float = 0.2
    """How far outside the training range a field may move the network, in scaled units."""
    field_dropout: float = 0.05
    """Share of fields hidden in training, so that partial configurations work."""
    ema_decay: float = 0.99
    process_share: float = 0.7
    """Weight of the Gaussian process beside each network; 0 leaves it out."""
    carry: str = "chosen"
    """Whether the process's level at the largest size holds beyond it: yes, no, or chosen by
    left-out sizes."""
    fade: str = "chosen"
    """Whether what networks and process say beside the law fades beyond the largest size: yes, no,
    or chosen by left-out sizes."""
    curve_steps: int = 3000
    """Steps of a member's curve head; 0 leaves curves out."""
    calibration_folds: int = 10
    """Folds of left-out groups that set the width of intervals, beside one without the largest
    size; 0 leaves the intervals at wide fixed factors."""
    calibration_steps: int = 800
    """Steps of a member that is trained on a fold only, if `steps` are more."""
    min_family_runs: int = 60
    """Families of comparable losses with fewer training runs get no model."""

    def of_a_fold(self, steps: int) -> Self:
        """Return the settings of a fit that only says how far off left-out runs are."""
        return dataclasses.replace(self, members=1, steps=min(self.steps, steps), curve_steps=0)

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a shipped preset. Raises ConfigError for an unknown name."""
        folder = resources.files("ncpl") / "configs"
        path = folder / f"{name}.toml"
        if not path.is_file():
            known = sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml"))
            raise ConfigError(f"unknown preset {name!r}; known: {', '.join(known)}")
        return cls.from_dict(
            tomllib.loads(path.read_text(encoding="utf-8")), where=f"preset {name}"
        )
