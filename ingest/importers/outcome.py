"""How a run ended: its metrics and their units, whether it diverged, its final loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.spelling import (
    is_evaluation,
    is_loss,
    metric_name,
    split_of,
    unit_of,
)
from ncpl_data.ingest.importers.task import establish_logarithm, establish_task

if TYPE_CHECKING:
    from ncpl_data.ingest.importers.base import Draft

PRIMARY = (
    *("eval/loss", "validation/loss", "val/loss", "valid/loss", "eval_loss", "val_loss"),
    *("valid_loss", "validation_loss", "lm_loss_validation", "Loss/val", "loss/val"),
    *("loss/validation", "validation/bpb", "val/bpb", "val_bpb"),
)
"""Losses on held-out data, the most telling first."""

PRIMARY_LAST = (
    *("train/loss_smoothed", "train/loss", "train_loss", "train/cross_entropy_loss"),
    *("train/CE_loss", "train/CrossEntropyLoss", "lm_loss", "Loss/train", "loss/train", "loss"),
)
"""Losses of training batches, for a run without another."""

ENDS_WITHIN = 0.2
"""A held-out loss that ends as NaN within this share of the run's end is the run's end."""

FAR_FROM_END = 0.9
"""A final loss before this share of the run is told with its step."""


class Ending:
    """What the points of a draft say about its end."""

    def __init__(self, draft: Draft, primary: tuple[str, ...]) -> None:
        """Look at a draft whose history is settled; its metrics come to stand in it."""
        self.draft = draft
        self.primary = primary
        restore_filtered_nans(draft)
        self.last_step = max((max(p) for p in draft.points.values()), default=0)
        for metric in draft.points:
            entry = draft.metrics.setdefault(metric, {"name": metric})
            unit = draft.options.units.get(metric)
            entry["unit"] = unit or entry.get("unit") or unit_of(metric)
            if split := split_of(metric):
                entry.setdefault("split", split)
        establish_logarithm(draft)
        establish_task(draft)

    def state(self) -> None:
        """State the status where the run diverged, else the final loss, and the last step."""
        draft = self.draft
        chosen = self.chosen()
        lost = self.lost_metric()
        if lost is not None:
            rule = {"kind": "derived", "rule": f"{lost} ends as NaN or infinite"}
            draft.values["/outcome/status"], draft.origins["/outcome/status"] = "diverged", rule
        elif chosen is None or draft.get("/outcome/status") == "diverged":
            pass
        elif draft.finite(chosen):
            self.state_loss(chosen)
        self.tell_gaps()
        if draft.points and draft.get("/outcome/final_step") is None:
            rule = {"kind": "derived", "rule": "last step"}
            draft.set("/outcome/final_step", self.last_step, rule)

    def state_loss(self, chosen: str) -> None:
        """State the final loss.

        Raises InputError for a loss no language model has.
        """
        draft = self.draft
        points = draft.finite(chosen)
        last = max(points)
        unit = draft.metrics[chosen]["unit"]
        lowest = {"perplexity": 1.0}.get(unit, 0.0)
        if is_loss(chosen) and points[last] <= lowest:
            raise InputError(
                f"{draft.where}: {chosen} ends at {points[last]:g} at step {last}: no language "
                f"model has a loss of {lowest:g} or less. If the run diverged: "
                "--set /outcome/status=diverged and leave its loss out; if this is another loss: "
                "--metric NAME"
            )
        rule = {"kind": "derived", "rule": f"last value of {chosen}"}
        draft.set("/outcome/final_loss", points[last], rule)
        draft.set("/outcome/final_loss_metric", chosen, "declared")
        draft.set("/outcome/final_loss_unit", unit, "declared")
        if last < FAR_FROM_END * self.last_step:
            draft.note(
                f"{draft.where}: {chosen} was last logged at step {last} of {self.last_step}: "
                "that is the final loss stated"
            )

    def chosen(self) -> str | None:
        """Return the metric whose end is the final loss, None if no loss was logged.

        Raises InputError if the user names one that was not logged.
        """
        draft, points = self.draft, self.draft.points
        if draft.options.metric:
            wanted = metric_name(draft.options.metric)
            if wanted not in points:
                raise InputError(
                    f'{draft.where}: no metric "{wanted}" was logged; there are: '
                    f"{', '.join(sorted(points))}"
                )
            return wanted
        early: list[str] = []
        for name in (*self.primary, *PRIMARY):
            if name in points and not self.reaches_end(name):
                early.append(name)
            elif name in points:
                return name
        losses = [m for m in points if is_loss(m) and draft.metrics[m]["unit"] != "perplexity"]
        held_out = [m for m in losses if is_evaluation(m) and split_of(m) != "test"]
        held_out = [m for m in held_out if self.reaches_end(m)]
        if len(held_out) == 1:
            return held_out[0]
        found = next((m for m in PRIMARY_LAST if m in points and m not in early), None)
        trained = [m for m in losses if not is_evaluation(m)]
        if found is None and len(trained) == 1:
            found = trained[0]
        if early and found:
            draft.note(
                f"{draft.where}: {early[0]} was last logged at step {max(points[early[0]])} of "
                f"{self.last_step}: that is no end. {found} is the final loss stated"
            )
        elif early:
            found = early[0]
        if held_out and found:
            draft.note(
                f"{draft.where}: there are several held-out losses ({', '.join(held_out[:5])}); "
                f"{found} is the final loss stated. Choose with --metric"
            )
        elif found is None and len(trained) > 1:
            draft.note(
                f"{draft.where}: which of {', '.join(trained[:5])} is the loss? --metric NAME"
            )
        return found

    def reaches_end(self, metric: str) -> bool:
        """Return whether a metric was still logged in the later half of the run."""
        return max(self.draft.points[metric], default=0) >= self.last_step / 2

    def lost_metric(self) -> str | None:
        """Return a loss, of training or held-out data, that ends as NaN or infinite."""
        for metric, points in self.draft.points.items():
            if not is_loss(metric) or not points:
                continue
            last = max(points)
            is_end = last >= (1 - ENDS_WITHIN) * self.last_step or not is_evaluation(metric)
            if not math.isfinite(points[last]) and is_end:
                return metric
        return None

    def tell_gaps(self) -> None:
        """Tell of losses that were NaN on the way."""
        for metric, points in self.draft.points.items():
            lost = sorted(step for step, value in points.items() if not math.isfinite(value))
            if lost and is_loss(metric) and self.draft.finite(metric) and lost[-1] != max(points):
                self.draft.note(
                    f"{self.draft.where}: {metric} is NaN or infinite at {len(lost):,} steps, "
                    f"first at {lost[0]}, and the run went on; these are no points of its curve"
                )


def restore_filtered_nans(draft: Draft) -> None:
    """Make a loss of 0.0 beside a gradient that is NaN the NaN it was.

    The Trainer filters losses that are NaN or infinite out of its mean (`logging_nan_inf_filter`).
    """
    for metric, points in draft.points.items():
        if is_loss(metric) and not is_evaluation(metric):
            losses = {step for step, value in points.items() if value != 0}
            for step in points.keys() - losses:
                if losses and step < max(losses):
                    points[step] = math.nan  # it went on: what stands there is no loss
    gradients = [p for m, p in draft.points.items() if "grad" in m.lower() and "norm" in m.lower()]
    lost = {s for points in gradients for s, v in points.items() if not math.isfinite(v)}
    for metric, points in draft.points.items():
        if is_loss(metric) and not is_evaluation(metric):
            for step in lost & points.keys():
                if points[step] == 0:
                    points[step] = math.nan
