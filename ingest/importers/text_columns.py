"""What the lines of a log state beside their metrics: planned steps, batch, tokens, samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from ncpl_data.ingest.importers.base import BATCH, SEQUENCE_LENGTH, TRAIN_STEPS, Draft

PLANNED = "of"


@dataclass
class Columns:
    """Statements of lines, with their place: those of another launch are not the run's."""

    said: list[tuple[str, int, int, float]] = field(default_factory=list)
    """(name, place, step, value)."""

    def say(self, name: str, place: int, step: int, value: float) -> None:
        """Keep a statement."""
        self.said.append((name, place, step, value))

    def of_run(self, name: str, draft: Draft) -> dict[int, float]:
        """Return what the lines of the run itself say, by step; the later line stands."""
        end = draft.ends_before
        first = draft.starts_at
        return {
            step: value
            for own, place, step, value in self.said
            if own == name and place >= first and (end is None or place < end)
        }

    def state_planned(self, draft: Draft) -> None:
        """State the planned steps; of two plans the later stands."""
        planned = [int(v) for v in self.of_run(PLANNED, draft).values()]
        for first, later in pairwise(dict.fromkeys(planned)):
            draft.note(
                f"{draft.where}: {later:,} steps are planned after {first:,}; the later stand"
            )
        if planned:
            draft.set(TRAIN_STEPS, planned[-1])

    def state(self, draft: Draft) -> None:
        """State the batch, its ramp, the tokens of points, and iterations lost to NaN."""
        batches = {s: v for s, v in self.of_run("batch", draft).items() if v == int(v)}
        if batches and len(set(batches.values())) == 1:
            draft.set(BATCH, int(next(iter(batches.values()))))
        elif batches and draft.get(BATCH) is None:
            steps = sorted(batches)
            starts = [steps[0], *(b for a, b in pairwise(steps) if batches[a] != batches[b])]
            ramp = [{"step": s, "batch_size_sequences": int(batches[s])} for s in starts]
            draft.set("/schedule/batch_ramp", ramp)
        for step, tokens in self.of_run("tokens", draft).items():
            draft.tokens[step] = int(tokens)
        for step, tokens in self.of_run("tokens_before", draft).items():
            draft.tokens[step - 1] = int(tokens)
        length = draft.get(SEQUENCE_LENGTH)
        if length and not draft.tokens:
            for step, samples in self.of_run("samples", draft).items():
                draft.tokens[step] = int(samples) * length
        lost = self.of_run("nan", draft)
        last = max((max(points) for points in draft.points.values()), default=0)
        if lost and lost[max(lost)] > 0 and max(lost) == last:
            rule = {"kind": "derived", "rule": "iterations before the last line were NaN"}
            draft.values["/outcome/status"], draft.origins["/outcome/status"] = "diverged", rule
