"""What the schema can not see: whether the values of one run agree with each other.

Each check takes a document that satisfies the schema and yields what contradicts what. A value
that is absent contradicts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from operator import lt
from typing import Any

from ncpl_data.ingest.secrets import secret_places
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.validate import Problem, escape, nearest

Section = Mapping[str, Any]
NOTHING: Section = {}

TOKENS_TOLERANCE = 0.01
"""Relative. A last partial batch and rounding stay below it."""

CURVE_TOLERANCE = 0.05
"""Relative. Between final_loss and the end of its curve; logs stop a few steps early."""

SHAPE_FACTOR = 2.0
"""A stated parameter count may differ from the one the shape gives by this factor."""

LARGEST_STEP = 1 << 28
"""Tokens. No published run takes more in one optimizer step; a batch given in tokens does."""

SMALLEST_MODEL = 1_000
"""Parameters. Below it the count was given in millions or billions."""


def section(document: Section, name: str) -> Section:
    """Return one section of a document, empty if absent."""
    return document.get(name) or NOTHING


def check_run(document: Section) -> list[Problem]:
    """Return every contradiction inside one document that satisfies the schema."""
    return [problem for check in CHECKS for problem in check(document)]


def check_identity(document: Section) -> Iterator[Problem]:
    """The source is the first part of the id; a run is not its own parent or twin."""
    run_id, source = document["run_id"], document["source"]
    if not run_id.startswith(f"{source}/"):
        yield Problem(
            "/source",
            "identity",
            f'source "{source}" and run_id "{run_id}"',
            f'a run_id that starts with "{source}/"',
        )
    if document.get("parent_run_id") == run_id:
        yield Problem("/parent_run_id", "lineage", "the run itself", "another run")
    if document.get("branch_step") is not None and not document.get("parent_run_id"):
        yield Problem("/branch_step", "lineage", "a step but no parent_run_id", "both or neither")
    if run_id in (document.get("same_as") or ()):
        yield Problem("/same_as", "lineage", "the run itself", "the run's name in other sources")


def check_tokens(document: Section) -> Iterator[Problem]:
    """The tokens are batch x sequence x steps."""
    schedule = section(document, "schedule")
    tokens, sequence = schedule.get("train_tokens"), schedule.get("sequence_length")
    batch, steps = schedule.get("batch_size_sequences"), schedule.get("train_steps")
    ramp = schedule.get("batch_ramp")
    nominal = schedule.get("nominal_train_tokens")
    if tokens and nominal and not 0.5 <= nominal / tokens <= 2:
        yield Problem(
            "/schedule/nominal_train_tokens",
            "tokens",
            f"{nominal:,} beside train_tokens {tokens:,}",
            "the same budget up to rounding",
            "Tokens are counted one by one, not in millions or billions.",
        )
    if batch and sequence and batch * sequence >= LARGEST_STEP:
        yield Problem(
            "/schedule/batch_size_sequences",
            "unit",
            f"{batch:,} sequences of {sequence:,} tokens in one step",
            f"fewer than {LARGEST_STEP:,} tokens in one step",
            "The batch seems to be given in tokens: divide it by sequence_length.",
        )
        return
    if not (tokens and sequence and steps and (batch or ramp)):
        return
    sequences = ramp_sequences(ramp, steps) if ramp else batch * steps
    product = sequences * sequence
    one_step = (batch or 0) * sequence
    if abs(tokens - product) <= max(TOKENS_TOLERANCE * product, one_step):
        return
    yield Problem(
        "/schedule/train_tokens",
        "tokens",
        f"{tokens:,}; batch x sequence x steps is {product:,}",
        f"{product:,}",
        tokens_hint(tokens / product, sequence),
    )


def ramp_sequences(ramp: list[Section], steps: int) -> int:
    """Return the sequences of a whole run whose batch grows in stages."""
    starts = [entry["step"] for entry in ramp] + [steps]
    return sum(
        max(0, min(after, steps) - min(entry["step"], steps)) * entry["batch_size_sequences"]
        for entry, after in zip(ramp, starts[1:], strict=True)
    )


def tokens_hint(ratio: float, sequence: int) -> str | None:
    """Return what a wrong product most likely means."""
    if math.isclose(ratio * sequence, 1, rel_tol=TOKENS_TOLERANCE):
        return (
            "The batch seems to be given in tokens: batch_size_sequences counts sequences, "
            "divide it by sequence_length."
        )
    for unit, name in ((1e-6, "millions"), (1e-9, "billions"), (1e-12, "trillions")):
        if 0.9 <= ratio / unit <= 1.1:
            return f"The tokens seem to be given in {name}; write them out."
    if ratio > 1 and math.isclose(ratio, round(ratio), rel_tol=TOKENS_TOLERANCE):
        return (
            f"They differ by a factor {round(ratio)}: does batch_size_sequences cover one device "
            "or one accumulation step only? It counts all of them."
        )
    return "If the batch grew during the run, state it in batch_ramp."


def check_schedule(document: Section) -> Iterator[Problem]:
    """Rates and steps of a schedule are in order and in absolute units."""
    schedule, optimizer = section(document, "schedule"), section(document, "optimizer")
    peak, final = optimizer.get("learning_rate"), schedule.get("min_learning_rate")
    if peak and final and final > peak:
        yield Problem(
            "/schedule/min_learning_rate",
            "unit",
            f"{final:g}, above the peak {peak:g}",
            f"at most {peak:g}",
            f"It is absolute; as a ratio of the peak it would be {final * peak:g}."
            if final <= 1
            else None,
        )
    for name in ("learning_rate_knots", "batch_ramp"):
        steps = [entry["step"] for entry in schedule.get(name) or ()]
        for index, (step, after) in enumerate(pairwise(steps)):
            if after <= step:
                yield Problem(
                    f"/schedule/{name}/{index + 1}/step",
                    "steps",
                    f"{after} after {step}",
                    "increasing steps",
                )
    planned, last = schedule.get("train_steps"), section(document, "outcome").get("final_step")
    reach = (planned or 0) + (document.get("branch_step") or 0)
    if planned and last and last > reach + 1:
        yield Problem(
            "/outcome/final_step",
            "steps",
            f"{last:,}, after the planned {reach:,} steps",
            f"at most {reach:,}",
            "Are these tokens or samples rather than optimizer steps?",
        )


def check_model(document: Section) -> Iterator[Problem]:
    """Parts are not larger than wholes, and parameter counts fit the shape."""
    model = section(document, "model")
    for small, large in SMALLER_THAN:
        a, b = model.get(small), model.get(large)
        if a is not None and b is not None and a > b:
            yield Problem(
                f"/model/{small}", "parts", f"{a:,}, more than {large} {b:,}", f"at most {b:,}"
            )
    heads, kv_heads = model.get("n_heads"), model.get("n_kv_heads")
    if heads and kv_heads and heads % kv_heads:
        yield Problem(
            "/model/n_kv_heads", "parts", f"{kv_heads} for {heads} heads", f"a divisor of {heads}"
        )
    encoder, decoder = model.get("n_encoder_layers"), model.get("n_decoder_layers")
    layers = model.get("n_layers")
    if encoder is not None and decoder is not None and layers not in (None, encoder + decoder):
        yield Problem(
            "/model/n_layers",
            "parts",
            f"{layers}; the stacks have {encoder} and {decoder}",
            f"{encoder + decoder}, both stacks together",
        )
    for name in PARAMETER_FIELDS:
        count = model.get(name)
        if count is not None and count < SMALLEST_MODEL:
            yield Problem(
                f"/model/{name}",
                "unit",
                f"{count} parameters",
                f"at least {SMALLEST_MODEL:,}",
                "Parameters are counted one by one, not in millions or billions.",
            )
            return
    yield from check_shape(model)


PARAMETER_FIELDS = (
    "params_total",
    "params_active",
    "params_non_embedding",
    "params_active_non_embedding",
)
SMALLER_THAN = (
    ("params_active", "params_total"),
    ("params_non_embedding", "params_total"),
    ("params_active_non_embedding", "params_non_embedding"),
    ("params_active_non_embedding", "params_active"),
    ("n_kv_heads", "n_heads"),
    ("experts_per_token", "n_experts"),
    ("n_dense_layers", "n_layers"),
)


def check_shape(model: Section) -> Iterator[Problem]:
    """Parameter counts of a plain transformer are what its shape gives, up to a factor."""
    layers, width = model.get("n_layers"), model.get("d_model")
    unusual = (
        (model.get("architecture") or "decoder") not in ("decoder", "encoder", "encoder_decoder")
        or (model.get("n_recurrent_steps") or 1) > 1
        or (model.get("n_parallel_streams") or 1) > 1
        or model.get("n_experts")
    )
    if unusual or not layers or not width:
        return
    inner = (model["head_dim"] * model["n_heads"]) if has_heads(model) else width
    ff = model.get("d_ff")
    # Attention: queries and output, keys and values shared by groups or not, a second attention
    # in a decoder that reads an encoder. Feed-forward: two or three matrices.
    low = layers * (2 * width * inner + 2 * width * (ff or width))
    high = layers * (8 * width * inner + 3 * width * (ff or 8 * width))
    table = (model.get("vocab_size") or 0) * width
    ranges = {
        "params_non_embedding": (low, high),
        "params_total": (low + table, high + 2 * table if table else math.inf),
    }
    for name, (smallest, largest) in ranges.items():
        count = model.get(name)
        if count and not smallest / SHAPE_FACTOR <= count <= largest * SHAPE_FACTOR:
            yield Problem(
                f"/model/{name}",
                "shape",
                f"{count:,}; {layers} layers of width {width} give {smallest:,} to {largest:,}",
                "what the shape gives",
                "Are they in thousands or millions, or the shape of another model?",
            )


def has_heads(model: Section) -> bool:
    """Return whether the width of attention is stated."""
    return bool(model.get("head_dim") and model.get("n_heads"))


def check_data(document: Section) -> Iterator[Problem]:
    """Shares add up to at most one; passes are tokens over unique tokens."""
    data = section(document, "data")
    mixture = data.get("mixture") or ()
    total = sum(entry.get("share_frac") or 0 for entry in mixture)
    if total > 1.01:
        yield Problem("/data/mixture", "shares", f"shares that add up to {total:g}", "at most 1")
    unique, epochs = data.get("unique_tokens"), data.get("epochs")
    tokens = section(document, "schedule").get("train_tokens")
    if unique and epochs and tokens and not 0.9 <= epochs * unique / tokens <= 1.1:
        yield Problem(
            "/data/epochs",
            "tokens",
            f"{epochs:g} passes over {unique:,} tokens, but {tokens:,} tokens were trained on",
            f"about {tokens / unique:.3g} passes",
        )


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
    """A loss is above the least possible one and, for a finished run, below a blind guess."""
    lowest = {"perplexity": 1.0, "accuracy": 0.0}.get(unit, 0.0)
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
    if loss < lowest and unit not in ("normalized", "other"):
        yield Problem(
            "/outcome/final_loss", "loss", f"{loss:g} {unit}", f"at least {lowest:g}", None
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
    declared = {m["name"] for m in outcome.get("metrics") or ()}
    declared.add(outcome.get("final_loss_metric"))
    seen: set[str] = set()
    for number, curve in enumerate(curves):
        pointer, metric, steps = f"/curves/{number}", curve["metric"], curve["step"]
        if metric in seen:
            yield Problem(f"{pointer}/metric", "duplicate", f"{metric} again", "each metric once")
        seen.add(metric)
        if metric not in declared:
            yield Problem(
                f"{pointer}/metric",
                "unit",
                f"{metric}, which outcome.metrics does not declare",
                "its name and unit in outcome.metrics",
                f'Add {{"name": "{metric}", "unit": "nats_per_token"}}, or the unit it has.',
            )
        broken = list(check_points(curve, pointer))
        yield from broken
        if not broken:
            yield from check_reach(document, curve, pointer)
            if metric == outcome.get("final_loss_metric"):
                yield from check_end(document, curve, steps)


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


def check_origins(document: Section) -> Iterator[Problem]:
    """Origins name columns of a run."""
    columns = known_columns()
    for name in section(document, "provenance").get("origins") or ():
        if name not in columns:
            close = nearest(name, sorted(columns))
            yield Problem(
                f"/provenance/origins/{escape(name)}",
                "unknown",
                f'the column "{name}"',
                "a column of the table runs",
                f'Did you mean "{close}"?' if close else "All columns: schema/FIELDS.md.",
            )


@cache
def known_columns() -> frozenset[str]:
    """Return the columns of the table `runs`."""
    return frozenset(field.column for field in run_fields())


def check_secrets(document: Section) -> Iterator[Problem]:
    """No password, key or token stands in a configuration."""
    provenance = section(document, "provenance")
    for name, place in (
        ("/provenance/raw_config", provenance.get("raw_config")),
        ("/extra", document.get("extra")),
        ("/optimizer/extra", section(document, "optimizer").get("extra")),
    ):
        for path in secret_places(place) if place else ():
            steps = "".join(f"/{escape(step)}" for step in path)
            yield Problem(
                f"{name}{steps}", "secret", "what looks like a key or password", "no secrets"
            )


CHECKS: tuple[Callable[[Section], Iterator[Problem]], ...] = (
    check_identity,
    check_tokens,
    check_schedule,
    check_model,
    check_data,
    check_loss,
    check_curves,
    check_origins,
    check_secrets,
)
