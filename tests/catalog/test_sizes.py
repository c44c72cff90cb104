"""Sizes by rule, checked against published counts."""

from __future__ import annotations

from typing import Any

import pytest

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.curate import curate
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.sizes import RULE, Missing, needed_for_size, shape_count, sizes

GPT2: dict[str, Any] = {  # openai-community/gpt2: 124,439,808 parameters
    "n_layers": 12, "d_model": 768, "d_ff": 3072, "n_heads": 12, "attention": "multi_head",
    "activation": "gelu", "has_bias": True, "norm": "layernorm", "vocab_size": 50257,
    "is_embedding_tied": True, "position_encoding": "learned", "sequence_length": 1024,
}  # fmt: skip
LLAMA_7B: dict[str, Any] = {  # meta-llama/Llama-2-7b-hf: 6,738,415,616 parameters
    "n_layers": 32, "d_model": 4096, "d_ff": 11008, "n_heads": 32, "n_kv_heads": 32,
    "activation": "swiglu", "norm": "rmsnorm", "vocab_size": 32000, "is_embedding_tied": False,
}  # fmt: skip
LLAMA_3_8B: dict[str, Any] = {  # meta-llama/Meta-Llama-3-8B: 8,030,261,248 parameters
    "n_layers": 32, "d_model": 4096, "d_ff": 14336, "n_heads": 32, "n_kv_heads": 8,
    "activation": "swiglu", "norm": "rmsnorm", "vocab_size": 128256, "is_embedding_tied": False,
}  # fmt: skip
MIXTRAL: dict[str, Any] = {  # mistralai/Mixtral-8x7B-v0.1: 46,702,792,704, 12.88 B active
    "n_layers": 32, "d_model": 4096, "d_ff": 14336, "n_heads": 32, "n_kv_heads": 8,
    "activation": "swiglu", "norm": "rmsnorm", "vocab_size": 32000, "is_embedding_tied": False,
    "n_experts": 8, "experts_per_token": 2, "n_dense_layers": 0,
}  # fmt: skip
MARIN_130M: dict[str, Any] = {  # W marin/optimizer_sweep/models.py: 134,217,728
    "n_layers": 32, "d_model": 512, "d_ff": 2048, "n_heads": 8, "n_kv_heads": 8,
    "activation": "swiglu",
}  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "column", "count"),
    [
        (GPT2, "params_total", 124_439_808),
        (LLAMA_7B, "params_total", 6_738_415_616),
        (LLAMA_3_8B, "params_total", 8_030_261_248),
        (MIXTRAL, "params_total", 46_702_792_704),
        (MIXTRAL, "params_active", 12_879_925_248),
        (MARIN_130M, "params_non_embedding", 134_217_728),
    ],
)
def test_the_rule_gives_published_counts(shape: dict[str, Any], column: str, count: int) -> None:
    """What the owners' checkpoints hold, to the last parameter."""
    assert sizes(shape)[column][0] == count
    assert sizes(shape)[column][1].startswith(RULE)


@pytest.mark.parametrize(
    ("lacks", "field"),
    [
        ("n_kv_heads", "n_kv_heads or attention"),
        ("activation", "is_ffn_gated or activation"),
        ("d_ff", "d_ff"),
        ("n_layers", "n_layers"),
    ],
)
def test_what_the_shape_does_not_state_is_named(lacks: str, field: str) -> None:
    """A size that would need a guess is refused, with what it needs."""
    shape = {k: v for k, v in LLAMA_7B.items() if k != lacks}
    found = shape_count(shape)
    assert isinstance(found, Missing)
    assert field in found.fields
    assert field in needed_for_size(shape)


def test_a_plain_layer_has_two_matrices() -> None:
    """A GELU network of 21.2 million is not counted as one of 28.3 million."""
    plain = {"n_layers": 12, "d_model": 384, "d_ff": 1536, "n_heads": 6, "n_kv_heads": 6}
    assert sizes({**plain, "activation": "gelu"})["params_non_embedding"][0] == 21_233_664
    assert sizes({**plain, "activation": "swiglu"})["params_non_embedding"][0] == 28_311_552
    assert sizes({**plain, "is_ffn_gated": False})["params_non_embedding"][0] == 21_233_664
    assert not sizes({**plain, "activation": "silu"})  # gated in some networks, plain in others


def test_a_total_gives_its_blocks_and_back() -> None:
    """The embeddings are what lies between; a count the source states is not touched."""
    tables = {"vocab_size": 32000, "d_model": 4096, "is_embedding_tied": False}
    found = sizes({**tables, "params_total": 6_738_415_616})
    assert found["params_non_embedding"][0] == 6_738_415_616 - 2 * 32000 * 4096
    back = sizes({**tables, "params_non_embedding": found["params_non_embedding"][0]})
    assert back["params_total"][0] == 6_738_415_616
    assert "params_total" not in sizes({**tables, "params_total": 6_738_415_616})


@pytest.mark.parametrize(
    "odd", [{"architecture": "state_space"}, {"n_recurrent_steps": 4}, {"attention": "latent"}]
)
def test_other_networks_are_not_counted_as_plain_decoders(odd: dict[str, Any]) -> None:
    """The rule is one of plain decoders."""
    assert isinstance(shape_count({**LLAMA_7B, **odd}), Missing)


def test_values_by_rule_say_so_and_stay() -> None:
    """Completing a run twice changes nothing; every derived value has its rule."""
    run = Run(run_id="lab/a", source="lab", **MARIN_130M, train_tokens=10**9)
    once = complete(run)
    assert once.params_non_embedding == 134_217_728
    assert once.train_flops == 6.0 * 134_217_728 * 10**9
    assert complete(once).content_hash() == once.content_hash()
    for column in ("params_non_embedding", "train_flops"):
        assert (once.origins or {})[column]["kind"] == "derived"


def test_a_count_that_is_not_that_of_the_shape_is_flagged() -> None:
    """More than a hundredth apart is told, with both counts; less is not."""
    off = Run(run_id="lab/a", source="lab", **MARIN_130M, params_non_embedding=130_000_000)
    near = Run(run_id="lab/b", source="lab", **MARIN_130M, params_non_embedding=134_300_000)
    assert curate(off).flags == ("size_off_shape",)
    assert "-3.1%" in (curate(off).origins or {})["flags"]["rule"]
    assert curate(near).flags is None


def test_a_dense_model_has_no_more_active_parameters_than_parameters() -> None:
    """A source's count without norms beside a shape with them: the source's stands for both."""
    found = sizes({**LLAMA_7B, "params_non_embedding": 6_476_005_376})
    assert found["params_active"][0] == found["params_total"][0]
    assert found["params_active_non_embedding"][0] == 6_476_005_376
