"""What a log's columns say of the schedule: peak rate, batch, tokens, what is left unsaid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ncpl_data.ingest.importers.spelling import flattened, is_finite, number_of

if TYPE_CHECKING:
    from ncpl_data.ingest.importers.base import Draft

TRAIN_STEPS, TRAIN_TOKENS = "/schedule/train_steps", "/schedule/train_tokens"
SEQUENCE_LENGTH, BATCH = "/schedule/sequence_length", "/schedule/batch_size_sequences"
RATES = ("train/learning_rate", "train/lr", "learning_rate", "learning-rate", "lr")
EARLY_STEPS, EARLY_SHARE = 200, 0.05
"""Steps, and share of the run, within which the first rate of a log is one of the run's start."""

TOKENS_TOLERANCE = 0.02
"""Relative. Between tokens as printed (three digits) and batch x sequence x step."""


def derive_schedule(draft: Draft) -> None:
    """State what follows from what is stated: the peak rate, the tokens of the whole run."""
    peak_rate(draft)
    end_rate(draft)
    printed_tokens(draft)
    factors = [draft.get(pointer) for pointer in (BATCH, SEQUENCE_LENGTH, TRAIN_STEPS)]
    if all(is_finite(factor) and factor for factor in factors):
        rule = {"kind": "derived", "rule": "batch x sequence x steps"}
        draft.set(TRAIN_TOKENS, math.prod(factors), rule)


def peak_rate(draft: Draft) -> None:
    """State the largest logged rate as the peak, where the log goes beyond it.

    A rate that still rises at the end of the log has not reached its peak; a log that begins late
    does not show it.
    """
    if draft.get("/optimizer/learning_rate") is not None:
        return
    rates = next((draft.finite(m) for m in RATES if draft.finite(m)), {})
    peak = max(rates.values(), default=0.0)
    is_past = peak > 0 and sum(rate == peak for rate in rates.values()) > 1
    values = list(rates.values())
    is_past |= peak > 0 and len(values) > 2 and values.index(peak) not in (0, len(values) - 1)
    # Without a warm-up in sight the log has to begin with the run.
    begins = next(iter(rates), 0) <= max(EARLY_STEPS, EARLY_SHARE * (draft.get(TRAIN_STEPS) or 0))
    is_past &= begins or (bool(values) and values[0] < peak)
    if is_past and values[-1] <= peak:
        rule = {"kind": "derived", "rule": "largest rate of the log"}
        draft.set("/optimizer/learning_rate", peak, rule)


def end_rate(draft: Draft) -> None:
    """Withdraw a lowest rate that the run does not reach: Megatron's decay may go on beyond it."""
    decay = number_of(flattened(draft.raw_config).get("lr_decay_iters"))
    steps = draft.get(TRAIN_STEPS)
    if is_finite(decay) and steps and decay > 1.01 * steps:
        if draft.get("/schedule/min_learning_rate") is not None:
            draft.note(
                f"{draft.where}: the rate decays over {decay:,} steps and the run has {steps:,}: "
                "min_lr is not its rate at the end and was left out"
            )
        draft.withdraw("/schedule/min_learning_rate")


def printed_tokens(draft: Draft) -> None:
    """State the tokens of the whole run as the log prints them; they beat a product.

    A batch that contradicts them is left out: it was that of one device.
    """
    kept = {s: t for s, t in draft.tokens.items() if s > 0 and t > 0}
    if not kept:
        return
    last = max(kept)
    tokens, steps = kept[last], draft.get(TRAIN_STEPS)
    batch, length = draft.get(BATCH), draft.get(SEQUENCE_LENGTH)
    if batch and length:
        product = batch * length * last
        if abs(tokens / product - 1) > TOKENS_TOLERANCE and last > 10:
            draft.note(
                f"{draft.where}: {tokens:,} tokens were logged at step {last:,}; batch {batch:,} x "
                f"sequence {length:,} x steps would be {product:,}. The batch was left out"
            )
            draft.withdraw(BATCH)
        else:
            return  # they agree: the product has all its digits
    final = max(max(p) for p in draft.points.values()) if draft.points else last
    if steps and last >= steps - 1 and final <= steps + 1:
        rule = {"kind": "derived", "rule": f"tokens the log prints at step {last}"}
        draft.set(TRAIN_TOKENS, tokens, rule)
    per_step = tokens / last
    is_exact = all(t == per_step * s for s, t in kept.items()) and len(kept) > 1
    if is_exact and per_step == int(per_step):
        if length and int(per_step) % length == 0:
            rule = {"kind": "derived", "rule": "tokens a step as logged / sequence length"}
            draft.set(BATCH, int(per_step) // length, rule)
        if steps:
            rule = {"kind": "derived", "rule": "tokens a step as logged x steps"}
            draft.set(TRAIN_TOKENS, int(per_step) * steps, rule)
