"""Fields: what is refused, what is derived, what the encoder keeps."""

import math
from typing import Any

import numpy as np
import pytest

from ncpl.data.checks import check_config
from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.encoder import Encoder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learning_rte": 1e-3}, "unknown field 'learning_rte'; the nearest known field is"),
        ({"learning_rate": 300}, "learning_rate is 300; expected 1e-08 to 1"),
        ({"train_tokens": -5}, "train_tokens is -5; expected"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; expected a number"),
        ({"learning_rate": math.nan}, "expected a number"),
        ({"n_layers": True}, "expected a number"),
        ({"optimizer": 3}, "optimizer is 3; expected a name"),
        ({"batch_tokens": 5}, "unknown field 'batch_tokens'"),
    ],
)
def test_a_wrong_field_is_one_sentence(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert message in str(caught.value)


def test_nulls_are_absent_fields() -> None:
    assert check_config({"dataset": None, "n_layers": 8}) == {"n_layers": 8}


def test_size_follows_from_the_architecture() -> None:
    config = {"n_layers": 8, "d_model": 1024, "d_ff": 9552}
    assert derive(config)["params_non_embedding"] == 268_304_384  # as published for this run


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"nominal_train_tokens": 4e9, "train_tokens": 3.9e9}, 4e9),
        ({"train_tokens": 3.9e9}, 3.9e9),
        ({"train_steps": 10, "batch_size_sequences": 4, "sequence_length": 100}, 4000),
        ({"train_steps": 10}, None),
    ],
)
def test_data_is_nominal_then_actual_then_a_product(
    config: dict[str, Any], tokens: float | None
) -> None:
    assert derive(config)["data_tokens"] == tokens


def test_fields_that_never_vary_are_not_read(runs: Runs) -> None:
    train = runs.where(split="train")
    encoder = Encoder.fit(
        train.configs, ("params_non_embedding", "optimizer"), ("weight_decay", "learning_rate")
    )
    assert encoder.fields == ("params_non_embedding", "learning_rate")
    assert Encoder.from_dict(encoder.to_dict()) == encoder


def test_an_unseen_value_is_told(runs: Runs) -> None:
    train = runs.where(split="train")
    encoder = Encoder.fit(train.configs, ("params_non_embedding",), ("learning_rate",))
    seen = dict(train.configs[0])
    assert encoder.outside(seen) == []
    larger = seen | {"params_non_embedding": math.e * 429_260_800}
    rows = [seen, seen | {"optimizer": "muon"}, larger, seen | {"learning_rate": 0.01562 * math.e}]
    assert encoder.distance(rows).tolist() == pytest.approx([0, 3, 1, 3])
    unseen = seen | {"optimizer": "muon", "weight_decay": 0.3}
    told = encoder.outside(unseen)
    assert told == [
        "weight_decay is 0.3, in training it was always 0.1; no training run shows its effect "
        "there",
        "optimizer is 'muon', in training it was adamw",
    ]


def test_a_larger_models_shape_is_no_distance_of_its_own(runs: Runs) -> None:
    train = runs.where(split="train")
    encoder = Encoder.fit(train.configs, ("params_non_embedding",), ("learning_rate",))
    seen = dict(train.configs[0])
    odd_shape = {"d_model": 9999}
    larger = {"params_non_embedding": math.e * 429_260_800}
    rows = [seen | odd_shape, seen | larger | odd_shape, seen | larger | {"weight_decay": 0.2}]
    assert encoder.distance(rows).tolist() == pytest.approx([0.5, 1, 2.5])


def test_a_number_counts_by_how_odd_it_is(runs: Runs) -> None:
    train = runs.where(split="train")
    encoder = Encoder.fit(train.configs, ("params_non_embedding",), ("learning_rate",))
    seen = dict(train.configs[0])
    odd = [{"weight_decay": 0.2}, {"weight_decay": 9.0}, {"warmup_steps": 2000 * math.e},
           {"warmup_steps": 0}, {"weight_decay": 0.2, "warmup_steps": 0}]  # fmt: skip
    rows = [seen | config for config in odd]
    assert encoder.distance(rows).tolist() == pytest.approx([1.5, 4.5, 1.5, 1.5, 1.5])


def test_absent_fields_are_code_zero_and_nan(runs: Runs) -> None:
    encoder = Encoder.fit(
        runs.where(split="train").configs, ("params_non_embedding",), ("learning_rate",)
    )
    encoded = encoder.encode([{"params_non_embedding": 250e6}])
    assert encoded.codes.tolist() == [[1, 0]]
    assert encoded.numbers.tolist() == [[0.0, 0.0]]  # 250e6 is the centre of the table
    assert np.isnan(encoded.law[0, 1:]).all()


def test_the_network_hears_how_far_a_run_is_from_its_optimizers_usual() -> None:
    rows = [
        {"optimizer": name, "weight_decay": decay, "params_non_embedding": 1e8 + i}
        for name, usual in (("lion", 0.7), ("adamw", 0.1))
        for i, decay in enumerate((usual, usual, usual + 0.1))
    ]
    encoder = Encoder.fit(rows, ("params_non_embedding", "optimizer"), ("weight_decay",))
    last = encoder.encode(rows).numbers[:, -1]  # in units of 0.1, as the table says
    assert last.tolist() == pytest.approx([0, 0, 1, 0, 0, 1], abs=1e-6)
    stranger = encoder.encode([{"optimizer": "shampoo", "weight_decay": 0.45}])
    assert np.isnan(stranger.law[0, 5])
    assert Encoder.from_dict(encoder.to_dict()) == encoder


def test_numbers_of_an_optimizer_are_read_from_its_open_object() -> None:
    row = derive(
        {"optimizer_extra": '{"muon_to_adam_lr": 0.3, "muon_epsilon": 1e-5, "is_fast": "yes"}'}
    )
    assert row["second_rate_ratio"] == 0.3
    assert row["second_epsilon"] == 1e-5
    with pytest.raises(ConfigError, match="optimizer_extra is not an object"):
        check_config({"optimizer_extra": "0.3"})
