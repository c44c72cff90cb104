"""One interface for every law: named parameters, named inputs, one formula, one kind of fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Inputs = Mapping[str, Array]
Formula = Callable[[Array, Inputs], Array]
"""(theta_KP, inputs of n rows) -> predictions_Kn: K parameter vectors are evaluated in one call."""


@dataclass(frozen=True)
class Parameter:
    """One free number of a law."""

    name: str
    unit: str
    lower: float
    upper: float
    start: tuple[float, float]
    """Starts are drawn from this range, on the parameter's own scale."""
    scale: Literal["log", "linear"] = "linear"
    """`log`: fitted, drawn and differenced as its logarithm, so that it stays positive."""
    prior: tuple[float, float] | None = None
    """Centre (own unit) and spread (in the fitted coordinate) of a Gaussian prior, if any."""

    def inner(self, value: float) -> float:
        """Return the value in the coordinate the optimizer moves."""
        return math.log(value) if self.scale == "log" else value

    def outer(self, coordinate: Array) -> Array:
        """Return values from the optimizer's coordinate."""
        return np.exp(coordinate) if self.scale == "log" else coordinate


@dataclass(frozen=True)
class Law:
    """A published form: what goes in, what is fitted, and where it was read."""

    name: str
    title: str
    formula: str
    citation: str
    inputs: Mapping[str, str]
    """Input column -> unit."""
    parameters: tuple[Parameter, ...]
    function: Formula
    """Returns the loss, or its logarithm when `space` is `log`."""
    space: Literal["log", "linear"] = "log"
    """Where residuals are taken: on log loss (relative errors) or on the loss itself."""
    huber_delta: float = 1e-3
    may_be_zero: bool = False
    """Whether inputs may be 0 (shares, row numbers); otherwise all are above 0."""
    prior_weight: float = 0.0
    """Weight of the priors per row, in units of `huber_delta` squared; 0 ignores them."""

    def theta(self, values: Mapping[str, float]) -> Array:
        """Return values as a vector in the law's own order; KeyError names a missing one."""
        return np.array([values[p.name] for p in self.parameters])

    def check(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Return the law's inputs as float arrays of one length.

        Raises ValueError if a column is missing, is not finite or not positive, or has another
        length.
        """
        columns: dict[str, Array] = {}
        for name, unit in self.inputs.items():
            if name not in inputs:
                raise ValueError(
                    f"law {self.name} needs {name} ({unit}); given: {', '.join(sorted(inputs))}"
                )
            column = np.atleast_1d(np.asarray(inputs[name], dtype=np.float64))
            if not np.isfinite(column).all():
                raise ValueError(f"law {self.name}: {name} holds a value that is not a number")
            if len(column) and (column.min() < 0 or (column.min() == 0 and not self.may_be_zero)):
                raise ValueError(
                    f"law {self.name}: {name} ({unit}) holds {column.min():g}; expected "
                    f"{'at least 0' if self.may_be_zero else 'numbers above 0'}"
                )
            columns[name] = column
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"law {self.name}: inputs have different lengths {sorted(lengths)}")
        return columns

    def predict(self, values: Mapping[str, float], inputs: Mapping[str, npt.ArrayLike]) -> Array:
        """Return the predicted loss of each row at these parameter values."""
        return np.asarray(self.predict_many(self.theta(values)[None, :], inputs)[0])

    def predict_many(self, theta_KP: Array, inputs: Mapping[str, npt.ArrayLike]) -> Array:
        """Return predicted losses of shape (K, n) for K parameter vectors."""
        predicted = self.function(theta_KP, self.check(inputs))
        return np.asarray(np.exp(predicted)) if self.space == "log" else predicted


@dataclass(frozen=True)
class LawFit:
    """A fitted law: its numbers, how well it sits, and what is wrong with it."""

    law: Law
    values: Mapping[str, float]
    objective: float
    """Sum of Huber losses at the optimum."""
    n_points: int
    n_starts: int
    n_starts_agreeing: int
    """Starts that ended within 1e-3 of the best objective (relative)."""
    standard_errors: Mapping[str, float]
    """From the curvature at the optimum, in the parameter's own unit; inf = not identified."""
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, inputs: Mapping[str, npt.ArrayLike]) -> Array:
        """Return the predicted loss of each row."""
        return self.law.predict(self.values, inputs)

    def to_json(self) -> dict[str, Any]:
        """Return the fit as plain JSON values; infinities become null."""
        return {
            "law": self.law.name,
            "formula": self.law.formula,
            "parameters": {
                p.name: {
                    "value": float(self.values[p.name]),
                    "unit": p.unit,
                    "standard_error": finite_or_none(self.standard_errors[p.name]),
                }
                for p in self.law.parameters
            },
            "objective": self.objective,
            "n_points": self.n_points,
            "n_starts": self.n_starts,
            "n_starts_agreeing": self.n_starts_agreeing,
            "warnings": list(self.warnings),
            **self.extra,
        }


def finite_or_none(value: float) -> float | None:
    """Return the value, or None where JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def columns_of(theta_KP: Array) -> Sequence[Array]:
    """Return each parameter as a (K, 1) column, ready to broadcast against n rows."""
    return [theta_KP[..., i, None] for i in range(theta_KP.shape[-1])]
