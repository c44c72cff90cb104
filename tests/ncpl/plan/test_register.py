"""The register of forecasts: dated, only added to, and never changed unnoticed."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.errors import ConfigError
from ncpl.plan.register import add_forecast, add_score, read_register, table_of

DOCS = Path(__file__).parents[3] / "docs"
DAY = date(2026, 11, 29)


def entry(name: str) -> dict:
    return {
        "name": name, "announced": "https://example.org/run", "says": "announced", "metric": "loss",
        "prediction": {"loss": 2.5, "low": 2.4, "high": 2.6}, "config": {"learning_rate": 1e-3},
    }  # fmt: skip


@pytest.fixture
def register(tmp_path: Path) -> Path:
    path = tmp_path / "forecasts.jsonl"
    add_forecast(path, entry("a"), DAY)
    add_forecast(path, entry("b"), DAY)
    add_score(path, "a", 2.55, "https://example.org/result", DAY)
    return path


def test_a_scored_forecast_keeps_its_prediction(register: Path) -> None:
    before = register.read_text().splitlines()
    add_score(register, "b", 2.7, "https://example.org/result", DAY)
    assert register.read_text().splitlines()[:3] == before
    found = read_register(register)
    assert found.forecasts["b"]["prediction"] == entry("b")["prediction"]
    assert found.scores["a"]["is_inside"]
    assert not found.scores["b"]["is_inside"]
    assert found.scores["b"]["error"] == pytest.approx(-0.2)
    assert "2 forecasts, 2 scored: mean error 0.1250 nats, 1 inside" in table_of(found)[-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace("2.5", "2.55"), *lines[1:]],
        lambda lines: [lines[0].replace("2026-11-29", "2026-11-28"), *lines[1:]],
        lambda lines: [lines[0].replace("announced", "denied", 1), *lines[1:]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: [*lines[:2], lines[2].replace("2.55", "2.50")],
        lambda lines: [*lines, "{}"],
        lambda lines: [*lines, "half a li"],
    ],
    ids=["loss", "date", "text", "order", "no a", "no b", "twice", "score", "empty", "cut"],
)  # fmt: skip
def test_a_line_changed_after_its_date_is_noticed(register: Path, change) -> None:
    register.write_text("\n".join(change(register.read_text().splitlines())) + "\n")
    with pytest.raises(ConfigError, match=r"line \d"):
        read_register(register)


def test_what_would_change_a_forecast_is_refused(register: Path) -> None:
    for call, says in (
        (lambda: add_forecast(register, entry("a"), DAY), "never made over"),
        (lambda: add_score(register, "a", 2.5, "url", DAY), "already"),
        (lambda: add_score(register, "c", 2.5, "url", DAY), "there are: a, b"),
    ):
        with pytest.raises(ConfigError, match=says):
            call()


def test_commands_make_score_and_show(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        json.dumps(
            {"params_non_embedding": 268304384, "train_tokens": 1e10, "learning_rate": 1e-3,
             "batch_size_sequences": 192, "sequence_length": 2048}
        )
    )  # fmt: skip
    path = str(tmp_path / "r.jsonl")
    words = ["--name", "mine", "--source", "steplaw", "--announced", "url", "--says", "planned"]
    calls = [
        ["forecast", "make", str(tmp_path / "c.json"), *words, "--register", path, "--json"],
        ["forecast", "score", "mine", "--loss", "2.6", "--measured", "url", "--register", path],
        ["forecast", "show", "--register", path, "--json"],
    ]
    results = [CliRunner().invoke(main, call) for call in calls]
    assert [r.exit_code for r in results] == [0, 0, 0], [r.output for r in results]
    made = json.loads(results[0].stdout)
    assert made["prediction"]["low"] < made["prediction"]["loss"] < made["prediction"]["high"]
    assert made["weights"]
    assert [line["kind"] for line in json.loads(results[2].stdout)] == ["forecast", "score"]
    again = CliRunner().invoke(main, calls[0])
    assert again.exit_code != 0
    assert "never made over" in again.output


def test_the_page_shows_the_register_as_it_is() -> None:
    found = read_register(DOCS / "forecasts.jsonl")
    page = (DOCS / "forecasts.md").read_text(encoding="utf-8")
    assert "\n".join(table_of(found)) in page
