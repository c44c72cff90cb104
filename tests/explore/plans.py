"""What the planning page predicts, beside what Python does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ncpl

Look = Callable[..., None]


def plan_of(browser: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration on the planning page and what the page predicts for it."""
    config, found = browser.execute_script(
        "const p = NCPL.plan, c = NCPL.model.configOf(p.fit, p.optimizer, p.moved);"
        "const f = p.fit.predict(c, [0.1, 0.5, 1]);"
        "return [c, {loss: f.loss, low: f.low, high: f.high, curve: f.curve}]"
    )
    return config, found


def assert_python_agrees(config: dict[str, Any], found: dict[str, Any]) -> None:
    bundle: Any = ncpl.load()
    (told,) = bundle.predict([config])
    for name in ("loss", "low", "high"):
        assert found[name] == pytest.approx(getattr(told, name), abs=1e-5), name
    curve = bundle.curves([config], [0.1, 0.5, 1.0])[0].tolist()
    assert found["curve"] == pytest.approx(curve, abs=1e-5)
