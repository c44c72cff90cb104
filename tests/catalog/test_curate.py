from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncpl_data.catalog.curate import (
    RULES,
    climb,
    curate,
    divergence,
    end_apart,
    findings,
    guesses_removed,
    late_start,
    size_error,
    token_budget,
    truncation,
    unit_error,
)
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources import losscast, marin, steplaw

METRIC = "train/loss_smoothed"


def run(**values: object) -> Run:
    """A run with the fields a rule looks at."""
    known = {"run_id": "a/b", "source": "a", "final_loss_unit": "nats_per_token"}
    return Run(**(known | values))  # type: ignore[arg-type]


def with_curve(step: list[int], value: list[float], **values: object) -> Run:
    curve = Curve(METRIC, np.array(step), np.array(value))
    return run(final_loss_metric=METRIC, curves=(curve,), **values)


@pytest.fixture(scope="module")
def shipped() -> dict[str, dict[str, Run]]:
    found = {}
    for source, origin in (
        ("marin", marin.SOURCE.origins[0]),
        ("losscast", losscast.SOURCE.origins[0]),
        ("steplaw", steplaw.SOURCE.origins[1]),
    ):
        paths = origin.bundled_paths()
        assert paths is not None
        found[source] = {r.run_id: r for r in origin.read(paths) if isinstance(r, Run)}
    return found


def test_what_the_rules_find_in_the_shipped_logs(shipped: dict[str, dict[str, Run]]) -> None:
    counts = {
        source: Counter(one.flag for run in runs.values() for one in findings(run))
        for source, runs in shipped.items()
    }
    assert counts == {
        "marin": {"diverged": 175, "loss_spike": 2},
        "losscast": {
            "loss_spike": 156,
            "curve_truncated": 198,
            "guesses_removed": 3028,
            "curve_starts_late": 23,
        },
        "steplaw": {"loss_spike": 123, "curve_starts_late": 23, "curve_end_apart": 406},
    }


def test_the_ten_known_truncated_curves_are_flagged_by_name(
    shipped: dict[str, dict[str, Run]],
) -> None:
    apart = [
        copy
        for copy in shipped["losscast"].values()
        if copy.same_as
        and (owner := shipped["marin"].get(copy.same_as[0])) is not None
        and owner.final_loss is not None
        and abs(owner.final_loss - (copy.final_loss or 0)) > 1e-6
    ]
    assert len(apart) == 10
    assert all("curve_truncated" in (curate(one).flags or ()) for one in apart)


def test_a_flag_brings_its_evidence(shipped: dict[str, dict[str, Run]]) -> None:
    copies = shipped["losscast"].items()
    found = curate(next(copy for name, copy in copies if "mini5c5f85" in name))
    assert found.flags == ("curve_truncated",)
    assert found.origins is not None
    assert found.origins["flags"] == {
        "kind": "derived",
        "rule": "curve_truncated: last point at step 4000 of 40960",
    }


def test_a_run_without_findings_is_left_alone() -> None:
    clean = with_curve([0, 50, 99], [9.0, 5.0, 4.0], train_steps=100, final_loss=4.0)
    assert curate(clean) is clean


def test_own_flags_stay_first_and_curating_twice_changes_nothing() -> None:
    odd = run(flags=("digest_missing",), status="diverged", final_loss=9.5)
    once = curate(odd)
    assert once.flags == ("digest_missing", "diverged")
    assert curate(once).content_hash() == once.content_hash()


STEPS = [*range(0, 1000, 50), 999]
FALLING = [9.0 - 6.0 * (i / len(STEPS)) ** 0.3 for i in range(len(STEPS))]

LONG = [*range(0, 1000, 10), 999]
CLIMBING = [max(4.0 - 0.05 * i, 0.01 * i + 1.5) for i in range(len(LONG))]


@pytest.mark.parametrize(
    ("rule", "case", "expected"),
    [
        (divergence, run(status="diverged", final_loss=7.5), "final loss 7.5"),
        (divergence, run(status="diverged"), "no finite loss"),
        (divergence, run(status="finished", final_loss=11.8, vocab_size=128_256), "guessing"),
        (divergence, run(status="finished", final_loss=3.0, vocab_size=128_256), None),
        (divergence, run(final_loss=11.8), None),
        (truncation, with_curve([0, 100], [9.0, 5.0], train_steps=200), "step 100 of 200"),
        (truncation, with_curve([0, 199], [9.0, 5.0], train_steps=200), None),
        (truncation, with_curve([0, 995], [9.0, 5.0], train_steps=1000), None),
        (truncation, with_curve([0, 100], [9.0, 5.0]), None),
        (truncation, run(train_steps=100), None),
        (end_apart, with_curve([0, 99], [9.0, 5.0], train_steps=100, final_loss=5.002), "5.002"),
        (end_apart, with_curve([0, 99], [9.0, 5.0], train_steps=100, final_loss=5.0009), None),
        (end_apart, with_curve([0, 50], [9.0, 5.0], train_steps=100, final_loss=4.0), None),
        (end_apart, with_curve([0, 99], [9.0, 5.0], train_steps=100), None),
        (late_start, with_curve([500, 550, 999], [4.0, 4.0, 3.9], train_steps=1000), "step 500"),
        (late_start, with_curve([10, 20, 999], [4.0, 4.0, 3.9], train_steps=1000), None),
        (
            late_start,
            with_curve([500, 550, 999], [4, 4, 3.9], train_steps=1000, parent_run_id="a/c"),
            "continues a/c",
        ),
        (climb, with_curve(STEPS, FALLING, final_loss=3.0), None),
        (climb, with_curve(STEPS, [*FALLING[:12], 8.5, *FALLING[13:]], final_loss=3.0), "step 600"),
        (climb, with_curve(STEPS, [*FALLING[:12], 8.5, *FALLING[13:]], status="diverged"), None),
        (climb, with_curve(LONG, CLIMBING, final_loss=2.5), "above its best, at step 999"),
        (climb, with_curve(LONG, CLIMBING, status="diverged", final_loss=2.5), None),
        (unit_error, run(final_loss=35.0, status="finished"), "called nats per token"),
        (unit_error, run(final_loss=0.1), "called nats per token"),
        (unit_error, run(final_loss=3.2), None),
        (unit_error, run(final_loss=35.0, final_loss_unit="perplexity"), None),
        (unit_error, run(final_loss=35.0, status="diverged"), None),
        (token_budget, run(train_tokens=10**9, nominal_train_tokens=2 * 10**9), "budget"),
        (token_budget, run(train_tokens=10**9, nominal_train_tokens=1_002_000_000), None),
        (
            token_budget,
            run(train_tokens=5 * 10**9, source_run="sweep-130m-10B-x", params_total=135_000_000),
            "says 10B",
        ),
        (
            token_budget,
            run(
                train_tokens=10_737_418_240, source_run="sweep-130m-10B-x", params_total=135_000_000
            ),
            None,
        ),
        (token_budget, run(train_tokens=5 * 10**9, source_run="x-1B-0.5xC"), None),
        (
            token_budget,
            run(train_tokens=5 * 10**9, source_run="olmo-7B-x", params_total=6_900_000_000),
            None,
        ),
        (token_budget, run(source_run="sweep-130m-10B-x"), None),
        (size_error, run(params_total=10, params_non_embedding=20), "20 non-embedding of 10"),
        (size_error, run(params_total=20, params_non_embedding=10), None),
        (
            guesses_removed,
            run(origins={"norm": {"kind": "repaired", "was": "layernorm"}, "d_ff": "logged"}),
            "norm was layernorm",
        ),
        (guesses_removed, run(d_ff=4, origins={"d_ff": {"kind": "repaired", "was": 3}}), None),
    ],
)
def test_rules(rule: object, case: Run, expected: str | None) -> None:
    found = rule(case)  # type: ignore[operator]
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert expected in found.evidence


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40),
    st.integers(0, 10**6),
    st.sampled_from(["finished", "diverged", "truncated", None]),
)
def test_no_rule_fails_on_any_curve(values: list[float], steps: int, status: str | None) -> None:
    """Generated curves: rules are total, not a claim about data."""
    case = with_curve(
        list(range(len(values))), values, train_steps=steps, status=status, final_loss=values[-1]
    )
    for rule in RULES:
        found = rule(case)
        assert found is None or found.evidence
    assert replace(curate(case), flags=case.flags, origins=case.origins) == case
