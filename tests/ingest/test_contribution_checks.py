"""What a contributed document can not say: impossible losses and rates, a start nobody names."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from ncpl.data.fields import FIELDS
from ncpl_data.ingest.submissions.checks import check_run
from ncpl_data.ingest.submissions.ranges import RANGES

STEPS = [1, *range(100, 2001, 100)]


def document(**values: Any) -> dict[str, Any]:
    """Return a valid run that falls from a blind guess; `a__b=1` sets /a/b."""
    fresh = [math.log(50304), *(3.0 + 4 / k for k in range(1, len(STEPS)))]
    found: dict[str, Any] = {
        "schema_version": "1.0",
        "run_id": "lab/a",
        "source": "lab",
        "model": {"vocab_size": 50304},
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"train_steps": 2000},
        "outcome": {
            "status": "finished",
            "final_loss": fresh[-1],
            "final_loss_metric": "train/loss",
            "final_loss_unit": "nats_per_token",
        },
        "curves": [{"metric": "train/loss", "step": STEPS, "value": fresh}],
    }
    found = json.loads(json.dumps(found))
    for name, value in values.items():
        *folders, last = name.split("__")
        place = found
        for key in folders:
            place = place.setdefault(key, {})
        place[last] = value
    return found


TUNED = [{"metric": "train/loss", "step": STEPS, "value": [3.4 - 0.01 * k for k in range(21)]}]
ENDS = {"outcome__final_loss": TUNED[0]["value"][-1]}


def test_the_document_of_these_tests_is_good() -> None:
    assert check_run(document()) == []


@pytest.mark.parametrize(
    ("values", "pointer", "words"),
    [
        # cases/submit/07: a rate far below every sane one, told in the Trainer's way
        ({"optimizer__learning_rate": 2e-10}, "/optimizer/learning_rate", "1e-08 to 1"),
        ({"optimizer__learning_rate": 3.0}, "/optimizer/learning_rate", "1e-08 to 1"),
        # cases/submit/09: Megatron prints 0 where nothing was measured
        ({"outcome__final_loss": 0.0, "curves": []}, "/outcome/final_loss", "at least 0.05"),
        ({"outcome__final_loss": 0.003, "curves": []}, "/outcome/final_loss", "at least 0.05"),
        (
            {"outcome__final_loss": 1.0, "outcome__final_loss_unit": "perplexity", "curves": []},
            "/outcome/final_loss",
            "at least 1.05",
        ),
        ({"branch_step": 100}, "/branch_step", "parent_run_id or initial_weights"),
        ({"branch_step": 100, "initial_weights": "random"}, "/branch_step", "initial_weights"),
        ({"parent_run_id": "lab/b", "initial_weights": "b"}, "/initial_weights", "one of the two"),
        ({"stage": "sft", "initial_weights": "random"}, "/initial_weights", "checkpoint"),
        ({"curves": TUNED} | ENDS, "/curves/0/value/0", "blind guess"),
        ({"curves": TUNED, "model": {}} | ENDS, "/curves/0/value/0", "far above its end"),
    ],
)
def test_what_can_not_be_is_refused_with_its_place(
    values: dict[str, Any], pointer: str, words: str
) -> None:
    problems = check_run(document(**values))
    assert [p.pointer for p in problems] == [pointer]
    assert words in problems[0].expected


@pytest.mark.parametrize(
    "values",
    [
        {"branch_step": 5000, "initial_weights": "EleutherAI/pythia-160m"},
        {"curves": TUNED, "initial_weights": "EleutherAI/pythia-160m"} | ENDS,
        {"curves": TUNED, "initial_weights": "random"} | ENDS,
        {"curves": TUNED, "stage": "sft", "parent_run_id": "lab/b"} | ENDS,
        {"model": {}},
        {"outcome__final_loss": 0.0, "outcome__final_loss_unit": "other", "curves": []},
    ],
)
def test_what_a_run_starts_from_can_be_said(values: dict[str, Any]) -> None:
    assert check_run(document(**values)) == []


@pytest.mark.parametrize("name", sorted(RANGES))
def test_validate_and_predict_have_one_range_a_field(name: str) -> None:
    assert RANGES[name] == (FIELDS[name].low, FIELDS[name].high)
