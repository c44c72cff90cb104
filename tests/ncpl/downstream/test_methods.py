"""Each method finds a truth of its own form on generated rows, and is silent where it must be."""

from dataclasses import replace

import numpy as np
import pytest

from ncpl.downstream.hierarchy import Hierarchy
from ncpl.downstream.losses import LossLaws
from ncpl.downstream.methods import BASELINES, PUBLISHED, with_task_losses
from ncpl.downstream.network import fit_network, forward
from ncpl.downstream.table import TaskTable
from ncpl.downstream.tasks import task_of

METHODS = {method.name: method for method in (*BASELINES, *PUBLISHED)}


def generated(value, tasks=("hellaswag",), n=24, kinds=("accuracy",)) -> TaskTable:
    """Models on a grid of sizes and tokens under a known law, scored by `value(loss, params)`."""
    params = np.repeat(np.geomspace(2e7, 2e9, n // 4), 4)
    tokens = params * np.tile([10.0, 20.0, 50.0, 100.0], n // 4)
    loss = 1.7 + 400 / params**0.34 + 410 / tokens**0.28
    columns = [value(loss, params) for _ in tasks]
    return TaskTable(
        "made", [f"m{i}" for i in range(n)], ["a", "b"] * (n // 2), params, tokens,
        {"main": loss, "other": 0.8 * loss + 0.05 * np.tile([0.0, 1.0], n // 2)},
        [task_of(t, k) for t, k in zip(tasks, kinds * len(tasks), strict=False)],
        np.array(columns).T,
    )  # fmt: skip


def halves(table: TaskTable) -> tuple[TaskTable, TaskTable]:
    small = table.params < np.quantile(table.params, 0.6)
    return table.take(small), table.take(~small)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("error law", lambda loss, _: 1 - (0.8 - 3.0 * np.exp(-0.7 * loss))),
        ("two steps", lambda loss, _: 0.25 + 0.6 / (1 + np.exp(2.5 * (loss - 3.0)))),
        ("FLP", lambda loss, _: 1.2 - 0.2 * loss),
        ("PassUntil", lambda _, n: np.exp(-((n / 1e8) ** -0.4))),
    ],
)
def test_method_extrapolates_a_truth_of_its_own_form(name, value):
    train, test = halves(generated(value))
    said = METHODS[name].fit(train).predict(test)
    assert np.abs(said.value - test.values).max() < 0.005


def test_network_of_domain_losses_interpolates_what_a_line_can_not():
    table = generated(lambda loss, _: 0.25 + 0.6 / (1 + np.exp(4 * (loss - 3.0))), n=48)
    even = np.arange(len(table)) % 3 > 0
    train, test = table.take(even), table.take(~even)
    keep = test.values[:, 0] > 0.3
    network, line = (METHODS[n].fit(train).predict(test).value for n in ("FLP-M", "FLP"))
    error = np.abs(network - test.values)[keep].mean()
    assert error < 0.02 < np.abs(line - test.values)[keep].mean()


def test_hierarchy_finds_shifts_of_families_and_covers():
    def value(loss, params):
        shift = np.tile([0.0, 0.3], len(loss) // 2)
        return 0.25 + 0.75 / (1 + np.exp(2 * (loss - 3.0) - shift))

    table = generated(value, ("hellaswag", "arc_easy", "mmlu"))
    noisy = table.values + np.random.default_rng(0).normal(scale=0.004, size=table.values.shape)
    train, test = halves(replace(table, values=noisy))
    said = Hierarchy().fit(train).predict(test)
    low, high = said.interval(test.tasks)
    assert np.abs(said.value - test.values).mean() < 0.02
    assert ((low <= test.values) & (test.values <= high)).mean() >= 0.8


def test_hierarchy_does_not_depend_on_the_order_of_rows():
    table = generated(lambda loss, _: 0.25 + 0.5 / (1 + np.exp(2 * (loss - 3.0))))
    order = np.random.default_rng(1).permutation(len(table))
    train, test = halves(table)
    small = order[np.isin(order, np.flatnonzero(table.params < np.quantile(table.params, 0.6)))]
    one, other = (Hierarchy().fit(t).predict(test) for t in (train, table.take(small)))
    assert np.abs(one.value - other.value).max() < 1e-8
    assert np.abs(one.sd - other.sd).max() < 1e-8


def test_law_of_size_and_data_gives_the_losses_of_larger_models():
    train, test = halves(generated(lambda loss, _: loss * 0 + 0.5))
    said = LossLaws.fit(train).predict(test)
    assert np.abs(said.loss / test.loss - 1).max() < 0.01


def test_task_losses_become_features_of_two_steps():
    table = generated(lambda loss, _: 1.1 * loss, ("arc_easy",), kinds=("bpb",))
    assert "task/arc_easy:loss_bits_per_byte" in with_task_losses(table).losses


def test_methods_are_silent_without_what_they_read():
    table = generated(lambda loss, _: 0.25 + 0.05 * (4 - loss))
    bare = replace(table, losses={})
    for name in ("error law", "two steps", "FLP", "FLP-M", "observational"):
        assert np.isnan(METHODS[name].fit(bare).predict(bare).value).all(), name


def test_network_gradient_is_that_of_its_objective():
    x = np.random.default_rng(0).normal(size=(30, 2))
    y = x @ [1.0, -0.5]
    assert np.abs(fit_network(x, y)(x) - y).mean() < 0.1
    z = np.random.default_rng(1).normal(size=(2 + 2) * 8 + 1)
    assert forward(z, x)[0].shape == (30,)
