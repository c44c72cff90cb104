"""What a run starts from: nothing, a run of the catalog, or weights of elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ncpl_data.ingest.submissions.sections import Section, section
from ncpl_data.schema.validate import Problem

FRESH = "random"
"""What `initial_weights` says of a run that started from no checkpoint."""

EARLY_FRAC = 0.002
EARLY_STEPS = 5
"""A point is one of the start up to this step, or this share of the run."""

LOW_FRAC = 0.6
"""Of a blind guess. A fresh model begins at the guess and is above this for tens of steps."""

FLAT_FACTOR = 1.25
"""A fresh model more than halves its loss; one that begins within this factor of its end did not
start fresh."""

MIN_POINTS = 8
"""Points of a curve that has a course; a log of fewer is a test of somebody's set-up."""

NATS = {"nats_per_token": 1.0, "bits_per_token": math.log(2)}
"""Nats in one of the units whose fresh loss the vocabulary tells."""


def check_start(document: Section) -> Iterator[Problem]:
    """What a run starts from is said once: a parent, weights of elsewhere, or nothing."""
    parent, weights = document.get("parent_run_id"), document.get("initial_weights")
    step = document.get("branch_step")
    if step is not None and not parent and weights in (None, FRESH):
        yield Problem(
            "/branch_step",
            "lineage",
            "a step but no checkpoint it is of",
            "parent_run_id or initial_weights beside it",
            "initial_weights names a checkpoint that is no run of the catalog.",
        )
    if parent and weights:
        yield Problem(
            "/initial_weights",
            "lineage",
            f'"{weights}" beside the parent_run_id "{parent}"',
            "one of the two",
            "A run that continues one of the catalog has parent_run_id and branch_step.",
        )
    if weights == FRESH and document.get("stage") not in (None, "pretrain"):
        yield Problem(
            "/initial_weights",
            "lineage",
            f'"{FRESH}" for a run of stage {document["stage"]}',
            "the checkpoint it starts from",
        )


def check_first_loss(document: Section) -> Iterator[Problem]:
    """A run that says nothing of its start begins with the loss of a fresh model."""
    named = document.get("parent_run_id") or document.get("initial_weights")
    if named or document.get("stage") not in (None, "pretrain"):
        return
    curves = document.get("curves")
    if not isinstance(curves, list):
        return
    outcome = section(document, "outcome")
    units = {m["name"]: m["unit"] for m in outcome.get("metrics") or ()}
    units.setdefault(outcome.get("final_loss_metric") or "", outcome.get("final_loss_unit") or "")
    vocabulary = section(document, "model").get("vocab_size")
    steps = section(document, "schedule").get("train_steps") or outcome.get("final_step") or 0
    for number, curve in enumerate(curves):
        factor = NATS.get(units.get(curve["metric"], ""))
        if factor is None or not curve["step"] or not curve["value"]:
            continue
        step, first, last = curve["step"][0], curve["value"][0], curve["value"][-1]
        if step > max(EARLY_STEPS, EARLY_FRAC * steps) or len(curve["step"]) < MIN_POINTS:
            continue
        guess = math.log(vocabulary) / factor if vocabulary else None
        # Without a vocabulary only a curve that hardly falls tells that it did not start fresh.
        is_low = first < LOW_FRAC * guess if guess else 0 < last <= first < FLAT_FACTOR * last
        if is_low:
            fresh = f"about {guess:.3g}, a blind guess" if guess else "a loss far above its end"
            yield Problem(
                f"/curves/{number}/value/0",
                "lineage",
                f"{first:.4g} at step {step:,}; it ends at {last:.4g}",
                f"{fresh}, or what the run starts from",
                "From a checkpoint? State parent_run_id and branch_step, or initial_weights with "
                f'its name. Started fresh all the same? State initial_weights: "{FRESH}".',
            )
            return
