"""How far the losses of runs lie from what the shipped model predicts, in half widths.

The model is another package, which may not be installed, and which this one never imports: it is
asked as a program, once for all runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl_data.catalog.record import Run

PROGRAM = ("-m", "ncpl.commands.told")
"""What is run: JSON lines in, JSON lines out."""

LIMIT_SECONDS = 300
FAR = 2.0
"""Half widths of a 90% interval. One run in a thousand lies further off by chance."""
MAX_SHOWN = 5

LEFT_OUT = frozenset(("curves", "evals", "origins", "raw_config", "metrics", "notes"))


@dataclass(frozen=True)
class Distance:
    """One measured loss beside its prediction."""

    run_id: str
    loss: float
    predicted: float
    low: float
    high: float
    half_widths: float
    """How many half widths of the 90% interval the loss lies above the prediction."""


@dataclass(frozen=True)
class Compared:
    """Losses beside predictions, or why there are none."""

    distances: tuple[Distance, ...] = ()
    refused: Mapping[str, str] | None = None
    """Why the model does not answer, by run."""
    failed: str | None = None
    """Why the model could not be asked at all."""

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        return {
            "distances": [vars(one) for one in self.distances],
            "refused": dict(self.refused or {}),
            "failed": self.failed,
        }

    def lines(self) -> list[str]:
        """Return the comparison as text."""
        if self.failed is not None:
            return [f"not compared with the shipped model: {self.failed}"]
        lines = []
        if self.distances:
            far = sorted(
                (d for d in self.distances if abs(d.half_widths) > FAR),
                key=lambda d: -abs(d.half_widths),
            )
            lines.append(
                f"beside the shipped model: {len(self.distances) - len(far):,} losses within "
                f"{FAR:g} half widths of its prediction, {len(far):,} further off"
            )
            lines += [
                f"  {d.run_id}: {d.loss:.4f}, predicted {d.predicted:.4f} "
                f"({d.half_widths:+.1f} half widths)"
                for d in far[:MAX_SHOWN]
            ]
        if self.refused:
            first = next(iter(self.refused.items()))
            lines.append(
                f"it does not answer for {len(self.refused):,}, such as {first[0]}: {first[1]}"
            )
        return lines


def compared(runs: Sequence[Run]) -> Compared | None:
    """Return how far the losses of runs lie from their predictions; None without a run to ask."""
    asked = [run for run in runs if run.final_loss is not None]
    if not asked:
        return None
    lines = "".join(json.dumps(question(run), default=str) + "\n" for run in asked)
    try:
        done = subprocess.run(  # our own interpreter, no shell
            [sys.executable, *PROGRAM],
            input=lines,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
            check=True,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return Compared(failed=said[-1][:200] if said else f"it left with {error.returncode}")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return Compared(failed=f"{type(error).__name__}: {str(error)[:200]}")
    refused = {a["run_id"]: a["refused"] for a in answers if "refused" in a}
    found = tuple(Distance(**a) for a in answers if "refused" not in a)
    return Compared(found, refused)


def question(run: Run) -> dict[str, Any]:
    """Return the values of a run that the model is told."""
    stated = {name: value for name, value in vars(run).items() if name not in LEFT_OUT}
    return {name: value for name, value in stated.items() if value is not None}
