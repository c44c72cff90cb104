"""What the schema can not see: whether the values of one run agree with each other.

Each check takes a document that satisfies the schema and yields what contradicts what. A value
that is absent contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

from ncpl_data.ingest.secrets import secret_places
from ncpl_data.ingest.submissions.curve_checks import check_curves, check_loss
from ncpl_data.ingest.submissions.model_checks import check_model
from ncpl_data.ingest.submissions.ranges import check_ranges
from ncpl_data.ingest.submissions.sections import TOKENS_TOLERANCE, Section, section, tokens_hint
from ncpl_data.ingest.submissions.start_checks import check_first_loss, check_start
from ncpl_data.schema.aliases import schedule_shape
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.validate import Problem, escape, nearest

LARGEST_STEP = 1 << 28
"""Tokens. No published run takes more in one optimizer step; a batch given in tokens does."""


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
        tokens_hint(tokens / product, sequence) if product else None,
    )


def ramp_sequences(ramp: list[Section], steps: int) -> int:
    """Return the sequences of a whole run whose batch grows in stages."""
    starts = [entry["step"] for entry in ramp] + [steps]
    return sum(
        max(0, min(after, steps) - min(entry["step"], steps)) * entry["batch_size_sequences"]
        for entry, after in zip(ramp, starts[1:], strict=True)
    )


def check_schedule(document: Section) -> Iterator[Problem]:
    """Rates and steps of a schedule are in order and in absolute units."""
    schedule, optimizer = section(document, "schedule"), section(document, "optimizer")
    shape = schedule.get("shape")
    if shape and (name := schedule_shape(shape)) != shape:
        yield Problem("/schedule/shape", "name", f'"{shape}"', f'"{name}"', "Write its one name.")
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
    check_start,
    check_ranges,
    check_tokens,
    check_schedule,
    check_model,
    check_data,
    check_loss,
    check_curves,
    check_first_loss,
    check_origins,
    check_secrets,
)
