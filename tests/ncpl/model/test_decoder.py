"""The network against a decoder of transformers: the same weights give the same reading."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaModel, Qwen3Config, Qwen3Model

import ncpl
from ncpl.data.snapshot import Runs
from ncpl.errors import BundleError
from ncpl.model.bundle import Bundle
from ncpl.model.inputs import Inputs
from ncpl.model.network import Network
from ncpl.train.members import fresh_network

DECODERS = {"llama": (LlamaConfig, LlamaModel), "qwen3": (Qwen3Config, Qwen3Model)}


def read_alone(network: Network, member: int, backbone: str, inputs: Inputs) -> np.ndarray:
    """Return what transformers' decoder with a member's weights holds at LOSS (W, B)."""
    own = {name: torch.from_numpy(array[member]) for name, array in network.weights.items()}
    width = own["names"].shape[1]
    settings, model = DECODERS[backbone]
    decoder = model(
        settings(
            vocab_size=len(own["backbone.embed_tokens.weight"]), hidden_size=width,
            intermediate_size=2 * width, num_hidden_layers=network.n_layers,
            num_attention_heads=network.n_heads, num_key_value_heads=network.n_heads,
            head_dim=width // network.n_heads, attn_implementation="eager", use_cache=False,
        )
    )  # fmt: skip
    start = "backbone."
    decoder.load_state_dict({n[len(start) :]: t for n, t in own.items() if n.startswith(start)})
    seen = torch.from_numpy(np.clip(network.seen(inputs), network.low, network.high))
    codes = torch.from_numpy(inputs.codes[:, : network.n_fields])
    hidden = torch.tanh(seen[:, :, None] * own["numbers.slope"] + own["numbers.shift"])
    numbers = torch.einsum("bfw,fwv->bfv", hidden, own["numbers.out"])
    words = own["backbone.embed_tokens.weight"][codes]
    tokens = torch.where(codes[:, :, None] == 1, numbers, words) + own["names"]
    first, law, loss = own["readers"].expand(len(codes), 3, width).split(1, dim=1)
    n = network.n_context
    sequence = torch.cat([first, tokens[:, :n], law, tokens[:, n:], loss], dim=1)
    with torch.no_grad():
        return decoder(inputs_embeds=sequence).last_hidden_state[:, -1].T.numpy()


def assert_same(network: Network, backbone: str, inputs: Inputs) -> None:
    out = network(inputs)
    for member in range(network.n_members):
        alone = read_alone(network, member, backbone, inputs)
        assert np.allclose(out.hidden[member], alone, atol=1e-4, rtol=0)
    trained = network.map(torch.from_numpy)(inputs.map(torch.from_numpy))
    assert np.allclose(out.loss, trained.loss.numpy(), atol=1e-6, rtol=0)
    assert np.allclose(out.log_scale, trained.log_scale.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("source", [0, 1])
def test_the_shipped_members(runs: Runs, source: int) -> None:
    """Both sources' encoders: with and without categories, all and some fields given."""
    bundle = ncpl.load()
    assert isinstance(bundle, Bundle)
    fit = bundle.fits[source]
    configs = [dict(c) | {"optimizer": "muon"} for c in runs.where(split="ood").configs[:50]]
    configs += [{"params_non_embedding": 3e8, "train_tokens": 1e10}, {}]
    assert_same(fit.network, "llama", Inputs.of(fit.encoder.encode(configs)))


def test_the_qwen3_backbone(bundle: Bundle, runs: Runs) -> None:
    """Its queries and keys are normed; weights away from their start, so that nothing is one."""
    fit = bundle.fits[0]
    config = dataclasses.replace(bundle.config, backbone="qwen3")
    rng = np.random.default_rng(0)
    network = fresh_network(config, fit.encoder, fit.surface, [1, 2])
    network = network.map(
        lambda array: np.asarray(array + 0.1 * rng.normal(size=array.shape), dtype=np.float32)
    )
    configs = runs.where(split="id").configs[:20]
    assert_same(network, "qwen3", Inputs.of(fit.encoder.encode(configs)))


def test_runs_that_share_a_context_are_told_as_one_by_one(runs: Runs) -> None:
    """Twenty runs of one size and data among others: what they share is computed once."""
    bundle = ncpl.load()
    assert isinstance(bundle, Bundle)
    fit = bundle.fits[0]
    config = runs.where(split="id").configs[0]
    rates = [config | {"learning_rate": 1e-3 + i * 1e-4} for i in range(20)]
    inputs = Inputs.of(fit.encoder.encode([*rates, *runs.where(split="id").configs[1:4]]))
    together = fit.network(inputs).loss
    alone = [fit.network(inputs.take(slice(i, i + 1))).loss for i in range(23)]
    assert np.allclose(together, np.concatenate(alone, axis=1), atol=1e-6, rtol=0)


def test_members_of_two_surfaces_are_refused(bundle: Bundle) -> None:
    fit = bundle.fits[0]
    first, other = fit.network.states()[:2]
    other["surface.base"] = other["surface.base"] + 1
    with pytest.raises(BundleError, match=r"members differ in surface\.base"):
        Network.of_states(bundle.config, fit.encoder, [first, other])
