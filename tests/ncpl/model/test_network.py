"""The network: what may and what may not change a prediction."""

import dataclasses

import numpy as np
import pytest

from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.inputs import Inputs
from ncpl.model.response_surface import K
from ncpl.train.members import fresh_network


def test_a_batch_predicts_what_a_single_one_does(bundle: Bundle, runs: Runs) -> None:
    fit, configs = bundle.fits[0], runs.where(split="id").configs[:40]
    together = fit.read(fit.encoder.encode(configs)).loss
    alone = [fit.read(fit.encoder.encode([config])).loss for config in configs]
    assert np.allclose(together, np.concatenate(alone, axis=1), atol=1e-6, rtol=0)
    pieces = fit.read(fit.encoder.encode(configs), batch_size=7).loss
    assert np.allclose(together, pieces, atol=1e-6, rtol=0)


def test_the_correction_does_not_depend_on_the_recipe(bundle: Bundle, runs: Runs) -> None:
    """Coefficients depend on size, data and optimizer only, so one (N, D) has one surface."""
    fit = bundle.fits[0]
    config = runs.where(split="id").configs[0]
    other = dict(config) | {"learning_rate": 1e-2, "batch_size_sequences": 64}
    out = fit.network(Inputs.of(fit.encoder.encode([config, other])))
    assert np.array_equal(out.correction[:, 0], out.correction[:, 1])
    assert (out.residual[:, 0] != out.residual[:, 1]).all()


def test_fields_of_the_process_cost_the_network_nothing(bundle: Bundle, runs: Runs) -> None:
    """Columns after the network's own change nothing it says, and add no token."""
    fit = bundle.fits[0]
    numbers, codes, law = Inputs.of(fit.encoder.encode(runs.where(split="id").configs[:5]))
    more = Inputs(np.hstack([numbers, numbers + 1]), np.hstack([codes, codes]), law)
    assert np.array_equal(fit.network(Inputs(numbers, codes, law)).loss, fit.network(more).loss)


@pytest.mark.parametrize("backbone", ["llama", "qwen3"])
def test_an_untrained_network_is_the_surface(bundle: Bundle, runs: Runs, backbone: str) -> None:
    fit = bundle.fits[0]
    config = dataclasses.replace(bundle.config, backbone=backbone)
    network = fresh_network(config, fit.encoder, fit.surface, [3])
    inputs = Inputs.of(fit.encoder.encode(runs.where(split="id").configs[:9]))
    out = network(inputs)
    law = fit.surface.value(fit.surface.coefficients(inputs.law), inputs.law)
    assert np.array_equal(out.loss[0], law)
    assert out.correction.shape == (1, 9, K)


def test_far_outside_training_inputs_stay_at_the_border(bundle: Bundle, runs: Runs) -> None:
    fit = bundle.fits[0]
    config = runs.where(split="ood").configs[0]
    sizes = [dict(config) | {"params_non_embedding": n} for n in (5e9, 5e10, 5e11)]
    out = fit.network(Inputs.of(fit.encoder.encode(sizes)))
    assert np.array_equal(out.correction[:, 0], out.correction[:, 1])
    assert np.isfinite(out.loss).all()
    assert (out.loss > 0).all()


def test_an_unknown_backbone_is_one_sentence(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    with pytest.raises(ConfigError, match="expected one of llama, qwen3"):
        fresh_network(FitConfig(backbone="rnn"), fit.encoder, fit.surface, [0])
