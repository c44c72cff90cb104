"""Sequences: a point sees its configuration and itself alone; padding changes nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from ncpl.language.base import load_base
from ncpl.language.forecast import residuals
from ncpl.language.network import LanguageNetwork
from ncpl.language.pipeline import Data, vocabulary_of
from ncpl.language.sequence import Query, Sequencer
from ncpl.language.settings import LanguageConfig

CPU = torch.device("cpu")
FRACTIONS = tuple((i + 1) / 30 for i in range(30))


@pytest.fixture(scope="module", params=["llama", "qwen3", "gpt2"])
def network(request: pytest.FixtureRequest, data: Data, small: LanguageConfig) -> LanguageNetwork:
    shape = dict(small.random_base, model_type=request.param, num_key_value_heads=1, head_dim=16)
    if request.param == "gpt2":
        shape = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2}
    config = dataclasses.replace(small, random_base=shape)
    words = vocabulary_of(data.train, config)
    base = load_base(config, seed=1, words=words)
    torch.manual_seed(0)
    return LanguageNetwork(base.model).eval()


def sequencer_of(data: Data, config: LanguageConfig, **changes: object) -> Sequencer:
    config = dataclasses.replace(config, **changes)
    words = vocabulary_of(data.train, config)
    assert words is not None
    return Sequencer(words, config)


def test_all_points_of_a_run_in_one_sequence_are_those_of_one_each(
    network: LanguageNetwork, data: Data, small: LanguageConfig
) -> None:
    sequencer = sequencer_of(data, small)
    row = data.train.queries[0].row
    together = residuals(network, sequencer, [Query(row, FRACTIONS)], CPU)[0]
    alone = [residuals(network, sequencer, [Query(row, (f,))], CPU)[0][0] for f in FRACTIONS]
    np.testing.assert_allclose(together, alone, atol=2e-6)
    assert np.ptp(together) > 1e-3, "the fraction must matter, or the test says nothing"


def test_a_padded_batch_predicts_what_single_ones_do(
    network: LanguageNetwork, data: Data, small: LanguageConfig
) -> None:
    sequencer = sequencer_of(data, small)
    queries = [Query(q.row, FRACTIONS[: 1 + i]) for i, q in enumerate(data.train.queries[:6])]
    short = {"params_non_embedding": 1e8, "data_tokens": 1e9, "source": "steplaw"}
    queries.append(Query(short, (1.0,)))
    batch = sequencer.batch(queries)
    assert (batch.blocks == -1).any(), "without padding the test says nothing"
    with torch.no_grad():
        together = network(batch).numpy()
    alone = np.concatenate([residuals(network, sequencer, [q], CPU)[0] for q in queries])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_the_references_text_is_read_at_its_last_token(data: Data, small: LanguageConfig) -> None:
    sequencer = sequencer_of(data, small, point_style="text")
    batch = sequencer.batch([Query(data.train.queries[0].row, (0.5, 1.0))])
    tokenizer = sequencer.vocabulary.tokenizer
    words = [tokenizer.id_to_token(i) for i in batch.ids[0].tolist()]
    is_number = batch.values[0].isfinite().tolist()
    shown = ["#" if number else word for word, number in zip(words, is_number, strict=True)]
    assert shown[-7:] == ["step:", "#", "frac:", "#", "loss:", "final", "loss:"]
    assert batch.read.tolist() == [len(words) - 3, len(words) - 1]
    first = int((batch.blocks[0] == 0).sum())
    assert batch.positions[0, -5:].tolist() == [first, first + 1, first + 2, first, first + 1]


def test_no_number_is_lost_and_no_token_id_is_fixed(data: Data, small: LanguageConfig) -> None:
    sequencer = sequencer_of(data, small)
    query = data.train.queries[0]
    batch = sequencer.batch([query])
    given = [v for v in batch.values[0].tolist() if v == v]
    assert given[0] == pytest.approx(query.row["params_non_embedding"] / 1e8)
    assert given[-1] == 1.0
    assert int(batch.ids.max()) < sequencer.vocabulary.size


def test_hidden_and_absent_fields_leave_the_text(data: Data, small: LanguageConfig) -> None:
    sequencer = sequencer_of(data, small)
    row = data.train.queries[0].row
    whole = sequencer.prefix(row)
    without = sequencer.prefix(row, hidden={"learning_rate"})
    absent = sequencer.prefix({k: v for k, v in row.items() if k != "learning_rate"})
    assert len(without) == len(whole) - 3  # two words and a number
    assert without.ids == absent.ids


def test_eager_attention_reads_the_same_mask(data: Data, small: LanguageConfig) -> None:
    words = vocabulary_of(data.train, small)
    base = load_base(small, seed=1, words=words).model
    network = LanguageNetwork(base).eval()
    sequencer = sequencer_of(data, small)
    query = Query(data.train.queries[0].row, FRACTIONS)
    fused = residuals(network, sequencer, [query], CPU)[0]
    base.set_attn_implementation("eager")
    np.testing.assert_allclose(residuals(network, sequencer, [query], CPU)[0], fused, atol=2e-6)
