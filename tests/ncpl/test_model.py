"""The network: what may and what may not change a prediction."""

import dataclasses

import pytest
import torch

from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import tensors_of
from ncpl.model.network import new_member
from ncpl.model.response_surface import K


def test_a_batch_predicts_what_a_single_one_does(bundle: Bundle, runs: Runs) -> None:
    fit, configs = bundle.fits[0], runs.where(split="id").configs[:40]
    together = fit.read(fit.encoder.encode(configs)).loss
    alone = [fit.read(fit.encoder.encode([config])).loss for config in configs]
    assert torch.allclose(together, torch.cat(alone, dim=1), atol=1e-6, rtol=0)
    pieces = fit.read(fit.encoder.encode(configs), batch_size=7).loss
    assert torch.allclose(together, pieces, atol=1e-6, rtol=0)


def test_the_law_does_not_hear_the_recipe(bundle: Bundle, runs: Runs) -> None:
    """Coefficients depend on size, data and optimizer only, so one (N, D) has one surface."""
    fit = bundle.fits[0]
    config = runs.where(split="id").configs[0]
    other = dict(config) | {"learning_rate": 1e-2, "batch_size_sequences": 64}
    with torch.no_grad():
        out = fit.members[0](*tensors_of(fit.encoder.encode([config, other])))
    assert torch.equal(out.correction[0], out.correction[1])
    assert out.residual[0] != out.residual[1]


def test_fields_of_the_process_cost_the_network_nothing(bundle: Bundle, runs: Runs) -> None:
    """Columns after the network's own change nothing it says, and add no token."""
    fit = bundle.fits[0]
    member = fit.members[0]
    numbers, codes, law = tensors_of(fit.encoder.encode(runs.where(split="id").configs[:5]))
    more = (torch.cat([numbers, numbers + 1], 1), torch.cat([codes, codes], 1), law)
    with torch.no_grad():
        assert torch.equal(member(numbers, codes, law).loss, member(*more).loss)
        assert torch.equal(fit.stacked(numbers, codes, law)[0], fit.stacked(*more)[0])


@pytest.mark.parametrize("backbone", ["llama", "qwen3"])
def test_an_untrained_network_is_the_law(bundle: Bundle, runs: Runs, backbone: str) -> None:
    fit = bundle.fits[0]
    config = dataclasses.replace(bundle.config, backbone=backbone)
    member = new_member(config, fit.encoder, fit.members[0].surface, seed=3).eval()
    inputs = tensors_of(fit.encoder.encode(runs.where(split="id").configs[:9]))
    with torch.no_grad():
        out = member(*inputs)
        law = member.surface.value(member.surface.coefficients(inputs[2]), inputs[2])
    assert torch.equal(out.loss, law)
    assert out.correction.shape == (9, K)


def test_far_outside_the_hull_the_network_hears_the_border(bundle: Bundle, runs: Runs) -> None:
    fit = bundle.fits[0]
    config = runs.where(split="ood").configs[0]
    sizes = [dict(config) | {"params_non_embedding": n} for n in (5e9, 5e10, 5e11)]
    with torch.no_grad():
        out = fit.members[0](*tensors_of(fit.encoder.encode(sizes)))
    assert torch.equal(out.correction[0], out.correction[1])
    assert torch.isfinite(out.loss).all()
    assert (out.loss > 0).all()


def test_an_unknown_backbone_is_one_sentence(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    with pytest.raises(ConfigError, match="expected one of llama, qwen3"):
        new_member(FitConfig(backbone="rnn"), fit.encoder, fit.members[0].surface, seed=0)
