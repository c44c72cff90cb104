"""The Gaussian process, the risk law and the runs beside a prediction."""

import dataclasses

import numpy as np
import pytest

import ncpl
from ncpl.data.snapshot import Runs
from ncpl.model.bundle import Bundle
from ncpl.model.ensemble import Fit
from ncpl.model.gaussian_process import kernel
from ncpl.model.inputs import SIZE, Inputs
from ncpl.train.beyond import told_beyond
from ncpl.train.divergence import MIN_DIVERGED, fit_risk
from ncpl.train.fit import fit_family
from ncpl.train.gaussian_process import fit_process


@pytest.fixture
def fit(bundle: Bundle) -> Fit:
    return bundle.fits[0]


def inputs_of(fit: Fit, runs: Runs) -> Inputs:
    return Inputs.of(fit.encoder.encode(runs.configs))


def test_it_explains_what_the_law_leaves_over(fit: Fit, runs: Runs) -> None:
    """On the training runs themselves it halves the law's error; held-out runs gain too."""
    assert fit.process is not None
    for part, share in (("train", 0.6), ("id", 0.95)):
        some = runs.where(split=part)
        inputs = inputs_of(fit, some)
        law = fit.surface.value(fit.surface.coefficients(inputs.law), inputs.law)
        both = law + fit.process.mean(inputs, fit.surface)
        assert np.abs(both - some.loss).mean() < share * np.abs(law - some.loss).mean()


def test_beyond_the_trained_sizes_it_says_what_it_says_at_the_border(fit: Fit, runs: Runs) -> None:
    assert fit.process is not None
    config = runs.where(split="ood").configs[0]
    known = {k: v for k, v in config.items() if k not in ("n_layers", "d_model", "d_ff")}
    rows = [known | {"params_non_embedding": n} for n in (5e9, 5e10)]
    x = fit.process.features(inputs_of(fit, dataclasses.replace(
        runs.take(np.arange(len(runs)) < 2), configs=rows)), fit.surface).x  # fmt: skip
    assert x[0, 0] == x[1, 0] == fit.process.high[0]


def test_beyond_the_largest_size_only_differences_may_be_carried(fit: Fit, runs: Runs) -> None:
    """Then it says nothing of a typical run there, and of others how they differ from it."""
    process = fit.process
    assert process is not None
    process = dataclasses.replace(process, carries_level=np.array(True))
    inside, beyond = (inputs_of(fit, runs.where(split=split)) for split in ("id", "ood"))
    carried = [process.mean(some, fit.surface) for some in (inside, beyond)]
    process = dataclasses.replace(process, carries_level=np.array(False))
    kept = [process.mean(some, fit.surface) for some in (inside, beyond)]
    assert np.array_equal(carried[0], kept[0])
    level = carried[1] - kept[1]
    asked = process.features(beyond, fit.surface)
    for place in range(0, len(level), 97):  # the level depends on size and data at the border only
        same = (asked.drift == asked.drift[place]).all(1)
        assert level[same].std() < 1e-6
    process = dataclasses.replace(process, typical=asked.x[0, 2:])
    assert abs(process.mean(beyond.take(slice(1)), fit.surface)[0]) < 1e-9


@pytest.mark.slow
def test_whether_the_level_is_carried_is_chosen_by_left_out_sizes(fit: Fit, runs: Runs) -> None:
    """Of StepLaw's five training sizes the two largest are left out in turn; one is too few."""
    train = runs.where(split="train")
    settings = {
        "delta": 0.005,
        "penalty": 1e-3,
        "margin": 0.2,
        "n_optimizers": 1,
        "floor": 0.9,
        "seed": 0,
    }
    inputs, target = inputs_of(fit, train), train.loss.astype(np.float32)
    assert told_beyond(inputs, target, fit.encoder, **settings) == (False, True)
    few = inputs.law[:, SIZE] <= np.unique(inputs.law[:, SIZE])[1]
    assert told_beyond(inputs.take(few), target[few], fit.encoder, **settings) == (True, False)


def test_runs_of_one_cell_share_what_no_other_cell_knows(fit: Fit, runs: Runs) -> None:
    """Nor does one beyond the border, although the rest of the kernel sees it at the border."""
    assert fit.process is not None
    assert not fit.process.has_own
    config = runs.where(split="train").configs[0]
    n = max(fit.encoder.ranges["params_non_embedding"])
    known = {k: v for k, v in config.items() if k not in ("n_layers", "d_model", "d_ff")}
    rows = [known | {"params_non_embedding": size} for size in (n, n, n * 2, n * 0.9)]
    some = dataclasses.replace(runs.take(np.arange(len(runs)) < 4), configs=rows)
    asked = fit.process.features(inputs_of(fit, some), fit.surface)
    with_cell, without = (
        kernel(asked, asked, np.r_[fit.process.logs[:-2], log, fit.process.logs[-1]], has_own=True)
        for log in (0.0, -50.0)
    )
    shared = (with_cell - without).round(6)
    assert shared[0].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert (asked.drift[0] == asked.drift[2]).all()


def test_the_same_runs_give_the_same_process(fit: Fit, runs: Runs) -> None:
    train = runs.where(split="train").take(np.arange(1517) % 5 == 0)
    inputs = inputs_of(fit, train)
    residual = train.loss.astype(np.float32) * 0.01
    a, b = (
        fit_process(inputs, residual, fit.surface, fit.encoder, seed=3, iterations=4).process
        for _ in range(2)
    )
    assert np.array_equal(a.solved, b.solved)


def test_given_numbers_of_the_kernel_are_taken_and_only_the_runs_are_solved_for(
    fit: Fit, runs: Runs
) -> None:
    """A fold of widths does not fit them again; fewer fields than the numbers are for: it does."""
    assert fit.process is not None
    train = runs.where(split="train").take(np.arange(1517) % 5 == 0)
    inputs = inputs_of(fit, train)
    residual = train.loss.astype(np.float32) * 0.01
    given = fit.process.logs
    process, _ = fit_process(inputs, residual, fit.surface, fit.encoder, seed=3, logs=given)
    assert np.array_equal(process.logs, given)
    missed = np.abs(process.mean(inputs, fit.surface) - residual).mean()
    assert missed < 0.2 * np.abs(residual - residual.mean()).mean()
    process, _ = fit_process(
        inputs, residual, fit.surface, fit.encoder, seed=3, iterations=1, logs=given[1:]
    )
    assert len(process.logs) == len(given)


@pytest.mark.parametrize("source", ["steplaw", "marin"])
def test_what_it_says_is_the_whole_covariance_times_what_it_solved_for(source: str) -> None:
    """Of runs it knows, of others, and of an optimizer it has not seen."""
    fit = next(fit for fit in ncpl.load().fits if fit.family[0] == source)
    process = fit.process
    assert process is not None
    assert process.has_own == (source == "marin")
    known = process.known
    asked = known.take(slice(None, None, 7))
    moved = asked._replace(x=asked.x + 0.1, sizes=asked.sizes + 0.1)
    unseen = asked._replace(place=np.where(asked.place == 0, -1, asked.place))
    for some in (asked, moved, unseen):
        whole = kernel(some, known, process.logs, has_own=process.has_own) @ process.solved
        said = process.left_over(some)
        assert np.abs(said - whole).max() * process.unit < 5e-6  # nats


def test_a_training_run_is_its_own_nearest(bundle: Bundle, runs: Runs) -> None:
    train = runs.where(split="train")
    found = bundle.predict(train.configs[:5], nearest=3)
    for i, prediction in enumerate(found):
        first = prediction.nearest[0]
        assert len(prediction.nearest) == 3
        assert first.distance == pytest.approx(0, abs=1e-3)
        assert first.final_loss == pytest.approx(train.loss[i], abs=0.02)  # or its very twin
        assert first.config["learning_rate"] == train.configs[i]["learning_rate"]
    assert bundle.predict(train.configs[:1])[0].nearest == []


def test_no_run_is_near_a_far_larger_model() -> None:
    config = {"params_non_embedding": 4.3e8, "train_tokens": 5e10, "learning_rate": 5e-4}
    near, far = ncpl.load().predict([config, config | {"params_non_embedding": 7e9}], nearest=1)
    assert near.nearest[0].distance < 0.5
    assert far.nearest[0].distance > 1.5


def test_too_few_diverged_runs_say_nothing(bundle: Bundle, fit: Fit, runs: Runs) -> None:
    inputs = inputs_of(fit, runs.where(split="train"))
    label = np.zeros(1517)
    label[: MIN_DIVERGED - 1] = 1
    assert fit.process is not None
    assert fit_risk(inputs, label, fit.process, fit.surface) is None
    assert bundle.predict(runs.where(split="id").configs[:1])[0].divergence_risk is None


def test_risk_rises_with_what_made_runs_diverge(runs: Runs, bundle: Bundle) -> None:
    """Generated: copies of training runs at four times the highest learning rate 'diverge'."""
    train = runs.where(split="train").take(np.arange(1517) % 4 == 0)
    some = train.take(np.arange(len(train)) % 5 == 0)
    diverged = dataclasses.replace(
        some, configs=[c | {"learning_rate": 0.06} for c in some.configs]
    )
    config = dataclasses.replace(bundle.config, members=1, steps=1)
    fit = fit_family(train, config, seed=0, diverged=diverged)
    rates = [{**train.configs[0], "learning_rate": rate} for rate in (1e-3, 1e-2, 5e-2)]
    risk = fit.divergence_risk(fit.encoder.encode(rates))
    assert risk is not None
    assert risk[0] < 0.05 < risk[1] + 0.05 < 0.5 + 0.05
    assert risk[2] > 0.5


def test_the_shipped_bundle_knows_marins_divergence() -> None:
    bundle = ncpl.load()
    config = {
        "source": "marin", "optimizer": "adamw", "params_non_embedding": 134217728,
        "train_tokens": 2684354560, "batch_size_sequences": 128, "sequence_length": 4096,
        "schedule": "cosine", "weight_decay": 0.1,
    }  # fmt: skip
    low, high = bundle.predict([config | {"learning_rate": rate} for rate in (4e-3, 0.12)])
    assert low.divergence_risk is not None
    assert high.divergence_risk is not None
    assert low.divergence_risk < 0.1 < high.divergence_risk
