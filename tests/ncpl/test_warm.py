"""A warm start carries over what was learned, by name of field and value."""

import dataclasses

import numpy as np
import pytest
import torch

from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle
from ncpl.model.encoder import Encoder
from ncpl.model.ensemble import tensors_of
from ncpl.model.network import new_member
from ncpl.train.fit import fit_family
from ncpl.train.warm_start import warm_start


def test_the_same_fields_give_the_same_network(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    older = fit.members[0]
    member = new_member(bundle.config, fit.encoder, older.surface, seed=9)
    member.set_hull(*tensors_of(fit.encoder.encode([{"params_non_embedding": 1e8}])))
    warm_start(member, fit.encoder, older, fit.encoder)
    for name, tensor in member.state_dict().items():
        if not name.startswith(("surface.", "low", "high")):
            assert torch.equal(tensor, older.state_dict()[name]), name
    assert not torch.equal(member.high, older.high)


def test_vectors_follow_their_field_when_the_order_changes(bundle: Bundle, runs: Runs) -> None:
    fit = bundle.fits[0]
    older, fields = fit.members[0], fit.encoder.fields
    new = [c | {"optimizer": "muon" if i % 2 else "adamw", "weight_decay": 0.1 + 0.1 * (i % 3)}
           for i, c in enumerate(runs.where(split="train").configs[:300])]  # fmt: skip
    config = bundle.config
    encoder = Encoder.fit(new, config.context_fields, config.recipe_fields)
    assert encoder.fields != fields
    member = new_member(config, encoder, type(older.surface)(2), seed=9)
    fresh = member.names.detach().clone()
    warm_start(member, encoder, older, fit.encoder)
    for i, field in enumerate(encoder.fields):
        expected = older.names[fields.index(field)] if field in fields else fresh[i]
        assert torch.equal(member.names[i], expected), field


def test_another_architecture_is_refused(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    wider = dataclasses.replace(bundle.config, width=24)
    member = new_member(wider, fit.encoder, fit.members[0].surface, seed=1)
    with pytest.raises(ConfigError, match="has another network"):
        warm_start(member, fit.encoder, fit.members[0], fit.encoder)


def test_a_fit_begins_where_the_older_one_ended(bundle: Bundle, runs: Runs) -> None:
    """Without a step of training the warm network corrects the law as the older one does."""
    train = runs.where(split="train").take(np.arange(1517) % 3 == 0)
    config = dataclasses.replace(bundle.config, members=1, steps=0, process_share=0.0)
    cold, warm = (
        fit_family(train, config, seed=0, start=start) for start in (None, bundle.fits[0])
    )
    inputs = tensors_of(warm.encoder.encode(train.configs))
    with torch.no_grad():
        moved = [fit.members[0](*inputs).residual.abs().mean() for fit in (cold, warm)]
    assert moved[0] == 0 < moved[1]
