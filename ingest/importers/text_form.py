"""The form of a line: what makes it one, whose step it holds, which numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ncpl_data.catalog.errors import InputError

NUMBER = r"[-+]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf(?:inity)?)"
WHOLE = r"\d{1,3}(?:,\d{3})+|\d+"


@dataclass(frozen=True)
class Form:
    """One form of line."""

    program: str
    line: str
    """What makes it this form; it may name the step itself."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Metrics, by the text before (and around) their number."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What else the line states: batch, tokens, samples, nan."""
    step: str = "own"
    """Whose step: its own, that of the line above, that of the line below, or that of a bar."""
    held: bool = False
    """Whether the line repeats the last held-out loss until there is another."""
    every_device: bool = False
    """Whether a step may stand several times: the last is that of the whole step."""
    opens_block: bool = False
    """Whether indented lines that follow hold the values."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units that the program prints in, where they are not nats per token."""
    digits: int | None = None
    """Digits that the program rounds a loss to, where they are few."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The line as a regular expression."""
        return compiled(self.line)

    @cached_property
    def metrics(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """The values as regular expressions."""
        return tuple((metric, compiled(text)) for metric, text in self.values.items())

    @cached_property
    def facts(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """The columns as regular expressions."""
        return tuple((name, compiled(text)) for name, text in self.columns.items())


def compiled(text: str) -> re.Pattern[str]:
    """Return a pattern of the table as a regular expression."""
    text = text.replace("{step}", rf"(?P<step>{WHOLE})").replace("{of}", rf"(?P<of>{WHOLE})")
    return re.compile(text.replace("{n}", rf"(?P<n>(?>{NUMBER}))(?!\w)"))


FIELDS = "{step}", "{value}"


def own_form(metric: str, text: str) -> Form:
    """Return a form the user says: a text with {step} and {value}.

    Raises InputError if it has not both.
    """
    if not all(name in text for name in FIELDS):
        raise InputError(f'--line "{metric}={text}": expected a text with {{step}} and {{value}}')
    pattern = re.escape(text).replace(r"\{step\}", "{step}").replace(r"\{value\}", "{n}")
    pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
    return Form("log", pattern, {metric: pattern.replace("{step}", r"[\d,]+")})
