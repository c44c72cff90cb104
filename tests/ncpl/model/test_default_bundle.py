"""The bundle inside the package: it answers right after install, as its card promises."""

from pathlib import Path

import pytest

import ncpl
from ncpl.data.snapshot import Runs
from ncpl.evaluate.scores import score_table
from ncpl.model.bundle import DEFAULT

BARS = {"id": 0.0085, "ood": 0.0130}
"""Mean absolute error on StepLaw a release must reach, nats per token."""


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in Path(DEFAULT).iterdir()) < 20 * 2**20


def test_it_predicts_as_its_card_says(runs: Runs) -> None:
    """The fixture holds the same 2,581 runs as the snapshot the bundle was trained on."""
    bundle = ncpl.load()
    card = {
        (row["split"], row["predictor"]): row["mae"]
        for row in bundle.about["scores"]
        if row["source"] == "steplaw"
    }
    for row in score_table(bundle, runs):
        assert row["mae"] == pytest.approx(card[row["split"], row["predictor"]], abs=1e-5)
        if row["predictor"] == "NCPL, ensemble":
            assert row["mae"] <= BARS[row["split"]]
            assert 0.85 <= row["coverage"] <= 0.96


@pytest.mark.parametrize(
    ("config", "loss"),
    [
        # StepLaw, 268M on 14.2B tokens: the best measured run reached 2.4319.
        (
            {
                "n_layers": 8,
                "d_model": 1024,
                "d_ff": 9552,
                "train_tokens": 14.2e9,
                "learning_rate": 1.95e-3,
                "batch_size_sequences": 128,
                "sequence_length": 2048,
            },
            2.432,
        ),
    ],
)
def test_known_runs(config: dict[str, float], loss: float) -> None:
    (found,) = ncpl.load().predict([config])
    assert found.loss == pytest.approx(loss, abs=0.01)
    assert found.low < loss < found.high


@pytest.mark.parametrize("source", [None, "losscast", "marin"])
def test_a_copied_run_is_answered_as_the_run_itself(source: str | None) -> None:
    """cases/submit/04: a row of Marin with its source, with that of a copy, and without one."""
    config = {
        "params_non_embedding": 536_870_912,
        "nominal_train_tokens": 10_737_418_240,
        "optimizer": "scion",
        "learning_rate": 0.008,
        "batch_size_sequences": 128,
        "sequence_length": 4096,
        "dataset": "dclm_baseline+starcoderdata+proofpile_2",
        "tokenizer": "meta-llama/Meta-Llama-3.1-8B",
    }
    (found,) = ncpl.load().predict([config | ({"source": source} if source else {})])
    assert found.source == "marin"
