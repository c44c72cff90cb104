"""NCPL: predict the loss of a pretraining run from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ncpl.version import __version__

if TYPE_CHECKING:
    from ncpl.model.predictor import Predictor


__all__ = ["__version__", "load"]


def load(path: Path | str | None = None) -> Predictor:
    """Return the bundle of a folder, or the one that ships with the package."""
    from ncpl.bundles import load as load_bundle

    return load_bundle(path)
