"""The response surface against numbers worked out by hand, and its fit to generated losses."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from ncpl.model.response_surface import (
    CORRECTION_SCALE,
    MARGIN,
    POWERS,
    REACH,
    SINK,
    K,
    Surface,
)
from ncpl.train.response_surface import choose_floor, fit_surface, pseudo_huber

SETTINGS = {"delta": 0.005, "penalty": 1e-6, "margin": 0.2, "n_optimizers": 1}
NAN = math.nan


def law_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    """Inputs of scaled size, data, learning rate and batch; no ratio, the one optimizer."""
    return np.array([[*row, NAN, 0.0] for row in rows], dtype=np.float32)


@pytest.mark.parametrize(
    ("error", "delta", "expected"),
    [
        (0.0, 1.0, 0.0),
        (3.0, 4.0, 1.0),  # 4 (sqrt(1 + 9/16) - 1) = 4 (5/4 - 1)
        (-3.0, 4.0, 1.0),
        (12.0, 5.0, 8.0),  # 5 (13/5 - 1)
        (1e-4, 1.0, 5e-9),  # the square by two
        (1e4, 1.0, 1e4 - 1 + 5e-5),  # slope one, less delta
    ],
)
def test_pseudo_huber_is_a_square_near_zero_and_a_line_far_from_it(
    error: float, delta: float, expected: float
) -> None:
    found = pseudo_huber(torch.tensor(error, dtype=torch.float64), delta)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_the_level_is_chinchilla_at_the_centre() -> None:
    """n = d = 0: exp(.15) + exp(-1.25) + .9; one unit of n costs the model term exp(-.13)."""
    surface = Surface.initial(1)
    level = surface.coefficients(law_of((0, 0, 0, 0), (1, 0, 0, 0)))[:, 0]
    assert level[0] == pytest.approx(math.exp(0.15) + math.exp(-1.25) + 0.9, rel=1e-6)
    assert level[1] == pytest.approx(math.exp(0.15 - 0.13) + math.exp(-1.25) + 0.9, rel=1e-6)


def test_the_bowl_is_its_quadratic_near_the_optimum() -> None:
    """Q = .02 x^2 + .02 y^2 at the start; at n = d = 0 the optimum lies at 0, 0."""
    surface = Surface.initial(1)
    law = law_of((0, 0, 0, 0), (0, 0, 0.1, 0), (0, 0, 0.1, -0.1), (0, 0, NAN, NAN))
    loss = surface.value(surface.coefficients(law), law)
    bent = REACH * math.tanh(0.1 / REACH)
    assert loss[1] - loss[0] == pytest.approx(0.02 * bent**2, rel=1e-2)
    assert loss[2] - loss[0] == pytest.approx(0.04 * bent**2, rel=1e-2)
    assert loss[3] == loss[0]  # what is not said counts as the best


def test_a_bowl_that_falls_stops_at_the_sink() -> None:
    surface = Surface.initial(1)
    coefficients = surface.coefficients(law_of((0, 0, 0, 0)))
    coefficients[0, 4:] = 0
    coefficients[0, 4 + POWERS.index((2, 0))] = -100.0
    law = law_of((0, 0, 2.0, 0))
    stopped = surface.value(coefficients, law)[0] - coefficients[0, 0]
    assert stopped == pytest.approx(-SINK, rel=1e-4)
    assert surface.value(coefficients, law, stops=False)[0] < -100


def test_an_unknown_optimizer_has_no_offset() -> None:
    surface = dataclasses.replace(
        Surface.initial(1), offsets=np.array([[2.0, 1.0, -1.0]], dtype=np.float32)
    )
    law = law_of((0, 0, 0, 0), (0, 0, 0, 0))
    law[1, 5] = NAN
    known, unknown = surface.coefficients(law)
    assert known[:4] - unknown[:4] == pytest.approx([2 * 0.02, 0.3, -0.3, 0], abs=1e-6)


def test_set_seen_keeps_distances_and_the_best_tenth() -> None:
    """Eleven runs, .0 to 1.0 nats above the level: the tenth percentile is .1."""
    surface = Surface.initial(1)
    law = law_of(*[(0, 0, -1 + 0.3 * i, 0.5 - 0.1 * i) for i in range(11)])
    level = surface.coefficients(law)[:, 0]
    seen = surface.set_seen(law, level + np.linspace(0, 1, 11, dtype=np.float32))
    assert seen.nearest == pytest.approx([-1.0, -0.5], abs=1e-6)
    assert seen.farthest == pytest.approx([2.0, 0.5], abs=1e-6)
    assert float(seen.lowest) == pytest.approx(0.1, abs=1e-6)
    far = law_of((0, 0, 50.0, 0), (0, 0, 500.0, 0))
    ends = seen.value(seen.coefficients(far), far)
    assert ends[0] == ends[1]  # beyond the runs the bowl ends within MARGIN
    most = REACH * math.tanh((2.0 + MARGIN) / REACH)
    assert ends[0] - seen.coefficients(far)[0, 0] == pytest.approx(0.02 * most**2, rel=1e-3)


def generated(n: int, floor: float) -> tuple[np.ndarray, np.ndarray, Surface]:
    """Runs of four sizes on a known surface, without noise."""
    rng = np.random.default_rng(0)
    size = rng.choice([-1.5, -0.5, 0.5, 1.5], n)
    rows = zip(size, rng.normal(size=n), rng.normal(size=n), rng.normal(size=n), strict=True)
    law = law_of(*rows)
    base = np.array([0.1, math.log(0.2), -1.0, math.log(0.4), floor, 0, -30], dtype=np.float32)
    powers = np.zeros(K - 4, dtype=np.float32)
    powers[POWERS.index((2, 0))], powers[POWERS.index((0, 2))] = 0.03, 0.01
    true = dataclasses.replace(Surface.initial(1), base=base, powers=powers)
    true = dataclasses.replace(true, affine=true.affine * 0)
    return law, true.value(true.coefficients(law), law), true


def test_fit_surface_finds_a_known_surface() -> None:
    law, loss, true = generated(400, floor=0.9)
    found = fit_surface(law, loss, **SETTINGS)
    assert np.abs(found.value(found.coefficients(law), law) - loss).mean() < 1e-3
    assert np.exp(found.base[[1, 3]]) == pytest.approx(np.exp(true.base[[1, 3]]), rel=0.1)
    assert np.abs(found.affine - true.affine).max() < 0.1
    again = fit_surface(law, loss, **SETTINGS)
    assert np.array_equal(found.base, again.base)


def test_choose_floor_takes_another_start_where_it_predicts_left_out_sizes_better() -> None:
    """The floor is 1.5, and a strong pull keeps c near its start: the usual .9 lies too low."""
    law, loss, _ = generated(500, floor=1.5)
    settings = SETTINGS | {"penalty": 0.01, "iterations": 60}
    assert choose_floor(law, loss, **settings) >= 1.5


def test_choose_floor_keeps_the_usual_start_where_there_is_nothing_to_choose_by() -> None:
    law, loss, _ = generated(300, floor=1.5)
    one_size = law[:, 0] == law[0, 0]
    assert choose_floor(law[one_size], loss[one_size], **SETTINGS) == 0.9
    assert choose_floor(law[:150], loss[:150], **SETTINGS) == 0.9  # fewer than 200 would be kept


def test_corrections_have_a_scale_each() -> None:
    assert len(CORRECTION_SCALE) == K
