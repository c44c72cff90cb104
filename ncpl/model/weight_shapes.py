"""The shape of each weight of a member, by its name in a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ncpl.errors import ConfigError
from ncpl.model.arrays import Array
from ncpl.model.config import FitConfig
from ncpl.model.encoder import Encoder
from ncpl.model.response_surface import K

BACKBONES = ("llama", "qwen3")
"""Decoders with rotary positions and gated feed-forward layers; qwen3 norms queries and keys."""


def check_backbone(config: FitConfig) -> None:
    """Raise ConfigError for a backbone that is none of BACKBONES."""
    if config.backbone not in BACKBONES:
        known = ", ".join(BACKBONES)
        raise ConfigError(f"backbone is {config.backbone!r}; expected one of {known}")


def shapes_of(config: FitConfig, encoder: Encoder) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of one member, by name."""
    width, n_fields = config.width, len(encoder.network_fields)
    found: dict[str, tuple[int, ...]] = {}
    for i in range(config.n_layers):
        layer = f"backbone.layers.{i}"
        found |= {f"{layer}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        found |= {f"{layer}.mlp.{name}_proj.weight": (2 * width, width) for name in ("gate", "up")}
        found[f"{layer}.mlp.down_proj.weight"] = (width, 2 * width)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{layer}.{name}.weight"] = (width,)
        for name in ("q_norm", "k_norm") if config.backbone == "qwen3" else ():
            found[f"{layer}.self_attn.{name}.weight"] = (width // config.n_heads,)
    found["backbone.norm.weight"] = (width,)
    found["backbone.embed_tokens.weight"] = (2 + len(encoder.vocabulary), width)
    found |= {f"numbers.{name}": (n_fields, width) for name in ("slope", "shift")}
    found["numbers.out"] = (n_fields, width, width)
    found |= {"names": (n_fields, width), "readers": (3, width)}
    for name, n_out in (("law", K), ("loss", 1), ("scale", 1)):
        found |= {f"{name}_head.weight": (n_out, width), f"{name}_head.bias": (n_out,)}
    return found


def check_shapes(
    states: Sequence[Mapping[str, Array]], config: FitConfig, encoder: Encoder
) -> None:
    """Raise ValueError where an array of a member is missing or has another shape."""
    for name, shape in shapes_of(config, encoder).items():
        for state in states:
            found = state[name].shape if name in state else None
            if found != shape:
                raise ValueError(f"{name} has the shape {found}, expected {shape}")
