"""The bundle as data for the page, which runs its forward pass itself."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ncpl.model.bundle import Bundle
    from ncpl.model.ensemble import Fit

KINDS = {"f": ("f4", "f8"), "i": ("i4",), "b": ("i4",)}
"""Kinds of array, by NumPy's letter, as little-endian types the page can view without a copy."""
FREE = ("params_non_embedding", "learning_rate", "batch_size_sequences", "optimizer")
"""What the planning page moves, beside tokens; all else is that of a training run."""
NOT_CARRIED = frozenset(
    ("train_tokens", "nominal_train_tokens", "train_steps", "n_layers", "n_heads", "d_model",
     "d_ff", "warmup_steps", "min_learning_rate", "decay_steps", *FREE)
)  # fmt: skip
"""Fields of a training run that follow from what is moved."""


def model_data(bundle: Bundle) -> dict[str, Any]:
    """Return everything a forward pass needs: fields, fits, and their arrays as base64."""
    from ncpl.data.fields import EXTRA, FIELDS
    from ncpl.model.intervals import FACTORS

    content = bytearray()
    fits = [fit_data(fit, bundle.config.to_dict(), FACTORS, content) for fit in bundle.fits]
    fields = {
        name: {
            "kind": f.kind, "transform": f.transform, "centre": f.centre, "scale": f.scale,
            "unit": f.unit, "low": f.low, "high": None if math.isinf(f.high) else f.high,
        }
        for name, f in FIELDS.items()
    }  # fmt: skip
    return {
        "fields": fields,
        "extra": EXTRA,
        "snapshot": bundle.snapshot_id,
        "fits": fits,
        "arrays": base64.b64encode(bytes(content)).decode("ascii"),
    }


def fit_data(
    fit: Fit, config: Mapping[str, Any], factors: Mapping[str, float], content: bytearray
) -> dict[str, Any]:
    """Return one fit; its arrays are added to `content`, each entry [type, shape, offset]."""
    arrays = {}
    for name, array in fit.arrays().items():
        kind = KINDS[array.dtype.kind]
        wanted = kind[-1] if array.dtype.itemsize == 8 and len(kind) > 1 else kind[0]
        content += b"\0" * (-len(content) % 8)
        arrays[name] = [wanted, list(array.shape), len(content)]
        content += np.ascontiguousarray(array, dtype=f"<{wanted}").tobytes()
    return fit.entry() | {
        "n_layers": config["n_layers"],
        "n_heads": config["n_heads"],
        "width": config["width"],
        "residual_scale": config["residual_scale"],
        "process_share": config["process_share"] if fit.process is not None else 0.0,
        "has_curves": fit.heads is not None,
        "factors": {**factors, **fit.calibration},
        "constants": fit.encoder.constants,
        "arrays": arrays,
        "bases": bases(fit),
        "shapes": shapes(fit),
    }


def bases(fit: Fit) -> dict[str, dict[str, Any]]:
    """Return by optimizer the recipe of the training run lying lowest below the law.

    Of runs that state all a run of that optimizer has, so that nothing is drawn. `shares` are
    warm-up and decay in steps, and the final learning rate, as shares of run and peak.
    """
    from ncpl.data.fields import derive

    rows = [derive(config) for config in fit.known.configs]
    above = [
        loss - float(fit.baseline.predict(row["params_non_embedding"], row["data_tokens"]))
        for row, loss in zip(rows, fit.known.losses, strict=True)
    ]
    found: dict[str, dict[str, Any]] = {}
    for i in np.argsort(above, kind="stable").tolist():
        row, config = rows[i], fit.known.configs[i]
        name = str(row.get("optimizer") or "")
        if name in found or fit.completer([row]).missing[0]:
            continue
        shares = {
            "warmup_frac": row.get("warmup_frac"),
            "decay_frac": row["decay_frac"] if row.get("decay_steps") is not None else None,
            "final_rate_frac": None
            if row.get("min_learning_rate") is None
            else row["min_learning_rate"] / row["learning_rate"],
        }
        found[name] = {
            "run_id": fit.known.run_ids[i],
            "shares": shares,
            "config": {k: v for k, v in config.items() if k not in NOT_CARRIED},
            "start": {
                "params_non_embedding": row["params_non_embedding"],
                "train_tokens": row["data_tokens"],
                "learning_rate": row["learning_rate"],
                "batch_size_sequences": row["batch_size_sequences"],
            },
        }
    return dict(sorted(found.items()))


def shapes(fit: Fit) -> list[dict[str, Any]]:
    """Return the shape of each size in training: parameters, width, feed-forward width."""
    found = {
        config["params_non_embedding"]: config
        for config in fit.known.configs
        if config.get("params_non_embedding") and config.get("d_model") and config.get("d_ff")
    }
    names = ("params_non_embedding", "d_model", "d_ff")
    return [{name: found[size][name] for name in names} for size in sorted(found)]
