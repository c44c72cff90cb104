"""Tasks: canonical names, metric kinds, chance levels, numbers of examples, few-shot settings."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ncpl.errors import ConfigError

KINDS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "acc": "accuracy",
    "exact_match": "accuracy",
    "len_norm": "accuracy_norm",
    "acc_norm": "accuracy_norm",
    "accuracy_norm": "accuracy_norm",
    "soft": "probability",
    "probability": "probability",
    "soft_log": "log_probability",
    "log_probability": "log_probability",
    "bpb": "loss_bits_per_byte",
    "loss_bits_per_byte": "loss_bits_per_byte",
    "ce_loss": "loss_nats",
    "loss_nats": "loss_nats",
    "ctx_ce_loss": "context_loss_nats",
    "context_loss_nats": "context_loss_nats",
}
"""A source's word for a metric -> ours. `probability` is that of the right answer among the
choices; `accuracy_norm` picks the choice of highest likelihood per character."""
SHARES = ("accuracy", "accuracy_norm", "probability")
"""Kinds that lie in [0, 1] and rise as a model gets better."""
LOSSES = ("loss_bits_per_byte", "loss_nats")
"""Kinds that are the negative log-likelihood of the right answer."""
NAME = re.compile(
    r"(?P<base>.+?)(?:_(?P<split>test|val))?(?:_(?P<form>rc|mc))?"
    r"(?:_(?P<shots>\d+)_?shot|_(?P<zero>zeroshot))?(?:_(?P<late>test|val))?"
)
TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Task:
    """One task under one metric."""

    name: str
    """Canonical name; what tells two forms apart follows a dot: `arc_easy.test.mc`."""
    kind: str
    """One of the values of KINDS."""
    chance: float | None
    """Score of a guess, for shares; None where nobody states it."""
    n_examples: int | None
    n_shots: int | None

    @property
    def id(self) -> str:
        """Return name and kind, the key of a column of results."""
        return f"{self.name}:{self.kind}"

    @property
    def base(self) -> str:
        """Return the canonical name without split and form."""
        return self.name.split(".")[0]

    @property
    def is_share(self) -> bool:
        """Return whether values lie in [0, 1]."""
        return self.kind in SHARES

    def noise(self, value: float) -> float:
        """Return the binomial standard error of a measured share; 0 where it is not known."""
        if not self.is_share or not self.n_examples:
            return 0.0
        p = min(max(value, 0.5 / self.n_examples), 1 - 0.5 / self.n_examples)
        return math.sqrt(p * (1 - p) / self.n_examples)

    def emerged_above(self) -> float:
        """Return the share that a model must exceed to be told from a guess."""
        chance = self.chance or 0.0
        return chance + TWO_SIDED_95 * self.noise(max(chance, 0.01))


@cache
def facts() -> Mapping[str, Any]:
    """Return the shipped table of facts."""
    return tomllib.loads((files("ncpl.downstream") / "tasks.toml").read_text("utf-8"))


@cache
def canonical_names() -> Mapping[str, str]:
    """Return every known spelling, in lower case -> canonical name."""
    names: dict[str, str] = {}
    for name, task in facts()["tasks"].items():
        names[name] = name
        names |= {alias.lower(): name for alias in task.get("aliases", ())}
    return names


def task_of(raw: str, kind: str, *, source: str = "", n_shots: int | None = None) -> Task:
    """Return the task that a source calls `raw`; facts nobody states are None.

    Raises ConfigError for a kind of metric that is not known.
    """
    if kind not in KINDS:
        raise ConfigError(
            f"task {raw!r}: {kind!r} is no kind of metric; expected one of "
            f"{', '.join(sorted(set(KINDS.values())))}"
        )
    base, parts, split, stated = raw, [], None, None
    known = canonical_names()
    if raw.lower() not in known and (match := NAME.fullmatch(raw)):
        base, split = match["base"], match["split"] or match["late"]
        stated = int(match["shots"]) if match["shots"] else 0 if match["zero"] else None
        parts = [p for p in (split, match["form"]) if p]
    base = known.get(base.lower(), base)
    listed = facts()["shots"].get(source, {}).get(base)
    shots = n_shots if n_shots is not None else stated
    if stated is not None and listed is not None and stated != listed:
        parts.append(f"{stated}shot")  # a source has the task twice, few-shot and not
    if shots is None:
        shots = listed
    known_facts = facts()["tasks"].get(base, {})
    chance = facts()["chance"].get(source, {}).get(base, known_facts.get("chance"))
    examples = known_facts.get("examples", {})
    n_examples = examples.get(split) if split else next(iter(examples.values()), None)
    what = KINDS[kind]
    return Task(
        ".".join([base, *parts]), what, chance if what in SHARES else None, n_examples, shots
    )


def choose(wanted: str, tasks: list[Task]) -> list[int]:
    """Return the places of the tasks that a user's word names.

    A word is an id (`hellaswag:accuracy`), a name with its form, or a bare name, which stands for
    all its forms scored as accuracy. Raises ConfigError with the nearest names if none fits.
    """
    base, _, kind = wanted.partition(":")
    base = canonical_names().get(base.lower(), base)
    fits = [i for i, t in enumerate(tasks) if base in (t.name, t.base)]
    if kind:
        fits = [i for i in fits if tasks[i].kind == KINDS.get(kind, kind)]
    else:
        fits = [i for i in fits if tasks[i].kind.startswith("accuracy")] or fits
    if fits:
        return fits
    names = sorted({t.name for t in tasks} | {t.base for t in tasks} | {t.id for t in tasks})
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4) or names[:8]
    raise ConfigError(f"no task {wanted!r} here; near it: {', '.join(near)}")
