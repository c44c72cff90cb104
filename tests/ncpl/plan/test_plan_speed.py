"""Speed of the plans on one core after load, in processor time: 1,000 candidates in 5 s."""

import time
from collections.abc import Callable
from typing import Any

import pytest

import ncpl
from ncpl.bundles import community_beside
from ncpl.plan import search
from ncpl.plan.allocate import allocate
from ncpl.plan.allocate_law import allocate_law
from ncpl.plan.arms import flop_of
from ncpl.plan.batch import plan_batch
from ncpl.plan.candidates import varied
from ncpl.plan.forecasts import forecaster_of
from ncpl.plan.recommend import recommend
from ncpl.plan.sweep import plan_sweep

LIMIT = 5.0
BASE = {
    "params_non_embedding": 268304384, "train_tokens": 8_000_000_000, "n_layers": 8,
    "d_model": 1024, "d_ff": 9552, "n_heads": 16, "sequence_length": 2048,
    "batch_size_sequences": 128, "learning_rate": 1e-3, "source": "steplaw",
}  # fmt: skip
OPEN = {k: v for k, v in BASE.items() if not k.startswith(("n_", "d_")) and k != "source"}


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of some work."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def known(count: int) -> list[dict]:
    """Return candidates: learning rates by batches by weight decays."""
    axes = ["learning_rate=2e-4:8e-3:20", "batch_tokens=1e5:4e6:10", "weight_decay=0.05:0.2:5"]
    return varied([BASE], axes)[:count]


@pytest.mark.bench
@pytest.mark.parametrize("runs", [10, 100, 250])
def test_a_plan_of_a_thousand_candidates_takes_no_longer_than(runs: int) -> None:
    bundle, forecaster = ncpl.load(), forecaster_of(None)
    configs = known(1000)
    assert len(configs) == 1000
    budget = runs * flop_of(BASE | {"data_tokens": BASE["train_tokens"]})
    bundle.predict(configs[:10])
    taken = seconds(lambda: allocate(bundle, configs, budget, forecaster=forecaster))
    print(f"1,000 candidates, {runs} runs: {taken:.2f} s, {taken / LIMIT:.2f} of the limit")
    assert taken <= LIMIT


@pytest.mark.bench
def test_a_law_of_a_thousand_candidates_takes_no_longer_than() -> None:
    population = community_beside(None).population
    axes = ["params_non_embedding=1e7:2e8:10", "learning_rate=5e-4:4e-3:10",
            "batch_tokens=1e5:1e6:10"]  # fmt: skip
    configs = varied([OPEN], axes)
    assert len(configs) == 1000
    taken = seconds(lambda: allocate_law(population, configs, 2e21, 1e9, 2e10))
    print(f"law of 1,000 candidates: {taken:.2f} s, {taken / LIMIT:.2f} of the limit")
    assert taken <= LIMIT


@pytest.mark.bench
@pytest.mark.parametrize(
    ("source", "size", "tokens", "optimizers"),
    [("steplaw", 268304384, 8e9, []), ("marin", 134217728, 2.68e9, ["adamw"])],
)
def test_a_recommendation_takes_no_longer_for_a_thousand_candidates_than(
    source: str, size: float, tokens: float, optimizers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search looks at as many as it needs; each may be completed in many ways."""
    bundle, looked = ncpl.load(), []
    told = search.intervals_of

    def counted(*given: Any) -> Any:
        looked.append(len(given[2]))
        return told(*given)

    monkeypatch.setattr(search, "intervals_of", counted)
    taken = seconds(
        lambda: recommend(
            bundle, params_non_embedding=size, train_tokens=tokens, fixed={"source": source},
            optimizers=optimizers,
        )
    )  # fmt: skip
    each = 1000 * taken / sum(looked)
    print(f"recommend, {source}: {sum(looked):,} candidates in {taken:.2f} s, {each:.2f} s for "
          f"1,000, {each / LIMIT:.2f} of the limit")  # fmt: skip
    assert each <= LIMIT


@pytest.mark.bench
def test_batches_take_no_longer_than() -> None:
    """One candidate a batch, and what was measured beside."""
    bundle = ncpl.load()
    taken = seconds(
        lambda: plan_batch(
            bundle, params_non_embedding=268304384, train_tokens=8e9, fixed={"source": "steplaw"}
        )
    )
    print(f"batches: {taken:.2f} s, {taken / LIMIT:.2f} of the limit")
    assert taken <= LIMIT


@pytest.mark.bench
def test_a_sweep_takes_no_longer_than() -> None:
    """The candidates are its own: sizes, lengths, rates and batches."""
    population = community_beside(None).population
    base = {"sequence_length": 2048}
    taken = seconds(lambda: plan_sweep(population, 1e9, 2e10, base=base, count=50))
    print(f"sweep of 50 runs: {taken:.2f} s, {taken / LIMIT:.2f} of the limit")
    assert taken <= LIMIT
