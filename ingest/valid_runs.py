"""Which runs satisfy the schema: told by their columns, by their documents where in doubt."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import FLOAT64, INT64, Curve
from ncpl_data.catalog.record import Run
from ncpl_data.schema.batch import explain, row_test, validity_test
from ncpl_data.schema.load import SCHEMA_VERSION, load_schema
from ncpl_data.schema.validate import Problem


def problems_of(run: Run) -> list[Problem]:
    """Return what is wrong with a run as a document of the schema; empty where it is valid."""
    return [] if is_surely_valid(run) else explain(run.to_document(), "run")


def is_surely_valid(run: Run) -> bool:
    """Return whether a run satisfies the schema for sure; False where its document must tell."""
    values = {"schema_version": SCHEMA_VERSION, **vars(run)}
    curves, evals = values.pop("curves", ()), values.pop("evals", ())
    if not row_test()(values):
        return False
    if len(curves) > most("run", "curves") or not all(map(is_valid_curve, curves)):
        return False
    if not evals:
        return True
    test = validity_test("evaluation")
    documents = ({k: v for k, v in vars(e).items() if v is not None} for e in evals)
    return len(evals) <= most("run", "evals") and all(map(test, documents))


def is_valid_curve(curve: Curve) -> bool:
    """Return whether a curve satisfies the schema; what its class has seen is not seen again."""
    step, value, tokens = curve.step, curve.value, curve.tokens
    if step.dtype != INT64 or value.dtype != FLOAT64 or len(step) > most("curve", "step"):
        return False
    document: dict[str, Any] = {
        "metric": curve.metric,
        "step": [int(step[0]), int(step[-1])],  # they increase
        "value": [float(value[0])],
    }
    if tokens is not None:
        if tokens.dtype != INT64:
            return False
        document["tokens"] = [int(np.minimum.reduce(tokens)), int(np.maximum.reduce(tokens))]
    return validity_test("curve")(document)


@cache
def most(schema: str, name: str) -> int:
    """Return how many items a list of the schema may have."""
    spec = load_schema(schema)["properties"][name]
    return int(min(option.get("maxItems", 10**9) for option in spec.get("oneOf", [spec])))
