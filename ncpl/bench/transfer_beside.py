"""Rows beside the transfer board: known questions with one fixed set of known runs each.

The runs are told by rules on their configurations and counted; a snapshot that holds another number
of them is not scored. The population has seen none of their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.data.fields import Config
from ncpl.data.sizes import size_of, worth_of
from ncpl.evaluate.transfer_widths import Learn, Transferred, widths_without, without
from ncpl.model.adaptation import Adapted
from ncpl.model.law_inputs import Array

MOST_KNOWN = 300
"""Runs a family is placed by; more hardly move its law."""
LEAST_IN_GROUP = 5
SAME = 0.05
"""Sizes and data closer than this in log are one group."""
NANOCHAT = "losscast/train/loss_ema/fineweb_edu/autoresearch_bpe_8k"
QUEST = "quest/validation/loss/c4/gpt2"
SHORT, LONGER, FULL = 0.2e9, 0.4e9, 1e9
"""Tokens of nanochat's shortest runs, at most; twice that; and of its full ones, at least."""
LARGE = 400e6
"""Non-embedding parameters from which a run of QuEST counts as large."""


@dataclass(frozen=True)
class Question:
    """A family, the runs known of it, and those asked for."""

    name: str
    family: str
    known: Callable[[Config], bool]
    asked: Callable[[Config], bool]
    counts: tuple[int, int]
    """Of known and asked runs, as the sources published them."""


QUESTIONS = (
    Question(
        "nanochat: depth 12 at full data, all shorter or shallower runs known",
        NANOCHAT,
        lambda row: row["n_layers"] < 12 or worth_of(row) < FULL,
        lambda row: row["n_layers"] == 12 and worth_of(row) >= FULL,
        (490, 100),
    ),
    Question(
        "nanochat: budgets 2 to 5 times below any known",
        NANOCHAT,
        lambda row: worth_of(row) >= LONGER,
        lambda row: worth_of(row) <= SHORT,
        (418, 142),
    ),
    Question(
        "QuEST in 16 bits: 430M and 800M, four smaller runs known",
        QUEST,
        lambda row: size_of(row) < LARGE,
        lambda row: size_of(row) >= LARGE,
        (4, 2),
    ),
)


@dataclass(frozen=True)
class Beside:
    """How the adapted population did on one question; losses in nats."""

    question: str
    known: int
    asked: int
    mae: float
    bias: float
    largest: float
    coverage: float
    """Of 90% intervals."""
    width: float
    rank: float | None
    """Mean Spearman correlation in groups of one size and data of five runs; None where none."""


def run_beside(
    families: Sequence[FamilyRuns],
    learn: Learn,
    measured: Sequence[Transferred],
    questions: Sequence[Question] = QUESTIONS,
) -> tuple[list[Beside], dict[str, str]]:
    """Return the score of each question the families hold, and why others are not scored.

    `measured` are tasks of the board, whose families tell how wide intervals must be.
    """
    by_name = {family.name: family for family in families}
    found, absent = [], {}
    for question in questions:
        family = by_name.get(question.family)
        if family is None:
            absent[question.name] = f"{question.family} is not in the snapshot"
            continue
        parts = [
            [i for i, row in enumerate(family.rows) if chosen(row)]
            for chosen in (question.known, question.asked)
        ]
        counts = (len(parts[0]), len(parts[1]))
        if counts != question.counts:
            absent[question.name] = f"{counts} runs known and asked for, not {question.counts}"
            continue
        widths = widths_without(measured, family.sources)
        population = replace(learn(without(families, family.sources)), widths=widths)
        known, asked = (family.take(part) for part in parts)
        told = known.some(MOST_KNOWN)
        answers = Adapted.of(population, told.rows, told.loss).predict(asked.rows)
        error = answers.loss - asked.loss
        found.append(
            Beside(
                question.name,
                len(known),
                len(asked),
                mae=float(np.abs(error).mean()),
                bias=float(error.mean()),
                largest=float(np.abs(error).max()),
                coverage=float(answers.covers(asked.loss).mean()),
                width=answers.width,
                rank=rank_in_groups(asked.rows, answers.loss, asked.loss),
            )
        )
    return found, absent


def rank_in_groups(rows: Sequence[Config], said: Array, measured: Array) -> float | None:
    """Return the mean rank correlation over groups of about one size and data of five runs."""
    from scipy.stats import spearmanr

    groups: dict[tuple[int, int], list[int]] = {}
    for i, row in enumerate(rows):
        place = tuple(round(float(np.log(read(row))) / SAME) for read in (size_of, worth_of))
        groups.setdefault((place[0], place[1]), []).append(i)
    ranks = [
        float(spearmanr(said[own], measured[own]).statistic)
        for own in groups.values()
        if len(own) >= LEAST_IN_GROUP and np.ptp(said[own]) > 0 and np.ptp(measured[own]) > 0
    ]
    return float(np.mean(ranks)) if ranks else None


def to_json(found: Sequence[Beside], absent: dict[str, str]) -> dict[str, Any]:
    """Return the rows as plain values."""
    return {"rows": [asdict(one) for one in found], "absent": absent}


def markdown(found: Sequence[Beside], absent: dict[str, str]) -> str:
    """Return the rows as a table."""
    lines = [
        "| beside the board | known | asked | MAE | bias | largest | 90% covers | width | rank |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        rank = "-" if one.rank is None else f"{one.rank:.2f}"
        lines.append(
            f"| {one.question} | {one.known} | {one.asked} | {one.mae:.4f} | {one.bias:+.4f} | "
            f"{one.largest:.4f} | {one.coverage:.2f} | {one.width:.3f} | {rank} |"
        )
    lines += [f"Not scored: {name} ({why})" for name, why in absent.items()]
    return "\n".join(lines) + "\n"
