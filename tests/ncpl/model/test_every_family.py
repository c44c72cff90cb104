"""Every family of the shipped snapshot is answered for, or there is one sentence that says why."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.errors import ConfigError
from ncpl.model.community import DEFAULT, Placed, load_community

COMMUNITY = load_community()
CARD = json.loads((DEFAULT / "card.json").read_text(encoding="utf-8"))
ABSENT: dict[str, str] = CARD["not_placed"]
ALONE = sorted(set(ABSENT) - {fit.family[0] for fit in COMMUNITY.fits})
"""Names that are not also the source of a family that has a place: that one answers."""


def config(fit: Placed) -> dict[str, float | str]:
    """Return a configuration in the middle of a family's sizes and data."""
    size, data = (math.sqrt(low * high) for low, high in (fit.sizes, fit.data))
    return {"source": fit.name, "params_non_embedding": size, "train_tokens": data}


@pytest.mark.parametrize("fit", COMMUNITY.fits, ids=lambda fit: fit.name)
def test_a_family_answers_by_its_whole_name(fit: Placed) -> None:
    (found,) = COMMUNITY.predict([config(fit)])
    assert found.source == fit.family[0]
    assert 0 < found.low < found.loss < found.high
    assert fit.about["scores"]["train"]["runs"] >= 1


@pytest.mark.parametrize("name", ALONE)
def test_a_family_without_a_place_says_why_in_one_sentence(name: str) -> None:
    row = {"source": name, "params_non_embedding": 1e8, "train_tokens": 2e9}
    with pytest.raises(ConfigError, match="can not be placed: its runs") as told:
        COMMUNITY.predict([row])
    assert "\n" not in str(told.value)


def test_the_command_answers_and_says_why_not(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    fit = next(fit for fit in COMMUNITY.fits if fit.family[0] == "rig")
    file.write_text(json.dumps({k: v for k, v in config(fit).items() if k != "source"}))
    answer = CliRunner().invoke(main, ["predict", str(file), "--source", "rig", "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["predictions"][0]["source"] == "rig"
    refused = CliRunner().invoke(main, ["predict", str(file), "--source", "parameter_golf"])
    assert refused.exit_code == 1
    assert "losses in bits_per_byte" in refused.stderr


def test_the_card_names_every_family_with_its_errors() -> None:
    page = (DEFAULT / "README.md").read_text(encoding="utf-8")
    result = CliRunner().invoke(main, ["card", "--bundle", str(DEFAULT)])
    assert result.exit_code == 0
    assert result.stdout.strip() == page.strip()
    for fit in COMMUNITY.fits:
        assert f"| {fit.name} | {fit.about['train_runs']} | {fit.about['n_sizes']} |" in page
    for why in ABSENT.values():
        assert f"- {why}\n" in page
