"""Which contribution moved what, on families drawn from one population."""

from __future__ import annotations

import math

from ncpl.evaluate.influence import influences
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
