"""NCPL: predict the loss of a pretraining run from its configuration.

import ncpl

bundle = ncpl.load()
told = bundle.predict([{"params_non_embedding": 3e8, "train_tokens": 1e10}])[0]
told.loss, told.low, told.high      # nats per token, 90% interval
bundle.curves([{"params_non_embedding": 3e8, "train_tokens": 1e10}], [0.1, 0.5, 1.0])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncpl.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ncpl.model.community import Community
    from ncpl.model.predictor import Loaded


__all__ = ["__version__", "adapt", "load"]


def load(
    path: Path | str | None = None, *, revision: str = "main", max_bytes: int | None = None
) -> Loaded:
    """Return the bundle of a folder or a hub repository, or the one that ships with the package.

    ncpl.load()                                        # the shipped one
    ncpl.load("runs/ncpl")                             # of ncpl-train
    ncpl.load("owner/repo", revision=COMMIT)           # of a model repository, pinned
    ncpl.load("runs/ncpl").push_to_hub("owner/repo")

    Nothing that is loaded is run: safetensors, Parquet and JSON, each held against SHA256SUMS.
    Raises BundleError for a folder or repository without a whole bundle, or beyond `max_bytes`.
    """
    from ncpl.bundles import load as load_bundle

    return load_bundle(path, revision=revision, max_bytes=max_bytes)


def adapt(runs: Sequence[Mapping[str, Any]], path: Path | str | None = None) -> Community:
    """Return a bundle of one family: that of these runs, each a configuration with `final_loss`."""
    from ncpl.bundles import adapt as adapt_bundle

    return adapt_bundle(runs, path)
