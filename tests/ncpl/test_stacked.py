"""Members side by side predict what each predicts alone."""

import dataclasses

import pytest
import torch

import ncpl
from ncpl.data.snapshot import Runs
from ncpl.errors import BundleError
from ncpl.model.bundle import Bundle
from ncpl.model.ensemble import tensors_of
from ncpl.model.network import NCPL, new_member
from ncpl.model.stacked import Stacked


def assert_same(members: list[NCPL], inputs: tuple[torch.Tensor, ...]) -> None:
    losses, log_scales, held = Stacked(members)(*inputs)
    for i, member in enumerate(members):
        with torch.no_grad():
            alone = member(*inputs)
            read = member.read(*inputs)[1]
        assert torch.allclose(losses[i], alone.loss, atol=1e-6, rtol=0)
        assert torch.allclose(log_scales[i], alone.log_scale, atol=1e-4, rtol=0)
        assert torch.allclose(held[i].T, read, atol=1e-4, rtol=0)


@pytest.mark.parametrize("source", [0, 1])
def test_the_shipped_members(runs: Runs, source: int) -> None:
    """Both sources' encoders: with and without categories, all and some fields given."""
    fit = ncpl.load().fits[source]
    configs = [dict(c) | {"optimizer": "muon"} for c in runs.where(split="ood").configs[:50]]
    configs += [{"params_non_embedding": 3e8, "train_tokens": 1e10}, {}]
    assert_same(fit.members, tensors_of(fit.encoder.encode(configs)))


def test_the_qwen3_backbone(bundle: Bundle, runs: Runs) -> None:
    """Its queries and keys are normed; weights away from their start, so that nothing is one."""
    fit = bundle.fits[0]
    config = dataclasses.replace(bundle.config, backbone="qwen3")
    members = [new_member(config, fit.encoder, fit.members[0].surface, seed=s) for s in (1, 2)]
    with torch.no_grad():
        for seed, member in enumerate(members):
            torch.manual_seed(seed)
            for name, weight in member.named_parameters():
                if not name.startswith("surface"):
                    weight.add_(0.1 * torch.randn_like(weight))
    configs = runs.where(split="id").configs[:20]
    assert_same([m.eval() for m in members], tensors_of(fit.encoder.encode(configs)))


def test_members_of_two_laws_are_refused(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    other = new_member(bundle.config, fit.encoder, fit.members[0].surface, seed=1)
    other.load_state_dict(fit.members[0].state_dict())
    other.surface.base.data += 1
    with pytest.raises(BundleError, match=r"members differ in surface\.base"):
        Stacked([fit.members[0], other])
