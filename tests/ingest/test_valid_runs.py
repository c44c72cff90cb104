"""The quick test of a run by its columns never passes what its document would fail."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Evaluation, Run, field_names
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.ingest.valid_runs import is_surely_valid, problems_of
from ncpl_data.schema.validate import check_document

sys.path.append(str(Path(__file__).parents[1] / "schema"))
from generated_documents import documents

relaxed = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
ODD = st.sampled_from(
    [
        *(
            None,
            True,
            0,
            -1,
            1.5,
            2**60,
            2**70,
            1e30,
            math.inf,
            "",
            "x",
            "finished",
            "a b\n",
            "../x",
        ),
        *((), ("a",), (None,), ({},), {}, {"a": 1}, {"a.b": None}, {"A": "logged"}),
        *(({"name": "x", "unit": None},), ({"name": "x", "unit": "other"},), ({"kind": None},)),
        *({"learning_rate": "logged"}, {"learning_rate": {"kind": "derived"}}, {"x": None}),
        *(({"step": 1.0, "learning_rate": 0.1},), {"seed": {"rule": "no kind"}}, ["a", 1]),
    ]
)


@given(documents(), st.lists(st.tuples(st.sampled_from(sorted(field_names())), ODD), max_size=2))
@settings(relaxed, max_examples=60)
def test_what_passes_by_its_columns_passes_as_a_document(
    document: dict, changes: list[tuple[str, object]]
) -> None:
    run = Run.from_document(document).with_values(**dict(changes))
    if is_surely_valid(run):
        assert check_document(run.to_document()) == []


STEP, VALUE = np.array([1, 2]), np.array([3.0, 2.0])


@pytest.mark.parametrize(
    ("curve", "is_valid"),
    [
        (Curve("train/loss", STEP, VALUE), True),
        (Curve("train/loss", STEP, VALUE, STEP * 10), True),
        (Curve(" train", STEP, VALUE), False),
        (Curve("train/loss", STEP - 2, VALUE), False),
        (Curve("train/loss", STEP * 2**53, VALUE), False),
        (Curve("train/loss", STEP, VALUE, np.array([5, -5])), False),
        (Curve("train/loss", STEP * 1.5, VALUE), False),
    ],
)
def test_curves_are_judged_as_their_document_is(curve: Curve, is_valid: bool) -> None:
    run = Run(run_id="a/b", source="a", curves=(curve,))
    assert is_surely_valid(run) is is_valid
    assert (problems_of(run) == []) is is_valid


def test_evaluations_are_judged_as_their_document_is() -> None:
    good = Evaluation("arc", "accuracy", 0.5, n_shots=5)
    assert is_surely_valid(Run(run_id="a/b", source="a", evals=(good,)))
    bad = Run(run_id="a/b", source="a", evals=(good, Evaluation("arc", "accuracy", math.nan)))
    assert not is_surely_valid(bad)


@pytest.mark.parametrize("name", ["overtraining", "gemstones", "olmo_ladder", "observational"])
def test_no_shipped_run_needs_a_second_look(name: str) -> None:
    """Or an ingest would be slow."""
    origin = next(o for o in SOURCES[name].origins if o.bundled_paths() is not None)
    paths = origin.bundled_paths()
    assert paths is not None
    runs = [item for item in origin.read(paths) if isinstance(item, Run)]
    assert all(map(is_surely_valid, runs))
