"""Packages that only some commands need, and the extra that brings each."""

from __future__ import annotations

EXTRAS = {
    "lightgbm": "bench",
    "matplotlib": "plot",
    "sklearn": "bench",
    "torch": "train",
    "transformers": "train",
}
"""From the name a package is imported by to the extra of `ncpl-data`."""


def lacking(error: ModuleNotFoundError) -> str | None:
    """Return what to install where a package of an extra is missing; None for any other."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    if extra is None:
        return None
    what = "training and fitting" if extra == "train" else "this"
    need = "need" if extra == "train" else "needs"
    return f"{package} is not installed, and {what} {need} it: pip install 'ncpl-data[{extra}]'"
