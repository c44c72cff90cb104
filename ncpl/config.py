"""The settings of one fit, read from TOML."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self

from ncpl.errors import ConfigError


@dataclass(frozen=True)
class FitConfig:
    """Everything that decides a fit, apart from the snapshot and the seed."""

    context_fields: tuple[str, ...] = ("params_non_embedding", "data_tokens", "optimizer")
    """Fields read before the law's coefficients are given, so that these depend on nothing else."""
    recipe_fields: tuple[str, ...] = (
        "learning_rate",
        "batch_tokens",
        "weight_decay",
        "min_learning_rate",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "grad_clip_norm",
        "momentum",
        "warmup_frac",
        "decay_frac",
        "timescale_frac",
        "second_rate_ratio",
        "second_epsilon",
        "gamma",
        "preconditioner_beta",
        "preconditioner_period_steps",
        "preconditioner_learning_rate",
        "preconditioner_update_frac",
    )
    """Fields read after them; they move the prediction through the law and the residual."""
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
    curve_steps: int = 3000
    """Steps of a member's curve head; 0 leaves curves out."""
    calibration_folds: int = 4
    """Folds of left-out groups that set the width of intervals, beside one without the largest
    size; 0 leaves the intervals at wide fixed factors."""
    min_family_runs: int = 60
    """Families of comparable losses with fewer training runs get no model."""

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Return the settings of a file. Raises ConfigError for an unknown key or a wrong type."""
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
        return cls.from_dict(raw, where=str(path))

    @classmethod
    def from_dict(cls, raw: dict[str, Any], *, where: str) -> Self:
        """Return settings from plain values; `where` names their origin in errors."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name not in fields:
                near = difflib.get_close_matches(name, fields, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"{where}: unknown key {name!r}{hint}")
            default = fields[name].default
            values[name] = _cast(name, value, default, where)
        return cls(**values)

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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a card stores them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    def sha256(self) -> str:
        """Return the hash by which a bundle knows its configuration."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _cast(name: str, value: Any, default: Any, where: str) -> Any:
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(str(item) for item in value)
    if isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    if type(value) is type(default):
        return value
    expected = "a list of names" if isinstance(default, tuple) else type(default).__name__
    raise ConfigError(f"{where}: {name} is {value!r}; expected {expected}")
