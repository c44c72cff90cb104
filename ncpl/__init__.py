"""NCPL: predict the loss of a pretraining run from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ncpl.model.bundle import Bundle

__version__ = "0.1.0"


def load(path: Path | str | None = None) -> Bundle:
    """Return the bundle of a folder, or the one that ships with the package."""
    from ncpl.model.bundle import load as load_bundle

    return load_bundle(path)
