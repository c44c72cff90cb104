"""Half of a family's runs, contributed: whole cells, both halves, nothing of its sources known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ncpl.bench.contribute import (
    ASKERS,
    ContributeBoard,
    cells_of,
    half_of,
    markdown,
    run_contribute,
)
from ncpl.data.families import FamilyRuns
from ncpl.model.population import Population
from ncpl.train.population import fit_population
from tests.ncpl.families import community, family


def test_halves_hold_whole_cells_and_about_as_many_runs() -> None:
    own = family("own", "own", count=60)
    cells = cells_of(own)
    first = half_of(cells, "own")
    assert len(set(cells)) == 30
    assert set(np.array(cells)[first]).isdisjoint(np.array(cells)[~first])
    assert abs(int(first.sum()) - 30) <= 2
    assert (half_of(cells, "own") == first).all()


@cache
def board() -> tuple[ContributeBoard, list[frozenset[str]]]:
    """Return the board of one of four families, and the sources it was learned from."""
    families = [*community(4), family("few", "few", count=9)]
    told: list[frozenset[str]] = []

    def learn(others: Sequence[FamilyRuns]) -> Population:
        told.append(frozenset().union(*(f.sources for f in others)))
        return fit_population(others, rounds=1)

    found = run_contribute(
        "0" * 64, families, learn=learn, learned=families[:4], names=["f0", "fe"]
    )
    return found, told


def test_the_family_is_not_learned_from_and_both_halves_are_given() -> None:
    found, told = board()
    assert told == [frozenset({"s1", "s2", "s3"})]
    assert [half.family for half in found.halves] == ["f0", "f0"]
    assert found.halves[0].given + found.halves[0].own == 30
    assert found.improved("none") == 1
    assert set(found.to_json()["improved"]) == set(ASKERS)
    assert "| improved | | 1 of 1 | " in markdown(found)
    assert "Not scored: few (9 runs in 9 cells" in markdown(found)


def test_what_a_contribution_is_worth_falls_with_what_is_known() -> None:
    """To someone without a run it gives the level; to one with half of the runs little."""
    (row,) = board()[0].families()
    gains = [row[f"{asker}_without"] - row[f"{asker}_with"] for asker in ASKERS]
    assert gains[0] > gains[1] > gains[2]


@pytest.mark.parametrize("count", [0, 40])
def test_runs_of_one_size_and_data_are_one_cell(count: int) -> None:
    own = family("own", "own", count=count)
    near = [dict(row, params_non_embedding=row["params_non_embedding"] * 1.001) for row in own.rows]
    both = replace(own, rows=[*own.rows, *near])
    cells = cells_of(both)
    assert cells[:count] == cells[count:]
