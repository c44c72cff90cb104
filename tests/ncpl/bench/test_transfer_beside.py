"""Rows beside the transfer board, and what each part of the model is worth."""

from __future__ import annotations

import numpy as np
import pytest

from ncpl.bench import transfer_beside, transfer_compare
from ncpl.bench.transfer_beside import Question, rank_in_groups, run_beside
from ncpl.data.sizes import size_of
from ncpl.evaluate.community_card import render
from ncpl.evaluate.transfer_tasks import draw_tasks
from ncpl.evaluate.transfer_widths import measure, without
from ncpl.model.population import Population
from ncpl.train.population import fit_population, locate
from tests.ncpl.families import community


def learn(families):
    return fit_population(families, rounds=1)


def question(counts, name="larger", family="f0"):
    return Question(name, family, lambda r: size_of(r) < 1e8, lambda r: size_of(r) >= 1e8, counts)


def test_a_question_is_answered_without_the_sources_of_its_family():
    families = community(4)
    seen = []

    def told(rest):
        seen.append({source for f in rest for source in f.sources})
        return learn(rest)

    rows, absent = run_beside(families, told, [], [question((15, 15))])
    assert seen == [{"s1", "s2", "s3"}]
    assert absent == {}
    assert (rows[0].known, rows[0].asked) == (15, 15)
    assert rows[0].mae <= rows[0].largest < 0.3
    assert "| larger | 15 | 15 |" in transfer_beside.markdown(rows, absent)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (question((14, 15)), "(15, 15) runs known and asked for, not (14, 15)"),
        (question((15, 15), family="none"), "none is not in the snapshot"),
    ],
)
def test_other_runs_than_the_fixed_ones_are_not_scored(asked, why):
    rows, absent = run_beside(community(2), learn, [], [asked])
    assert (rows, absent) == ([], {"larger": why})


def test_ranks_are_told_within_about_one_size_and_data():
    rows = [{"params_non_embedding": n, "data_tokens": 1e9} for n in (1e8, 1e9) for _ in range(5)]
    said = np.array([1, 2, 3, 4, 5, 5, 4, 3, 2, 1], dtype=float)
    measured = np.tile(np.arange(5.0), 2)
    assert rank_in_groups(rows, said, measured) == pytest.approx(0.0)
    assert rank_in_groups(rows[:4], said[:4], measured[:4]) is None


def test_a_family_drawn_from_the_population_has_the_same_runs():
    own = community(1)[0]
    population = Population.start()
    drawn = transfer_compare.synthetic(own, population, np.random.default_rng(0))
    assert list(drawn.run_ids) == list(own.run_ids)
    assert (drawn.loss != own.loss).all()
    again = transfer_compare.synthetic(own, population, np.random.default_rng(0))
    assert (again.loss == drawn.loss).all()


def test_a_covariate_moves_the_level_of_families_that_state_it():
    families = community(4)
    for i, own in enumerate(families):  # floors rise with the vocabulary
        for row in own.rows:
            row["vocab_size"] = 50_000 * np.exp(i - 1.5)
    populations = {f.sources: learn(without(families, f.sources)) for f in families}
    moved = transfer_compare.with_covariates(families, populations, lambda f, p: locate(f, p).mean)
    floor = 4
    ends = [
        moved[f.name].mean[floor] - populations[f.sources].mean[floor]
        for f in (families[0], families[-1])
    ]
    assert ends[0] < 0 < ends[1]


def test_a_comparison_is_a_mean_over_families_and_stands_on_the_card():
    families = community(3)
    population = learn(families)
    measured = [
        measure(population, own, task)
        for own in families[:2]
        for task in draw_tasks(own)
        if (task.count, task.draw) == (5, 0)
    ]
    rows = transfer_compare.scored("as shipped", "", measured)
    errors = [np.abs(m.answers.loss - m.loss).mean() for m in measured]
    assert (rows[0].k, rows[0].families) == (5, 2)
    assert rows[0].mae == pytest.approx(np.mean(errors))
    card = {
        "snapshot_id": "a" * 64, "families": [], "learned_from": ["x"], "created_at": "now",
        "train_seconds": 1, "versions": {"ncpl": "1"}, "population": {"widths": {}},
        "comparisons": transfer_compare.to_json("b" * 64, rows),
    }  # fmt: skip
    assert "| as shipped |  | 5 | 2 |" in render(card)
    assert "bbbbbbbbbbbb" in render(card)
    del card["comparisons"]
    assert "Comparisons" not in render(card)
