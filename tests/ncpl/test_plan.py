"""Recommendations: inside what training has seen, and beside the published law."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.bundle import Bundle
from ncpl.cli import main
from ncpl.errors import ConfigError
from ncpl.plan import recommend, step_law


def test_the_published_law_at_one_billion() -> None:
    """By hand: 1.79 (1e9)^-0.713 (1e11)^0.307 and 0.58 (1e11)^0.571."""
    rate, batch = step_law(1e9, 1e11)
    assert rate == pytest.approx(1.63e-3, rel=0.01)
    assert batch == pytest.approx(1.11e6, rel=0.01)


def test_the_best_candidate_is_no_worse_than_the_published_law(bundle: Bundle) -> None:
    found = recommend(bundle, params_non_embedding=268e6, train_tokens=14e9)
    assert found.prediction.loss <= found.step_law_prediction.loss + 1e-4
    low, high = bundle.fits[0].encoder.ranges["learning_rate"]
    assert low <= found.config["learning_rate"] <= high
    # Within a factor of three of the law that was fitted on these runs.
    assert 1 / 3 < found.config["learning_rate"] / found.step_law["learning_rate"] < 3


def test_a_budget_chooses_the_size(bundle: Bundle) -> None:
    found = recommend(bundle, flop=6 * 2e8 * 1e10)
    n, d = found.config["params_non_embedding"], found.config["train_tokens"]
    assert 6 * n * d == pytest.approx(1.2e19)
    given = recommend(bundle, flop=1.2e19, train_tokens=1e10)
    assert given.config["params_non_embedding"] == pytest.approx(2e8)


@pytest.mark.parametrize("request_", [{}, {"train_tokens": 1e9}, {"params_non_embedding": 1e8}])
def test_an_open_request_is_one_sentence(bundle: Bundle, request_: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="give a size and tokens, or a compute budget"):
        recommend(bundle, **request_)


def test_the_command_prints_both(bundle: Bundle, folder: Path) -> None:
    arguments = [
        "plan",
        "recommend",
        "--params",
        "3e8",
        "--tokens",
        "1e10",
        "--bundle",
        str(folder),
    ]
    text = CliRunner().invoke(main, arguments).stdout
    assert "NCPL: learning rate" in text
    assert "Step Law: learning rate" in text
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert found["prediction"]["loss"] > 2
