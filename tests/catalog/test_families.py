"""Which losses compare, and what a model can learn from."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ncpl_data.catalog.families import bits_per_byte, families, family_of, nats_per_token
from ncpl_data.catalog.model_ready import coverage, model_ready, summary
from ncpl_data.catalog.names import canonical

RUN: dict[str, Any] = {
    "run_id": "lab/a", "source": "lab", "source_run": "a", "same_as": None,
    "parent_run_id": None, "status": "finished", "final_loss": 3.0, "final_loss_metric": "val",
    "final_loss_unit": "nats_per_token", "metrics": None, "dataset": "c4", "tokenizer": "gpt2",
    "optimizer": "adamw", "params_non_embedding": 10**8, "nominal_train_tokens": None,
    "train_tokens": 10**9, "stage": "pretrain", "modality": "text", "is_copy": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "spelling", "name"),
    [
        ("tokenizers", "EleutherAI/gpt-neox-20b", "gpt-neox"),
        ("tokenizers", "GPT-2", "gpt2"),
        ("datasets", "mlfoundations/dclm-baseline-1.0", "dclm"),
        ("datasets", "fineweb10B_sp1024", "fineweb-10B"),
        ("datasets", "a set nobody knows", "a set nobody knows"),
        ("datasets", None, None),
    ],
)
def test_one_thing_has_one_name(kind: str, spelling: str | None, name: str | None) -> None:
    """Spellings are compared without case and punctuation; an unknown one stays."""
    assert canonical(kind, spelling) == name


def test_losses_of_two_publishers_compare_on_a_public_set_only() -> None:
    """Their own held-out parts are other tokens; Paloma's C4 is one set."""
    own = [family_of(RUN), family_of(RUN | {"source": "other"})]
    assert own[0] != own[1]
    entry = ({"name": "val", "dataset": "paloma/c4_en", "unit": "nats_per_token"},)
    both = [family_of(RUN | {"metrics": entry, "source": s}) for s in ("lab", "other")]
    assert both[0] == both[1]
    assert both[0] is not None
    assert both[0].key == "public|paloma/c4_en|c4|gpt2|nats_per_token"


def test_a_copy_is_of_its_owners_family() -> None:
    """Whoever holds a Step Law run, its loss is the Step Law's."""
    about = {"final_loss_metric": "train/loss_smoothed", "dataset": None, "tokenizer": None}
    found = {
        family_of(RUN | about | {"source": source})
        for source in ("steplaw", "losscast", "scalebench", "ncpl_logs")
    }
    assert len(found) == 1


def test_bits_per_byte_need_no_tokenizer() -> None:
    """Two vocabularies are one family in bits per byte, two in nats per token."""
    for unit, n_families in (("bits_per_byte", 1), ("nats_per_token", 2)):
        rows = [RUN | {"final_loss_unit": unit, "tokenizer": t} for t in ("gpt2", "t5")]
        assert len({family_of(row) for row in rows}) == n_families
    assert family_of(RUN | {"final_loss_unit": "normalized"}) is None


def test_units_convert_where_the_bytes_are_stated() -> None:
    """One nat a token of 4 bytes; and back."""
    assert bits_per_byte(1.0, 4.0) == pytest.approx(1 / (4 * math.log(2)))
    assert nats_per_token(bits_per_byte(2.7, 4.3), 4.3) == pytest.approx(2.7)
    with pytest.raises(ValueError, match="more than 0"):
        bits_per_byte(1.0, 0.0)


def test_a_family_counts_physical_runs_and_sizes() -> None:
    """A twin counts once, sizes nearer than a hundredth are one, a diverged run is not usable."""
    rows = [
        RUN,
        RUN | {"run_id": "lab/b", "same_as": ["lab/a"]},
        RUN | {"run_id": "lab/c", "params_non_embedding": 100_100_000, "train_tokens": 2 * 10**9},
        RUN | {"run_id": "lab/d", "params_non_embedding": 2 * 10**8},
        RUN | {"run_id": "lab/e", "status": "diverged"},
    ]
    (found,) = families(rows)
    assert (found.runs, found.usable, found.sizes, found.is_split) == (4, 3, 2, False)
    assert found.varies == ("params_non_embedding", "tokens")


def test_what_is_lacking_is_named() -> None:
    """A run without size or tokens can not be learned from, and is told what would mend it."""
    assert model_ready(RUN).is_usable
    bare = RUN | {"params_non_embedding": None, "train_tokens": None, "train_steps": 100}
    ready = model_ready(bare)
    assert not ready.is_usable
    assert ready.needs["data"] == "train_tokens, or batch_size_sequences and sequence_length"
    assert ready.needs["size"].startswith("params_non_embedding, or n_layers and d_model")
    assert "learning_rate" in ready.needs
    assert summary([RUN, bare]).startswith("1 of 2 runs can be learned from")


def test_coverage_takes_the_row_that_says_most() -> None:
    """Of twins the one a model can learn from counts, and what follows by rule counts."""
    poor = RUN | {"run_id": "copy/a", "source": "copy", "params_non_embedding": None}
    parts = coverage([RUN, poor | {"same_as": ["lab/a"]}])
    assert [(p.name, p.runs, p.usable) for p in parts] == [("lab", 1, 1), ("all", 1, 1)]
