"""NCPL: predict the loss of a pretraining run from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncpl.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ncpl.model.community import Community
    from ncpl.model.predictor import Predictor


__all__ = ["__version__", "adapt", "load"]


def load(path: Path | str | None = None) -> Predictor:
    """Return the bundle of a folder, or the one that ships with the package."""
    from ncpl.bundles import load as load_bundle

    return load_bundle(path)


def adapt(runs: Sequence[Mapping[str, Any]], path: Path | str | None = None) -> Community:
    """Return a bundle of one family: that of these runs, each a configuration with `final_loss`."""
    from ncpl.bundles import adapt as adapt_bundle

    return adapt_bundle(runs, path)
