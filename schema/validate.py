"""Check documents against the schema and say what is wrong in words people can act on."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ncpl_data.schema.aliases import known_names, pointer_for
from ncpl_data.schema.hints import question, value_hint
from ncpl_data.schema.load import validator

if TYPE_CHECKING:
    from jsonschema import ValidationError

MAX_PROBLEMS = 100
"""A broken document is described by at most this many problems."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one document."""

    pointer: str
    """JSON Pointer to the value, "" for the whole document."""
    rule: str
    """Keyword of the schema, or name of a semantic check."""
    found: str
    expected: str
    hint: str | None = None

    def __str__(self) -> str:
        """Return the problem as one sentence."""
        text = f"{self.pointer or '/'}: found {self.found}; expected {self.expected}"
        return f"{text}. {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, str | None]:
        """Return the problem as a JSON object."""
        return asdict(self)


def shorten(value: Any, limit: int = 80) -> str:
    """Return a value as short JSON."""
    if isinstance(value, str):
        value = value[: limit + 1]
    elif isinstance(value, (list, dict)) and len(value) > limit:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,} items"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name most like this one, if any is alike."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return close[0] if close else None


def describe_unknown_keys(error: ValidationError) -> Iterator[Problem]:
    """Yield one problem for each key the schema does not know."""
    known = list(error.schema.get("properties", {}))
    pointer = pointer_of(error)
    for key in sorted(set(error.instance) - set(known), key=str)[:MAX_PROBLEMS]:
        yield Problem(
            f"{pointer}/{escape(key)}",
            "unknown",
            f'the field "{key[:80]}"',
            "a known field",
            question(key) or unknown_key_hint(key, pointer, known),
        )


def unknown_key_hint(key: str, pointer: str, known: Sequence[str]) -> str:
    """Return where an unknown key belongs, as far as its name tells."""
    key = key[:100]
    meant = pointer_for(key)
    if meant is not None:
        place, _, name = meant.rpartition("/")
        if place == pointer and name in known:
            return f'Did you mean "{name}"?'
        if name == key:
            return f'"{key}" belongs in "{place or "/"}".'
        if pointer == "" or place.startswith("/"):
            return f'Did you mean "{name}" in "{place or "/"}"?'
    close = nearest(key, known)
    if close:
        return f'Did you mean "{close}"?'
    elsewhere = nearest(key, list(known_names()))
    if elsewhere and difflib.SequenceMatcher(None, key.lower(), elsewhere).ratio() > 0.8:
        return f'Did you mean "{known_names()[elsewhere]}"?'
    return 'Other fields go to "extra", under a namespace of yours, as in "acme.name".'


def escape(key: str) -> str:
    """Return a key as one step of a JSON Pointer (RFC 6901)."""
    return str(key).replace("~", "~0").replace("/", "~1")[:200]


def pointer_of(error: ValidationError) -> str:
    """Return the JSON Pointer of the value an error is about."""
    return "".join(f"/{escape(str(step))}" for step in error.absolute_path)


def expected_of(error: ValidationError) -> str:
    """Return what a schema keyword asks for, in words."""
    keyword, value = error.validator, error.validator_value
    types = value if isinstance(value, list) else [value]
    allowed = [v for v in types if v not in (None, "null")]
    words = {
        "type": f"a value of type {' or '.join(str(v) for v in allowed)}",
        "enum": f"one of {', '.join(shorten(v) for v in allowed)}",
        "const": shorten(value),
        "minimum": f"at least {value}",
        "maximum": f"at most {value}",
        "exclusiveMinimum": f"more than {value}",
        "minLength": f"at least {value} characters",
        "maxLength": f"at most {value} characters",
        "minItems": f"at least {value} items",
        "maxItems": f"at most {value} items",
        "maxProperties": f"at most {value} keys",
        "pattern": f"text of the form {value}",
    }
    unit = error.schema.get("x-unit") if isinstance(error.schema, dict) else None
    text = words.get(str(keyword), f"what the schema's {keyword} asks for")
    return f"{text} (unit: {unit})" if unit else text


def describe(error: ValidationError) -> Iterator[Problem]:
    """Yield the problems behind one error of the validator."""
    if error.validator == "additionalProperties":
        yield from describe_unknown_keys(error)
        return
    if error.validator == "required":
        missing = [k for k in error.validator_value if k not in error.instance]
        for key in missing:
            yield Problem(
                f"{pointer_of(error)}/{escape(key)}", "required", "nothing", f'the field "{key}"'
            )
        return
    if error.validator == "oneOf" and error.context:
        # The alternative that takes the value's own type tells the user most.
        others = {e.schema_path[0] for e in error.context if e.validator == "type" and not e.path}
        fitting = [e for e in error.context if e.schema_path[0] not in others]
        for inner in fitting or error.context[:1]:
            yield from describe(inner)
        return
    yield Problem(
        pointer_of(error),
        str(error.validator),
        shorten(error.instance),
        expected_of(error),
        value_hint(pointer_of(error), str(error.validator), error.instance, error.validator_value),
    )


def check_document(document: Any, schema: str = "run") -> list[Problem]:
    """Return the problems of one document, in document order; empty where it is valid."""
    found: dict[Problem, None] = {}
    for error in validator(schema).iter_errors(document):
        for problem in describe(error):
            found[problem] = None
        if len(found) >= MAX_PROBLEMS:
            break
    return sorted(found, key=lambda p: (p.pointer, p.rule))[:MAX_PROBLEMS]
