"""A warm start: a new member begins with what an older one has learned, field by field.

The law, the ranges and the process are fitted anew; only what the network learned is carried over.
A snapshot may bring new fields, optimizers or other values: their vectors stay fresh.
"""

from __future__ import annotations

import torch

from ncpl.errors import ConfigError
from ncpl.model.encoder import Encoder
from ncpl.model.network import NCPL

FITTED_ANEW = ("low", "high", "scale")
BY_FIELD = ("numbers.slope", "numbers.shift", "numbers.out", "names")
BY_VALUE = "backbone.embed_tokens.weight"


@torch.no_grad()
def warm_start(member: NCPL, encoder: Encoder, older: NCPL, older_encoder: Encoder) -> None:
    """Copy an older member's network into a new one, in place.

    Raises ConfigError when the two networks have not one architecture.
    """
    own, given = member.state_dict(), older.state_dict()
    for name, tensor in own.items():
        if name in FITTED_ANEW or name.startswith("surface."):
            continue
        source = given.get(name)
        if source is None or source.shape[1:] != tensor.shape[1:]:
            raise ConfigError(
                f"the bundle to start from has another network ({name}); train from it with the "
                "preset it was trained with, or start fresh"
            )
        if name in BY_FIELD:
            for i, field in enumerate(encoder.network_fields):
                if field in older_encoder.network_fields:
                    tensor[i].copy_(source[older_encoder.network_fields.index(field)])
        elif name == BY_VALUE:
            tensor[:2].copy_(source[:2])
            for value, code in encoder.vocabulary.items():
                if value in older_encoder.vocabulary:
                    tensor[code].copy_(source[older_encoder.vocabulary[value]])
        else:
            if source.shape != tensor.shape:
                raise ConfigError(f"the bundle to start from has another network ({name})")
            tensor.copy_(source)
