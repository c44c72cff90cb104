"""How far measured losses lie from what the shipped model predicts: asked by `ncpl-data submit`.

JSON lines in, each the columns of one run with its final loss; JSON lines out, each a prediction
and the distance, or why there is none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ncpl.bundles import load
from ncpl.data.consistency import checked
from ncpl.data.fields import KNOWN
from ncpl.data.snapshot import FAMILY_FIELDS
from ncpl.errors import ConfigError


def answers(runs: Iterable[Mapping[str, Any]], bundle: Any) -> Iterator[dict[str, Any]]:
    """Yield for each run its prediction and distance, or `refused` with the reason."""
    for run in runs:
        try:
            yield answer(run, bundle)
        except ConfigError as error:
            yield {"run_id": run["run_id"], "refused": str(error)}


def answer(run: Mapping[str, Any], bundle: Any) -> dict[str, Any]:
    """Return the prediction of one run and how far its loss lies from it.

    Raises ConfigError for a run whose losses no family of the bundle compares with, or that the
    model refuses.
    """
    source = comparable(run, bundle)
    if source is None:
        raise ConfigError("its losses compare with none that the shipped model knows")
    config = {k: v for k, v in run.items() if k in KNOWN} | {"source": source}
    (prediction,) = bundle.predict([checked(config, where=run["run_id"])])
    half = (prediction.high - prediction.low) / 2
    loss = float(run["final_loss"])
    return {
        "run_id": run["run_id"],
        "loss": loss,
        "predicted": prediction.loss,
        "low": prediction.low,
        "high": prediction.high,
        "half_widths": (loss - prediction.loss) / half,
    }


def comparable(run: Mapping[str, Any], bundle: Any) -> str | None:
    """Return the source whose losses those of a run compare with, as far as it says."""
    for fit in bundle.fits:
        known = dict(zip(FAMILY_FIELDS, fit.family, strict=True))
        parts = [name for name in FAMILY_FIELDS if name != "source"]
        if all(run.get(name) in (None, "", known[name]) or not known[name] for name in parts):
            return str(known["source"])
    return None


def main() -> None:
    """Answer for the runs on standard input."""
    runs = [json.loads(line) for line in sys.stdin if line.strip()]
    for found in answers(runs, load()):
        sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
