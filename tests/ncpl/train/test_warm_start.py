"""A warm start carries over what was learned, by name of field and value."""

import dataclasses

import numpy as np
import pytest

from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle
from ncpl.model.encoder import Encoder
from ncpl.model.inputs import Inputs
from ncpl.model.response_surface import Surface
from ncpl.train.fit import fit_family
from ncpl.train.members import fresh_network
from ncpl.train.warm_start import warm_start


def test_the_same_fields_give_the_same_network(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    inputs = Inputs.of(fit.encoder.encode([{"params_non_embedding": 1e8}]))
    fresh = fresh_network(bundle.config, fit.encoder, fit.surface, [9, 10, 11])
    fresh = fresh.with_hull(inputs, bundle.config.hull_margin)
    begun = warm_start(fresh, fit.encoder, fit.network, fit.encoder)
    for name, array in begun.weights.items():
        older = fit.network.weights[name]
        assert np.array_equal(array, older[[0, 1, 0]]), name
    assert not np.array_equal(begun.high, fit.network.high)


def test_vectors_follow_their_field_when_the_order_changes(bundle: Bundle, runs: Runs) -> None:
    fit = bundle.fits[0]
    older, fields = fit.network, fit.encoder.fields
    new = [c | {"optimizer": "muon" if i % 2 else "adamw", "weight_decay": 0.1 + 0.1 * (i % 3)}
           for i, c in enumerate(runs.where(split="train").configs[:300])]  # fmt: skip
    config = bundle.config
    encoder = Encoder.fit(new, config.context_fields, config.recipe_fields)
    assert encoder.fields != fields
    fresh = fresh_network(config, encoder, Surface.initial(2), [9])
    begun = warm_start(fresh, encoder, older, fit.encoder)
    for i, field in enumerate(encoder.fields):
        old = older.weights["names"][0]
        expected = old[fields.index(field)] if field in fields else fresh.weights["names"][0, i]
        assert np.array_equal(begun.weights["names"][0, i], expected), field


def test_another_architecture_is_refused(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    wider = dataclasses.replace(bundle.config, width=24)
    fresh = fresh_network(wider, fit.encoder, fit.surface, [1])
    with pytest.raises(ConfigError, match="has another network"):
        warm_start(fresh, fit.encoder, fit.network, fit.encoder)


def test_a_fit_begins_where_the_older_one_ended(bundle: Bundle, runs: Runs) -> None:
    """Without a step of training the warm network corrects the surface as the older one does."""
    train = runs.where(split="train").take(np.arange(1517) % 3 == 0)
    config = dataclasses.replace(bundle.config, members=1, steps=0, process_share=0.0)
    cold, warm = (
        fit_family(train, config, seed=0, start=start) for start in (None, bundle.fits[0])
    )
    inputs = Inputs.of(warm.encoder.encode(train.configs))
    moved = [np.abs(fit.network(inputs).residual).mean() for fit in (cold, warm)]
    assert moved[0] == 0 < moved[1]
