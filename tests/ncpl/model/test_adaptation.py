"""A population and a handful of runs answer for larger ones."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ncpl.data.sizes import size_of, without_embedding, worth_of
from ncpl.model.adaptation import DOUBT, Adapted
from ncpl.model.family_law import Design, Effects, evaluate
from ncpl.model.population import Population
from ncpl.train.population import fit_population
from tests.ncpl.families import community, family


@cache
def learned() -> Population:
    """Return a population learned once for all tests."""
    return fit_population(community(), rounds=2)


def small_and_large():
    own = family("own", "own", floor=2.1, seed=20)
    order = np.argsort([size_of(r) * worth_of(r) for r in own.rows])
    return own.take(order[:5].tolist()), own.take(order[-8:].tolist())


def test_derivatives_are_those_of_the_losses():
    rows = [
        dict(row, optimizer=name, batch_tokens=3e5)
        for row, name in zip(community(1)[0].rows[:6], ["adamw", "muon"] * 3, strict=True)
    ]
    effects = Effects.of(rows)
    x, theta = Design.of(rows, effects), learned().prior(effects).mean + 0.1
    exact = evaluate(theta[None], x).slope[0]
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        step[i] = 1e-6
        ends = evaluate(np.array([theta + step, theta - step]), x).loss
        assert exact[:, i] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_five_small_runs_tell_the_large_ones():
    known, asked = small_and_large()
    answers = Adapted.of(learned(), known.rows, known.loss).predict(asked.rows)
    assert np.abs(answers.loss - asked.loss).mean() < 0.05
    assert ((answers.low <= asked.loss) & (asked.loss <= answers.high)).mean() >= 0.75


def test_without_a_run_differences_are_known_and_the_level_is_not():
    _, asked = small_and_large()
    none = Adapted.of(learned(), [], np.empty(0))
    answers = none.predict(asked.rows)
    assert (answers.high - answers.low > 0.5).all()
    found = none.losses(asked.rows)
    spread_of_difference = (found[:, 0] - found[:, 1]).std()
    assert spread_of_difference < 0.5 * found[:, 0].std()


def test_one_wrong_run_moves_the_answer_little():
    known, asked = small_and_large()
    loss = known.loss.copy()
    before = Adapted.of(learned(), known.rows, loss).predict(asked.rows).loss
    rows = [*known.rows, known.rows[-1]]
    after = Adapted.of(learned(), rows, np.append(loss, loss[-1] + 1.0)).predict(asked.rows).loss
    assert np.abs(after - before).mean() < 0.05


def test_the_same_runs_give_the_same_answer():
    known, asked = small_and_large()
    first, second = (
        Adapted.of(learned(), known.rows, known.loss).predict(asked.rows) for _ in "ab"
    )
    assert (first.loss == second.loss).all()


def test_an_unseen_optimizer_widens_the_interval():
    known, asked = small_and_large()
    adapted = Adapted.of(learned(), known.rows, known.loss)
    plain = adapted.predict(asked.rows)
    other = adapted.predict([dict(row, optimizer="muon") for row in asked.rows])
    assert (other.high - other.low).mean() > (plain.high - plain.low).mean()


def test_a_population_survives_json():
    again = Population.from_json(learned().to_json())
    assert np.array_equal(again.mean, learned().mean)
    assert again.effects == learned().effects


@pytest.mark.parametrize(
    ("row", "size"),
    [
        ({"params_non_embedding": 1e8, "params_total": 2e8}, 1e8),
        ({"params_total": 2e8, "vocab_size": 50_000, "d_model": 1000}, 1.5e8),
        ({"params_total": 2e8, "n_layers": 12, "d_model": 1000}, 1.44e8),
        ({"params_total": 9e9, "n_experts": 64}, None),
        ({"params_total": 9e9, "params_active_non_embedding": 3e8, "n_experts": 64}, 3e8),
        ({}, None),
    ],
)
def test_sizes_are_counted_without_the_embedding(row, size):
    assert size_of(row) == pytest.approx(size or np.nan, nan_ok=True)


def test_the_usual_embedding_is_taken_off_a_total():
    rest = without_embedding(1e8, 50_000)
    assert rest + 50_000 * (rest * 64 / 12) ** (1 / 3) == pytest.approx(1e8)


def test_repeated_tokens_count_for_less():
    fresh = worth_of({"data_tokens": 4e9})
    repeated = worth_of({"data_tokens": 4e9, "unique_tokens": 1e9})
    assert 1e9 < repeated < fresh == 4e9


def test_a_loss_far_beyond_the_known_runs_is_doubted():
    known, asked = small_and_large()
    adapted = Adapted.of(learned(), known.rows, known.loss)
    assert (adapted.beyond(known.rows) == 0).all()
    assert (adapted.beyond(asked.rows) > 0).all()
    far = [
        dict(row, params_non_embedding=1e12, data_tokens=1e14, train_tokens=1e14)
        for row in asked.rows[:1]
    ]
    answers = adapted.predict(far)
    assert (answers.high - answers.low)[0] > 2 * DOUBT * adapted.beyond(far)[0]
