"""Curves: what the schedule says, and that a curve ends where the final loss is."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import ncpl
from ncpl.data.fields import derive
from ncpl.data.schedules import N_FUNCTIONS, Schedules
from ncpl.data.snapshot import Points, Runs, Snapshot
from ncpl.errors import ConfigError
from ncpl.model.arrays import Array
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.curve_head import CurveHeads
from ncpl.train.curves import decorrelating, fit_head, fresh_head
from ncpl.train.fit import fit_family

CONFIG = {
    "params_non_embedding": 3e8,
    "train_tokens": 1e10,
    "learning_rate": 2e-3,
    "batch_size_sequences": 256,
    "sequence_length": 2048,
}
LIMITS = np.array([0.1, 0.5, 0.95, 1.0])


def rates(**config: object) -> list[float]:
    row = derive({"learning_rate": 1e-2, "train_steps": 1000, **config})
    return [round(rate, 6) for rate in Schedules.of([row]).rate(LIMITS[None])[0].tolist()]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "constant", "warmup_steps": 200}, [0.5, 1, 1, 1]),
        ({"schedule": "linear"}, [0.9, 0.5, 0.05, 0]),
        ({"schedule": "linear", "min_learning_rate": 5e-3}, [0.95, 0.75, 0.525, 0.5]),
        ({"schedule": "wsd", "decay_steps": 100}, [1, 1, 0.5, 0]),
        ({"schedule": "cosine"}, [(1 + math.cos(math.pi * f)) / 2 for f in LIMITS]),
    ],
)
def test_the_rate_is_that_of_the_schedule(config: dict[str, object], expected: list[float]) -> None:
    assert rates(**config) == pytest.approx(expected, abs=1e-6)


def test_every_function_ends_at_zero() -> None:
    rows = [derive({"train_steps": 500, "schedule": kind}) for kind in ("cosine", "wsd", "linear")]
    functions = Schedules.of(rows).functions(np.ones((3, 1)))
    assert functions.shape == (3, 1, N_FUNCTIONS)
    assert np.abs(functions).max() < 1e-12


def test_a_curve_ends_at_the_predicted_loss() -> None:
    bundle = ncpl.load()
    configs = [CONFIG, CONFIG | {"source": "marin", "optimizer": "muon", "schedule": "linear"}]
    curves = bundle.curves(configs, [0.05, 0.2, 0.5, 0.9, 1.0])
    assert curves[:, -1] == pytest.approx([p.loss for p in bundle.predict(configs)], abs=1e-6)
    assert (np.diff(curves, axis=1) < 0).all()  # these two fall all the way


def test_a_schedule_no_training_run_had_has_no_curve() -> None:
    """StepLaw's runs are all cosine; Marin's have others too. A curve of cosines would rise."""
    decay = {"schedule": "wsd", "decay_steps": 1000}
    configs = [CONFIG, CONFIG | decay, CONFIG | decay | {"source": "marin", "optimizer": "muon"}]
    curves = ncpl.load().curves(configs, [0.5, 1.0])
    assert np.isnan(curves).all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_a_share_outside_the_run_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="expected shares of the run"):
        ncpl.load().curves([CONFIG], [share])


def test_a_fit_without_curves_says_so(bundle: Bundle) -> None:
    """The fixture snapshot holds no curves."""
    with pytest.raises(ConfigError, match="was trained without curves"):
        bundle.curves([CONFIG], [0.5])


def test_no_runs_have_no_points(curves_snapshot: Snapshot) -> None:
    """A source without held-out runs, as the split `ncpl-open` has: nothing to score, no error."""
    runs = curves_snapshot.runs()
    points = curves_snapshot.points(runs.take(np.zeros(len(runs), dtype=bool)), count=7)
    assert points.frac.shape == points.loss.shape == (0, 7)


def test_points_are_those_of_the_metric_in_order(curves_snapshot: Snapshot) -> None:
    runs = curves_snapshot.runs()
    points = curves_snapshot.points(runs, count=7)
    given = np.isfinite(points.frac)
    assert given.any()
    assert points.frac.shape[1] == 7
    table = curves_snapshot.table("curves", ["run_id", "metric", "step", "value"])
    assert table is not None
    measured = {(row["run_id"], row["value"]): row["step"] for row in table.to_pylist()}
    for i, run_id in enumerate(runs.run_ids):
        shares = points.frac[i][given[i]]
        assert (np.diff(shares) > 0).all()
        assert ((shares > 0.02) & (shares <= 1)).all()
        steps = [measured[run_id, value] for value in points.loss[i][given[i]].tolist()]
        assert steps == sorted(steps)


def test_a_head_learns_shapes_and_repeats_itself() -> None:
    """Generated shapes that the functions can make: the head finds them from its inputs."""
    generator = np.random.default_rng(0)
    rows = [derive({"train_steps": 1000, "schedule": "cosine"})] * 200
    frac = np.sort(generator.uniform(0.05, 1, (200, 12)), axis=1)
    functions = torch.from_numpy(Schedules.of(rows).functions(frac)).float()
    inputs = torch.from_numpy(generator.normal(size=(200, 3))).float()
    shape = (0.2 + 0.05 * inputs[:, :1]) * functions[:, :, 1] + 0.1 * functions[:, :, 6]

    def fitted() -> dict[str, Array]:
        return fit_head(
            fresh_head(4, 3, seed=1), torch.zeros(1, 200, 4), inputs, functions, shape,
            torch.ones(200, 12), steps=300, seed=2,
        )  # fmt: skip

    arrays, again = fitted(), fitted()
    head = CurveHeads.of_states([arrays])
    coefficients = head(np.zeros((1, 200, 4), dtype=np.float32), inputs.numpy())[0]
    found = torch.einsum("bpj,bj->bp", functions, torch.from_numpy(coefficients))
    mean = shape.mean(0).expand_as(shape)
    assert (found - shape).abs().mean() < 0.3 * (mean - shape).abs().mean()
    assert all(np.array_equal(array, again[name]) for name, array in arrays.items())


def test_what_cosines_cannot_tell_apart_stays_small_under_another_schedule() -> None:
    """The functions are nearly collinear along cosines: directions left over must not blow up."""
    generator = np.random.default_rng(0)
    frac = np.sort(generator.uniform(0.03, 1, (200, 20)), axis=1)
    cosines = Schedules.of([derive({"train_steps": 1000, "schedule": "cosine"})] * 200)
    functions = torch.from_numpy(cosines.functions(frac)).float()
    weight = torch.ones(200, 20, 1)
    basis = decorrelating(functions, weight)
    own = (functions @ basis).flatten(0, 1)
    square = own.T @ own / len(own)
    assert square.diagonal().max() <= 1 + 1e-3
    assert (square - square.diagonal().diag()).abs().max() < 1e-2
    constant = Schedules.of([derive({"train_steps": 1000, "schedule": "constant"})] * 200)
    other = torch.from_numpy(constant.functions(frac)).float() @ basis
    assert other.square().mean((0, 1)).max() < 20  # without damping, over 100,000


def test_a_function_that_is_nowhere_seen_changes_nothing() -> None:
    functions = torch.rand(50, 4, N_FUNCTIONS, generator=torch.Generator().manual_seed(0))
    functions[..., 3] = 0  # as the rate's own along constant rates
    basis = decorrelating(functions, torch.ones(50, 4, 1))
    assert torch.isfinite(basis).all()
    assert basis.abs().max() < 100


def test_a_saved_bundle_keeps_its_curves(runs: Runs, tiny: FitConfig, tmp_path: Path) -> None:
    """The fixture snapshot holds no curves: these are generated, one shape for all runs."""
    train = runs.where(family=runs.families()[0], split="train").finished()
    train = train.take(np.arange(len(train)) < 200)
    frac = np.tile(np.linspace(0.1, 1, 10), (len(train), 1))
    points = Points(frac, train.loss[:, None] + 0.2 * (frac**-0.5 - 1))
    config = dataclasses.replace(
        tiny, steps=5, curve_steps=300, floor=0.9, process_share=0.0, carry="no"
    )
    fit = fit_family(train, config, seed=0, points=points)
    Bundle(config, [fit], "generated").save(tmp_path)
    found = ncpl.load(tmp_path)
    curves = Bundle(config, [fit], "generated").curves(train.configs[:3], frac[0])
    assert found.curves(train.configs[:3], frac[0]) == pytest.approx(curves, abs=1e-6)
    ends = [prediction.loss for prediction in found.predict(train.configs[:3])]
    assert curves[:, -1] == pytest.approx(ends, abs=1e-6)
    assert curves - curves[:, -1:] == pytest.approx(
        points.loss[:3] - points.loss[:3, -1:], abs=0.02
    )


def test_losses_measured_while_the_rate_was_high_are_not_final(snapshot: Snapshot) -> None:
    runs = snapshot.runs()
    config = {"train_steps": 1000, "learning_rate": 1e-2}
    kinds = [("cosine", 0.977), ("linear", 0.977), ("linear", 0.999), ("cosine", 0.5)]
    few = dataclasses.replace(
        runs.take(np.arange(len(runs)) < 4),
        configs=[config | {"schedule": kind} for kind, _ in kinds],
        share=np.array([share for _, share in kinds]),
        status=["finished"] * 4,
    )
    assert few.finished().configs == [few.configs[0], few.configs[2]]


@pytest.fixture
def curves_snapshot(fixtures: Path) -> Snapshot:
    return Snapshot.open(fixtures / "laws" / "snapshot_curves")
