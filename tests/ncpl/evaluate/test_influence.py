"""Which contribution moved what, on families drawn from one population."""

from __future__ import annotations

import math

import pytest

from ncpl.evaluate.gate import Verdict
from ncpl.evaluate.gate_community import judge_influence
from ncpl.evaluate.influence import FamilyInfluence, Influence, influences
from ncpl.train.leave_out import leave_out
from ncpl.train.population import fit_population
from tests.ncpl.families import community


def test_a_contribution_is_judged_by_what_it_does_to_others() -> None:
    families = community(4)
    population = fit_population(families, rounds=1)
    given = min(min(family.sources) for family in families)
    (found,) = influences(families, [given], leave_out(population, families))
    own = [family for family in families if given in family.sources]
    assert found.contribution == given
    assert found.runs == sum(len(family.rows) for family in own)
    assert {one.family for one in found.families}.isdisjoint(family.name for family in own)
    assert len(found.families) == len(families) - len(own)
    assert all(math.isfinite(one.error_with + one.error_without) for one in found.families)
    assert any(one.error_with != one.error_without for one in found.families)
    assert found.line().startswith(f"{given} (")


def test_a_contribution_nobody_else_can_be_scored_by_says_so() -> None:
    families = community(2)[:1]
    population = fit_population(families, rounds=1)
    given = min(families[0].sources)
    (found,) = influences(families, [given], leave_out(population, families))
    assert found.families == []
    assert math.isnan(found.mean_with)
    assert "no other family" in found.line()


@pytest.mark.parametrize(
    ("error_with", "targets", "low", "refuses", "remarks"),
    [
        (0.041, 12, 0.001, 0, 0),  # not a quarter worse
        (0.060, 12, 0.005, 1, 0),
        (0.060, 3, 0.005, 0, 1),  # three runs
        (0.060, 12, -0.001, 0, 1),  # not in all draws of the runs
        (0.030, 12, -0.020, 0, 0),  # better
    ],
)
def test_harm_is_refused_where_runs_confirm_it(
    error_with: float, targets: int, low: float, refuses: int, remarks: int
) -> None:
    change = FamilyInfluence("other", 5, error_with, 0.04, targets, low)
    verdict = Verdict()
    judge_influence(verdict, [Influence("given", 30, [change])])
    assert (len(verdict.reasons), len(verdict.remarks)) == (refuses, remarks)


def test_targets_and_the_interval_of_the_rise_are_told() -> None:
    families = community(3)
    population = fit_population(families, rounds=1)
    (found,) = influences(families, ["s0"], leave_out(population, families))
    for one in found.families:
        assert one.targets >= 3
        assert one.low <= one.error_with - one.error_without + 1e-9
