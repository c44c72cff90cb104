"""What the bundle says of the runs shown: loss, interval and the training runs most like each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ncpl_data.explore.pack import number

if TYPE_CHECKING:
    from ncpl.data.snapshot import Family
    from ncpl.model.bundle import Bundle, Prediction

SHARES = tuple(round(i / 24, 6) for i in range(1, 25))
NEAREST = 6
"""Training runs asked for beside each prediction; a run is not its own neighbour."""


def predictions_of(
    rows: Sequence[Mapping[str, Any]], bundle: Bundle | None
) -> dict[str, dict[str, Any]]:
    """Return predictions by run id, for runs whose losses compare with those of a fit.

    Each has `loss`, `low`, `high`, `near`: pairs of run id and distance, and `curve`: losses at
    SHARES of the run, empty where the bundle knows none. Runs the bundle refuses
    are left out: a mixture of experts, or a configuration that lacks its size.
    """
    if bundle is None:
        return {}
    from ncpl.data.fields import FIELDS
    from ncpl.data.unread import SILENT

    known = {*FIELDS, *SILENT}
    configs = {
        str(row["run_id"]): {k: v for k, v in row.items() if k in known and v is not None}
        | {"source": source}
        for row in rows
        if (source := source_of(row, [fit.family for fit in bundle.fits])) is not None
    }
    found = dict(predicted(bundle, configs))
    asked = [configs[run_id] for run_id in found]
    has_curves = all(fit.heads is not None for fit in bundle.fits)
    curves = bundle.curves(asked, SHARES).tolist() if has_curves else [[] for _ in asked]
    return {
        run_id: {
            "loss": told.loss,
            "low": told.low,
            "high": told.high,
            "near": [(k.run_id, k.distance) for k in told.nearest if k.run_id != run_id],
            "curve": [] if any(map(math.isnan, curve)) else [number(loss) for loss in curve],
        }
        for (run_id, told), curve in zip(found.items(), curves, strict=True)
    }


def source_of(row: Mapping[str, Any], fitted: Sequence[Family]) -> str | None:
    """Return the source whose fit a run's loss compares with; None where there is none.

    Copies of a run are of its family where data and tokenizer are stated; else a source is alone.
    """
    from ncpl.data.snapshot import FAMILY_FIELDS

    own, *rest = (str(row.get(name) or "") for name in FAMILY_FIELDS)
    for source, *same in fitted:
        is_told = bool(same[1] and same[2])
        if rest == same and (own == source or is_told):
            return source
    return None


def predicted(
    bundle: Bundle, configs: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, Prediction]]:
    """Return ids and predictions of those configurations that the bundle answers for."""
    from ncpl.errors import ConfigError

    try:
        told = bundle.predict(list(configs.values()), nearest=NEAREST)
        return list(zip(configs, told, strict=True))
    except ConfigError:  # halve until the refused ones stand alone
        if len(configs) <= 1:
            return []
        ids = list(configs)
        parts = ids[: len(ids) // 2], ids[len(ids) // 2 :]
        return [
            pair
            for part in parts
            for pair in predicted(bundle, {run_id: configs[run_id] for run_id in part})
        ]
