"""A register of forecasts: what was predicted of announced runs, when, and how it came out.

One JSON object a line, only ever added to. A `forecast` holds the configuration, who announced it
and what was predicted; a `score` names a forecast and holds what was measured. Each line carries a
digest of itself and of the digest before it, so that a line changed, taken out or put in between
later does not fit the ones that follow, nor the last digest, which the page of the register shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ncpl.errors import ConfigError

START = "0" * 64
FORECAST, SCORE = "forecast", "score"
DIGEST = "digest"


@dataclass(frozen=True)
class Register:
    """The lines of a register, their digests checked."""

    lines: tuple[dict[str, Any], ...]

    @property
    def last(self) -> str:
        """Return the digest of the last line."""
        return str(self.lines[-1][DIGEST]) if self.lines else START

    @property
    def forecasts(self) -> dict[str, dict[str, Any]]:
        """Return forecasts by name."""
        return {line["name"]: line for line in self.lines if line["kind"] == FORECAST}

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Return scores by the name of their forecast."""
        return {line["name"]: line for line in self.lines if line["kind"] == SCORE}


def read_register(path: Path) -> Register:
    """Return a register, empty where there is no file. Raises ConfigError where it was changed."""
    if not path.exists():
        return Register(())
    lines: list[dict[str, Any]] = []
    before = START
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can not be read ({error})") from error
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            told = line[DIGEST]
            is_known = line["kind"] in (FORECAST, SCORE) and isinstance(line["name"], str)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} line {number} is no line of a register") from error
        if not is_known or told != digest_of(line, before):
            raise ConfigError(
                f"{path} line {number} does not fit its digest: it, or a line before it, was "
                "changed after its date; take the file from its history"
            )
        before = told
        lines.append(line)
    return Register(tuple(lines))


def digest_of(line: Mapping[str, Any], before: str) -> str:
    """Return the digest of a line that follows another one's."""
    plain = {name: value for name, value in line.items() if name != DIGEST}
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def add_forecast(path: Path, entry: Mapping[str, Any], made_on: date) -> dict[str, Any]:
    """Add a forecast to a register and return its line. Raises ConfigError for a name in use."""
    register = read_register(path)
    if entry["name"] in register.forecasts:
        raise ConfigError(
            f"{path} holds a forecast {entry['name']!r} of "
            f"{register.forecasts[entry['name']]['made_on']} already; a forecast is never made over"
        )
    return _append(path, register, {"kind": FORECAST, "made_on": made_on.isoformat(), **entry})


def add_score(path: Path, name: str, loss: float, measured: str, scored_on: date) -> dict[str, Any]:
    """Add what was measured of a forecast and return the line; the forecast stays as it is.

    Raises ConfigError for a name that is not there, or was scored.
    """
    register = read_register(path)
    entry = register.forecasts.get(name)
    if entry is None:
        names = ", ".join(register.forecasts) or "none"
        raise ConfigError(f"{path} holds no forecast {name!r}; there are: {names}")
    if name in register.scores:
        raise ConfigError(f"{name!r} was scored on {register.scores[name]['scored_on']} already")
    said = entry["prediction"]
    line = {
        "kind": SCORE, "scored_on": scored_on.isoformat(), "name": name, "loss": loss,
        "measured": measured, "error": round(said["loss"] - loss, 6),
        "is_inside": said["low"] <= loss <= said["high"],
    }  # fmt: skip
    return _append(path, register, line)


def _append(path: Path, register: Register, line: dict[str, Any]) -> dict[str, Any]:
    line[DIGEST] = digest_of(line, register.last)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} can not be written ({error.strerror})") from error
    return line


def table_of(register: Register) -> list[str]:
    """Return a register as lines of Markdown, forecasts in order, and its last digest."""
    lines = [
        "| made on | run | forecast, 90% interval | announced | measured |",
        "|---|---|---|---|---|",
    ]
    for name, entry in register.forecasts.items():
        said, score = entry["prediction"], register.scores.get(name)
        came = "not known yet"
        if score is not None:
            place = "inside" if score["is_inside"] else "outside"
            came = f"{score['loss']:.4f} ({place}, {score['scored_on']}: {score['measured']})"
        lines.append(
            f"| {entry['made_on']} | {name} | {said['loss']:.4f} ({said['low']:.4f} to "
            f"{said['high']:.4f}), {entry['metric']} | {entry['announced']}: {entry['says']} | "
            f"{came} |"
        )
    return [*lines, "", f"{counted(register)} Last digest: `{register.last[:16]}`."]


def counted(register: Register) -> str:
    """Return how many forecasts came out, and how."""
    scores: Sequence[Mapping[str, Any]] = list(register.scores.values())
    text = f"{len(register.forecasts)} forecasts, {len(scores)} scored"
    if scores:
        mean = sum(abs(score["error"]) for score in scores) / len(scores)
        inside = sum(bool(score["is_inside"]) for score in scores)
        text += f": mean error {mean:.4f} nats, {inside} inside their interval"
    return text + "."
