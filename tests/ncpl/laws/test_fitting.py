"""Fitting: known truths come back, what the data leave open is said, nothing fails silently."""

import numpy as np
import pytest

from ncpl.laws import chinchilla, farseer, kaplan_nsb, overtraining, power_const, steplaw
from ncpl.laws.base import Law
from ncpl.laws.fitting import fit_law
from ncpl.laws.uncertainty import bootstrap_fit

# Generated tables: the truth must be known to be found again.
GENERATOR = np.random.default_rng(0)
SIZE = 10 ** GENERATOR.uniform(7, 9.5, 150)
TOKENS = 10 ** GENERATOR.uniform(9, 11.5, 150)
ROWS = {"params_non_embedding": SIZE, "train_tokens": TOKENS}
TRUTHS: list[tuple[Law, dict[str, float], dict[str, np.ndarray]]] = [
    (chinchilla.LAW, {"a": 4.0, "alpha": 0.34, "b": 1.5, "beta": 0.3, "c": 1.7}, ROWS),
    (power_const.LAW, {"a": 1.0, "b": 0.15, "c": 1.7}, {"x": 6 * SIZE * TOKENS}),
    (
        overtraining.LAW,
        {"a": 1.0, "b": 0.9, "eta": 0.13, "E": 1.76},
        overtraining.inputs_from(SIZE, SIZE * 10 ** GENERATOR.uniform(0.5, 2.5, 150)),
    ),
]


@pytest.mark.parametrize(("law", "truth", "inputs"), TRUTHS, ids=lambda v: getattr(v, "name", ""))
def test_noiseless_truth_comes_back(law, truth, inputs) -> None:
    fit = fit_law(law, inputs, law.predict(truth, inputs), n_starts=10)
    for name, value in truth.items():
        assert fit.values[name] == pytest.approx(value, rel=1e-3)
    assert not fit.warnings


def test_outliers_do_not_move_the_fit() -> None:
    law, truth, inputs = TRUTHS[0]
    loss = law.predict(truth, inputs) * np.exp(GENERATOR.normal(0, 1e-3, 150))
    loss[::15] *= 1.5
    fit = fit_law(law, inputs, loss, n_starts=10)
    assert fit.values["alpha"] == pytest.approx(truth["alpha"], abs=0.01)
    assert fit.values["c"] == pytest.approx(truth["c"], abs=0.03)


def test_one_model_size_leaves_its_exponent_open_and_says_so() -> None:
    law, truth, inputs = TRUTHS[0]
    one = {**inputs, "params_non_embedding": np.full(150, 1e8)}
    fit = fit_law(law, one, law.predict(truth, one), n_starts=5)
    assert any("not identified" in warning for warning in fit.warnings)
    assert not np.isfinite([fit.standard_errors[n] for n in ("a", "alpha", "c")]).all()


@pytest.mark.parametrize(
    ("inputs", "loss", "words"),
    [
        ({"train_tokens": TOKENS}, np.ones(150), "needs params_non_embedding"),
        (ROWS, np.ones(3), "another length"),
        (ROWS, -np.ones(150), "positive"),
        ({k: v[:4] for k, v in ROWS.items()}, np.ones(4), "5 parameters and only 4 rows"),
        ({**ROWS, "train_tokens": np.full(150, np.nan)}, np.ones(150), "not a number"),
    ],
)
def test_bad_tables_are_refused(inputs, loss, words) -> None:
    with pytest.raises(ValueError, match=words):
        fit_law(chinchilla.LAW, inputs, loss)


def test_same_seed_same_numbers() -> None:
    law, truth, inputs = TRUTHS[1]
    loss = law.predict(truth, inputs) * np.exp(GENERATOR.normal(0, 0.01, 150))
    first, again = (fit_law(law, inputs, loss, seed=3).values for _ in range(2))
    assert first == again


def test_kaplan_solves_its_own_equation() -> None:
    """The loss on the left of the law equals the one inside B_crit."""
    values = {**kaplan_nsb.PUBLISHED}
    inputs = {
        "params_non_embedding": np.array([1e7, 1e8, 1e9]),
        "train_steps": np.array([1e4, 1e5, 2e5]),
        "batch_tokens": np.array([2.0**17, 2.0**19, 2.0**21]),
    }
    loss = kaplan_nsb.LAW.predict(values, inputs)
    critical = np.exp(values["log_B_star"]) / loss ** (1 / values["alpha_B"])
    least = inputs["train_steps"] / (1 + critical / inputs["batch_tokens"])
    size = (np.exp(values["log_N_c"]) / inputs["params_non_embedding"]) ** values["alpha_N"]
    assert loss == pytest.approx(size + (np.exp(values["log_S_c"]) / least) ** values["alpha_S"])


def test_farseer_published_constants_fall_with_size_and_data() -> None:
    inputs = {"params_non_embedding": [1e8, 1e9, 1e9], "train_tokens": [1e10, 1e10, 1e11]}
    loss = farseer.LAW.predict(farseer.PUBLISHED, {k: np.array(v) for k, v in inputs.items()})
    assert loss[0] > loss[1] > loss[2]


def test_step_law_published_optimum() -> None:
    """1.79 N^-0.713 D^0.307 and 0.58 D^0.571 at 1B parameters and 100B tokens."""
    rate, batch = steplaw.PUBLISHED.optimum(1e9, 1e11)
    assert float(rate) == pytest.approx(1.6325e-3, rel=1e-3)
    assert float(batch) == pytest.approx(1.1072e6, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("law", "truth", "inputs"), TRUTHS, ids=lambda v: getattr(v, "name", ""))
def test_bootstrap_intervals_cover_the_truth(law, truth, inputs) -> None:
    """Nominal 90% over 200 generated data sets, 1% noise; each parameter on its own."""
    generator, n_sets = np.random.default_rng(7), 200
    clean = law.predict(truth, inputs)
    hits = dict.fromkeys(truth, 0)
    for i in range(n_sets):
        loss = clean * np.exp(generator.normal(0, 0.01, len(clean)))
        fit = fit_law(law, inputs, loss, n_starts=1, start=truth)
        drawn = bootstrap_fit(fit, inputs, loss, n_refits=100, seed=i)
        for name, (low, high) in drawn.interval().items():
            hits[name] += low <= truth[name] <= high
    for name, count in hits.items():
        assert 0.85 <= count / n_sets <= 0.95, name


def test_bootstrap_draws_whole_groups() -> None:
    """Ten groups with their own level: drawing rows apart would claim three times the certainty."""
    law, truth, inputs = TRUTHS[1]
    group = np.arange(150) % 10
    shift = np.random.default_rng(1).normal(0, 0.02, 10)[group]
    loss = law.predict(truth, inputs) * np.exp(shift)
    fit = fit_law(law, inputs, loss, n_starts=5)
    widths = []
    for groups in (group.tolist(), None):
        low, high = bootstrap_fit(fit, inputs, loss, groups, n_refits=100).band({"x": [1e22]})
        widths.append(float(high[0] - low[0]))
    assert widths[0] > 1.5 * widths[1]


def test_fit_of_5000_points_with_20_starts_is_quick() -> None:
    import time

    generator = np.random.default_rng(2)
    rows = {
        "params_non_embedding": 10 ** generator.uniform(7, 9.5, 5000),
        "train_tokens": 10 ** generator.uniform(9, 11.5, 5000),
    }
    loss = chinchilla.LAW.predict(TRUTHS[0][1], rows) * np.exp(generator.normal(0, 0.01, 5000))
    began = time.process_time()
    chinchilla.fit_full(*rows.values(), loss, n_starts=20)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flat_valley_ends_at_one_place(seed) -> None:
    """Two model sizes leave floor and exponent of N open; the seed must not choose for the data."""
    law, truth, inputs = TRUTHS[0]
    two = {**inputs, "params_non_embedding": np.where(np.median(SIZE) > SIZE, 1e8, 3e8)}
    noise = np.random.default_rng(5).normal(0, 0.01, 150)
    fit = fit_law(law, two, law.predict(truth, two) * np.exp(noise), n_starts=5, seed=seed)
    far = law.predict(fit.values, {"params_non_embedding": [1e9], "train_tokens": [1e10]})
    assert float(far[0]) == pytest.approx(2.8266, abs=1e-3)
    assert any("not identified" in warning for warning in fit.warnings)
