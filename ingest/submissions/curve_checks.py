"""Whether losses and curves are possible, in a known unit, and agree with the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import lt

from ncpl_data.ingest.submissions.sections import TOKENS_TOLERANCE, Section, section, tokens_hint
from ncpl_data.schema.validate import Problem

CURVE_TOLERANCE = 0.05
"""Relative. Between final_loss and the end of its curve; logs stop a few steps early."""

FLOORS = {
    "nats_per_token": 0.05,
    "bits_per_token": 0.07,
    "bits_per_byte": 0.02,
    "perplexity": 1.05,
    "accuracy": 0.0,
}
"""The least loss of a model that was pretrained, by unit. No published one is near it: what lies
below was not measured, or is of another task."""


def check_loss(document: Section) -> Iterator[Problem]:
    """A loss names its metric and unit, and is possible in that unit."""
    outcome = section(document, "outcome")
    loss = outcome.get("final_loss")
    units = {m["name"]: m["unit"] for m in outcome.get("metrics") or ()}
    name, unit = outcome.get("final_loss_metric"), outcome.get("final_loss_unit")
    if loss is not None:
        for field, value in (("final_loss_metric", name), ("final_loss_unit", unit)):
            if value is None:
                yield Problem(
                    f"/outcome/{field}",
                    "unit",
                    "nothing, beside a final_loss",
                    "the metric's name and its unit",
                    "Losses compare only where both are known.",
                )
    if unit and units.get(name, unit) != unit:
        yield Problem(
            "/outcome/final_loss_unit", "unit", f"{unit}; metrics says {units[name]}", "one unit"
        )
    if loss is not None and unit:
        vocabulary = section(document, "model").get("vocab_size")
        yield from check_loss_value(loss, unit, vocabulary, outcome.get("status"))


def check_loss_value(
    loss: float, unit: str, vocabulary: int | None, status: str | None
) -> Iterator[Problem]:
    """A loss is above the least of its unit and, for a finished run, below a blind guess."""
    lowest = FLOORS.get(unit, 0.0)
    highest, why = math.inf, ""
    if unit == "accuracy":
        highest, why = 1.0, "accuracy is a share; divide a percentage by 100."
    elif status == "finished" and unit == "bits_per_byte":
        highest, why = 8.5, "8 bits a byte is a blind guess; are these nats per token?"
    elif status == "finished" and vocabulary:
        guess = math.log(vocabulary)
        why = f"a blind guess over {vocabulary:,} tokens is {guess:.2f} nats; is it a perplexity?"
        if unit == "nats_per_token":
            highest = guess + 1
        elif unit == "bits_per_token":
            highest = (guess + 1) / math.log(2)
        elif unit == "perplexity":
            highest, why = 3.0 * vocabulary, "above a blind guess."
    if unit not in ("normalized", "other") and loss < lowest:
        hint = "A log prints zero where the loss was not a number, or was not measured."
        yield Problem(
            "/outcome/final_loss",
            "loss",
            f"{loss:g} {unit}",
            f"at least {lowest:g}",
            hint if loss == 0 and lowest > 0 else None,
        )
    elif loss > highest:
        yield Problem(
            "/outcome/final_loss",
            "loss",
            f"{loss:g} {unit}",
            f"at most {highest:.4g}",
            why[0].upper() + why[1:],
        )


def check_curves(document: Section) -> Iterator[Problem]:
    """Curves have as many values as steps, increasing steps, finite values and a known unit."""
    curves = document.get("curves")
    if not isinstance(curves, list):
        return
    outcome = section(document, "outcome")
    final_metric = outcome.get("final_loss_metric")
    declared = {m["name"] for m in outcome.get("metrics") or ()}
    seen: set[str] = set()
    for number, curve in enumerate(curves):
        pointer, metric = f"/curves/{number}", curve["metric"]
        if metric in seen:
            yield Problem(f"{pointer}/metric", "duplicate", f"{metric} again", "each metric once")
        seen.add(metric)
        if metric not in declared and metric != final_metric:
            yield Problem(
                f"{pointer}/metric",
                "unit",
                f"{metric}, which outcome.metrics does not declare",
                "its name and unit in outcome.metrics",
                f'Add {{"name": "{metric}", "unit": "nats_per_token"}}, or the unit it has.',
            )
        if not has_sound_points(curve):
            broken = list(check_points(curve, pointer))
            yield from broken
            if broken:
                continue
        yield from check_reach(document, curve, pointer)
        if metric == final_metric:
            yield from check_end(document, curve, curve["step"])


def has_sound_points(curve: Section) -> bool:
    """Return whether `check_points` surely finds nothing; as quick as it gets for one curve."""
    steps, values, tokens = curve["step"], curve["value"], curve.get("tokens")
    return (
        len(values) == len(steps)
        and all(map(lt, steps, steps[1:]))
        and math.isfinite(sum(values))
        and (tokens is None or (len(tokens) == len(steps) and all(map(lt, tokens, tokens[1:]))))
    )


def check_points(curve: Section, pointer: str) -> Iterator[Problem]:
    """The columns of a curve are equally long; steps and tokens increase; values are finite."""
    steps, values, tokens = curve["step"], curve["value"], curve.get("tokens")
    for name, column in (("value", values), ("tokens", tokens)):
        if column is not None and len(column) != len(steps):
            yield Problem(
                f"{pointer}/{name}",
                "points",
                f"{len(column):,} for {len(steps):,} steps",
                "one for each step",
            )
    for name, column in (("step", steps), ("tokens", tokens)):
        if column is not None and not all(map(lt, column, column[1:])):
            at = next(i for i in range(1, len(column)) if column[i] <= column[i - 1])
            yield Problem(
                f"{pointer}/{name}/{at}",
                "steps",
                f"{column[at]} after {column[at - 1]}",
                "increasing values",
                "A log that was resumed repeats steps: keep the later ones."
                if name == "step"
                else None,
            )
    if not math.isfinite(sum(values)):
        infinite = [i for i, value in enumerate(values) if not math.isfinite(value)]
        for first in infinite[:1]:
            yield Problem(
                f"{pointer}/value/{first}",
                "number",
                str(values[first]),
                "a finite number",
                "Leave out points without a value; status says how the run ended.",
            )


def check_reach(document: Section, curve: Section, pointer: str) -> Iterator[Problem]:
    """A curve ends with the run, and its tokens are those of its steps."""
    schedule = section(document, "schedule")
    steps, tokens = curve["step"], curve.get("tokens")
    planned = schedule.get("train_steps")
    start = document.get("branch_step") or 0
    if planned and steps[-1] > planned + start + 1:
        yield Problem(
            f"{pointer}/step/{len(steps) - 1}",
            "steps",
            f"step {steps[-1]:,} of {planned + start:,}",
            f"at most {planned + start:,}",
            "Are these tokens or samples rather than optimizer steps?",
        )
    batch, sequence = schedule.get("batch_size_sequences"), schedule.get("sequence_length")
    if not tokens or not batch or not sequence or start or schedule.get("batch_ramp"):
        return
    per_step = batch * sequence
    product = per_step * steps[-1]
    if abs(tokens[-1] - product) > max(TOKENS_TOLERANCE * product, 1.5 * per_step):
        yield Problem(
            f"{pointer}/tokens/{len(tokens) - 1}",
            "tokens",
            f"{tokens[-1]:,} at step {steps[-1]:,}",
            f"about {product:,}, batch x sequence x step",
            tokens_hint(tokens[-1] / product, sequence) if product else None,
        )


def check_end(document: Section, curve: Section, steps: list[int]) -> Iterator[Problem]:
    """The final loss is where its own curve ends, if the curve goes to the end."""
    outcome = section(document, "outcome")
    loss, last = outcome.get("final_loss"), curve["value"][-1]
    end = outcome.get("final_step") or section(document, "schedule").get("train_steps")
    if loss is None or not end or steps[-1] < 0.99 * end or outcome.get("status") != "finished":
        return
    if abs(loss - last) > CURVE_TOLERANCE * max(abs(loss), abs(last)):
        yield Problem(
            "/outcome/final_loss",
            "loss",
            f"{loss:g}; its curve ends at {last:g}",
            "the end of the curve of final_loss_metric",
        )
