"""Learned baselines: what they read, and what they do where a recipe is short."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ncpl.bench import learners
from ncpl.bench.learners import NotApplicableError, PredictedLosses
from ncpl.bench.part import Part
from ncpl.bench.recipe import Recipe
from ncpl.bench.structured import STRENGTHS, fit_structured
from ncpl.data.snapshot import Snapshot

FIXTURE = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"


@pytest.fixture(scope="module")
def train() -> Part:
    runs = Snapshot.open(FIXTURE).runs()
    part = Part(runs.where(family=runs.families()[0], split="train"))
    return part.take(part.has_recipe)


def with_extra(part: Part) -> Part:
    """Return the part with a hidden field that explains 0.1 nats (generated)."""
    runs = part.runs
    draw = np.random.default_rng(0).integers(2, size=len(part))
    configs = [
        {**config, "optimizer_extra": json.dumps({"gamma": 10 ** int(d)})}
        for config, d in zip(runs.configs, draw, strict=True)
    ]
    return Part(dataclasses.replace(runs, configs=configs, loss=runs.loss + 0.1 * draw))


def flat(train: Part, seed: int) -> learners.Predictor:
    return lambda part: PredictedLosses(np.full(len(part), train.loss.mean()))


def test_hidden_fields_are_read_only_when_asked(train) -> None:
    part = with_extra(train)
    assert "gamma" not in Recipe.of(part).names
    assert "gamma" in Recipe.of(part, hidden=True).names


def test_hidden_field_explains_what_it_did(train) -> None:
    part = with_extra(train)
    errors = [
        np.abs(fit_structured(part, part.loss, part.runs.group, hidden=h).predict(part) - part.loss)
        for h in (False, True)
    ]
    assert errors[1].mean() < 0.7 * errors[0].mean()


def test_unstated_field_is_at_the_middle_of_training(train) -> None:
    recipe = Recipe.of(train)
    config = {k: v for k, v in train.runs.configs[0].items() if k != "warmup_steps"}
    one = Part(dataclasses.replace(train.take(np.arange(len(train)) == 0).runs, configs=[config]))
    assert recipe.columns(one)[0, recipe.names.index("warmup")] == 0.0


def test_optimizer_never_seen_has_no_code(train) -> None:
    recipe = Recipe.of(train)
    runs = train.take(np.arange(len(train)) == 0).runs
    other = Part(dataclasses.replace(runs, configs=[{**runs.configs[0], "optimizer": "newton"}]))
    assert recipe.kind(train).min() == 0
    assert recipe.kind(other).tolist() == [-1]


def test_shrinkage_is_one_of_the_strengths_tried(train) -> None:
    residual = train.loss - train.loss.mean()
    assert fit_structured(train, residual, train.runs.group).strength in STRENGTHS


def test_trees_with_hidden_fields_need_some(train) -> None:
    pytest.importorskip("lightgbm")
    with pytest.raises(NotApplicableError, match="no run states"):
        learners.trees(physics=True, on=flat, hidden=True)(train, 0)


def test_mean_widens_where_members_differ(train) -> None:
    def at(level: float, half: float | None) -> learners.Base:
        def fit(train: Part, seed: int) -> learners.Predictor:
            def predict(part: Part) -> PredictedLosses:
                loss = np.full(len(part), level)
                return (
                    PredictedLosses(loss)
                    if half is None
                    else PredictedLosses(loss, loss - half, loss + half)
                )

            return predict

        return fit

    found = learners.mean_of([at(2.0, 0.1), at(2.2, None)])(train, 0)(train)
    assert found.loss[0] == pytest.approx(2.1)
    assert found.high[0] - found.loss[0] == pytest.approx(np.hypot(0.1, 1.645 * 0.02**0.5))


def test_shared_fits_once(train) -> None:
    calls = []

    def fit(train: Part, seed: int) -> learners.Predictor:
        calls.append(seed)
        return flat(train, seed)

    once = learners.shared(fit)
    for seed in (0, 0, 1):
        once(train, seed)
    assert calls == [0, 1]
