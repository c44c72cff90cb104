"""A population without some of the sources it was learned from, in one step."""

from __future__ import annotations

from collections.abc import Sequence

from ncpl.data.families import FamilyRuns
from ncpl.evaluate.influence import Without
from ncpl.model.population import Population
from ncpl.train.population import locate, moved


def leave_out(population: Population, families: Sequence[FamilyRuns]) -> Without:
    """Return the last step of learning a population, for any sources left out.

    Each family is placed once, under the population of all of them; widths are left out.
    """
    positions = [locate(family, population) for family in families]

    def without(sources: frozenset[str]) -> Population:
        kept = [i for i, family in enumerate(families) if not (family.sources & sources)]
        return moved(population, [families[i] for i in kept], [positions[i] for i in kept])

    return without
