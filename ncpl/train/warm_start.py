"""A warm start: new members begin with what older ones have learned, field by field.

The surface, the ranges and the process are fitted anew; only what the network learned is carried
over. A snapshot may bring new fields, optimizers or other values: their vectors stay fresh.
"""

from __future__ import annotations

from dataclasses import replace

from ncpl.errors import ConfigError
from ncpl.model.encoder import Encoder
from ncpl.model.network import Network

BY_FIELD = ("numbers.slope", "numbers.shift", "numbers.out", "names")
BY_VALUE = "backbone.embed_tokens.weight"


def warm_start(fresh: Network, encoder: Encoder, older: Network, older_encoder: Encoder) -> Network:
    """Return fresh members with the weights of older ones, taken in turn.

    Raises ConfigError when the two networks have not one architecture.
    """
    members = [i % older.n_members for i in range(fresh.n_members)]
    weights = {name: array.copy() for name, array in fresh.weights.items()}
    for name, own in weights.items():
        given = older.weights.get(name)
        is_listed = name in BY_FIELD or name == BY_VALUE
        start = 2 if is_listed else 1
        if given is None or given.shape[start:] != own.shape[start:]:
            raise ConfigError(
                f"the bundle to start from has another network ({name}); train from it with the "
                "preset it was trained with, or start fresh"
            )
        given = given[members]
        if name in BY_FIELD:
            for i, field in enumerate(encoder.network_fields):
                if field in older_encoder.network_fields:
                    own[:, i] = given[:, older_encoder.network_fields.index(field)]
        elif name == BY_VALUE:
            own[:, :2] = given[:, :2]
            for value, code in encoder.vocabulary.items():
                if value in older_encoder.vocabulary:
                    own[:, code] = given[:, older_encoder.vocabulary[value]]
        else:
            own[:] = given
    return replace(fresh, weights=weights)
