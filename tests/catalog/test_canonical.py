"""The one JSON text of a value is the same with and without orjson."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncpl_data.catalog import canonical
from ncpl_data.catalog.canonical import ENCODER, canonical_json, canonical_row, quick_writer
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Evaluation, Run

ODD = st.sampled_from(
    [
        1e-8,
        -2.5e-9,
        0.00001,
        -0.000012,
        9.99e-5,
        1e16,
        1.5e300,
        10.00001,
        5e-324,
        -0.0,
        1e-10,
        2**70,
    ]
) | st.sampled_from(
    ["1e-8", "e-1", '"', "\\", "null", "0.00001", ',"a":1e-8,', "\x7f\x1f", "ä\u2028"]
)
LEAVES = st.none() | st.booleans() | st.integers() | ODD | st.text(max_size=6)
LEAVES |= st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_the_text_is_that_of_the_encoder(value: object) -> None:
    assert quick_writer() is not None
    assert canonical_json(value) == ENCODER.encode(value)


@given(st.dictionaries(st.sampled_from(["a", "b", "extra", "lr", "origins"]), VALUES))
@settings(max_examples=100, deadline=None)
def test_a_row_with_json_columns_has_the_text_of_the_encoder(values: dict) -> None:
    row = {k: json.dumps(v) if k in ("extra", "origins") else v for k, v in values.items()}
    row = {k: v for k, v in row.items() if v is not None}
    assert canonical_row(row) == ENCODER.encode(row).encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [None, {"b": math.nan}]}])
def test_what_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)


def test_what_json_has_not_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical_json({"at": datetime(2026, 1, 1, tzinfo=UTC)})


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-330, 308))
@settings(max_examples=400, deadline=None)
def test_every_number_is_spelt_as_python_does(value: float, exponent: int) -> None:
    scaled = math.ldexp(math.frexp(value)[0], round(exponent * 3.3219))
    for number in (value, scaled, float(f"{scaled:.3g}")):
        assert canonical_json([number, {"a": number}]) == ENCODER.encode([number, {"a": number}])


def test_hashes_are_the_same_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = Curve("train/loss", np.array([1, 5]), np.array([3.5, 1e-7]))
    run = Run(
        run_id="a/b",
        source="a",
        adam_epsilon=1e-8,
        weight_decay=0.00002,
        metrics=({"name": "x", "unit": "other", "value": 5e-6},),
        raw_config={"eps": 1e-8, "clip": None, "say": 'a "null" e-5', "z": [0.00001, 2**70]},
        curves=(curve,),
        evals=(Evaluation("arc", "accuracy", 0.5),),
    )
    quick = run.content_hash()
    monkeypatch.setattr(canonical, "quick_writer", lambda: None)
    assert run.content_hash() == quick
