"""Deep power laws and drift processes on generated data whose truth is known."""

import numpy as np
import pytest

from ncpl.bench.processes import Rows, fit_drift_process
from ncpl.laws.dpl import fit_dpl
from ncpl.laws.fitting import fit_law
from ncpl.laws.powerlines import LAW, timescale

GENERATOR = np.random.default_rng(0)


def test_deep_power_laws_find_power_laws_of_the_configuration(monkeypatch) -> None:
    x = GENERATOR.uniform(size=(600, 2))
    share = GENERATOR.uniform(0.05, 1, 600)
    loss = 2.5 + 0.5 * x[:, 0] + (0.5 + x[:, 1]) * share**-0.3
    monkeypatch.setattr("ncpl.laws.dpl.MAX_UPDATES", 1000)
    mean, spread = fit_dpl(x[:500], share[:500], loss[:500]).predict(x[500:], share[500:])
    assert np.abs(mean - loss[500:]).mean() < 0.06
    assert (spread > 0).all()


def test_deep_power_laws_fall_along_every_run() -> None:
    """The form can not rise where amplitude and exponent have one sign."""
    x = GENERATOR.uniform(size=(200, 1))
    share = GENERATOR.uniform(0.05, 1, 200)
    fitted = fit_dpl(x, share, 2 + x[:, 0] + share**-0.3)
    along = np.linspace(0.05, 1, 30)
    losses = fitted.predict(np.full((30, 1), 0.5), along)[0]
    assert (np.diff(losses) < 0).all()


def test_deep_power_laws_repeat_with_their_seed() -> None:
    x, share = GENERATOR.uniform(size=(50, 1)), GENERATOR.uniform(0.1, 1, 50)
    first, again = (fit_dpl(x, share, 2 + share**-0.2, seed=3).predict(x, share)[0] for _ in "ab")
    assert (first == again).all()


@pytest.mark.parametrize(
    ("share", "loss", "words"),
    [
        (np.full(20, 1.5), np.ones(20), "outside 0 to 1"),
        (np.full(20, 0.5), np.full(20, np.nan), "not a number"),
        (np.full(5, 0.5), np.ones(5), "at least 10 points"),
    ],
)
def test_bad_curves_are_refused(share, loss, words) -> None:
    with pytest.raises(ValueError, match=words):
        fit_dpl(np.zeros((len(share), 1)), share, loss)


def rows(n: int) -> tuple[Rows, np.ndarray]:
    """Two small sizes and many budgets; the truth bends in log N and log D."""
    scale = np.stack([GENERATOR.choice([18.0, 19.0], n), GENERATOR.uniform(21, 24, n)], 1)
    recipe = GENERATOR.normal(size=(n, 2))
    values = 0.1 * (scale[:, 1] - 22) ** 2 - 0.2 * scale[:, 0] + 0.05 * np.sin(recipe[:, 0])
    return Rows(scale, recipe, np.zeros(n, np.int64)), values + GENERATOR.normal(0, 0.003, n)


def test_drift_extrapolates_in_size() -> None:
    """A larger size follows the line in log N; a process without drift goes back to its mean."""
    known, values = rows(150)
    process = fit_drift_process(known, values)
    far = Rows(np.array([[20.0, 22.0]]), np.zeros((1, 2)), np.zeros(1, np.int64))
    near = Rows(np.array([[18.5, 22.0]]), np.zeros((1, 2)), np.zeros(1, np.int64))
    (mean,), (deviation,) = process.predict(far)
    assert mean == pytest.approx(-4.0, abs=0.1)
    assert deviation > 2 * process.predict(near)[1][0]


def test_left_out_scale_is_at_least_the_normal_quantile() -> None:
    known, values = rows(60)
    process = fit_drift_process(known, values)
    groups = [str(i % 6) for i in range(60)]
    assert process.left_out_scale(groups, share=0.9) >= 1.6448


def test_unseen_kind_has_no_term_of_its_own() -> None:
    known, values = rows(80)
    kinds = Rows(known.scale, known.recipe, np.arange(80) % 2)
    process = fit_drift_process(kinds, values + 0.1 * kinds.kind)
    new = Rows(known.scale[:1], known.recipe[:1], np.array([-1]))
    old = Rows(known.scale[:1], known.recipe[:1], np.array([0]))
    assert process.predict(new)[1][0] > process.predict(old)[1][0]


def test_power_line_comes_back() -> None:
    x = np.geomspace(1, 1000, 20)
    fit = fit_law(LAW, {"x": x}, 3.0 * x**-0.527)
    assert fit.values["exponent"] == pytest.approx(-0.527, abs=1e-4)


def test_timescale_is_a_share_of_the_run() -> None:
    """1M-token batches, rate .001, decay .1, 100B tokens: 10,000 steps of a run of 100,000."""
    assert float(timescale(1e6, 1e-3, 0.1, 1e11)) == pytest.approx(0.1)
