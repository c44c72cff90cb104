"""The text of a configuration: words with numbers between them, before any tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ncpl.data.fields import Config
from ncpl.language.quantities import CATEGORIES, QUANTITIES, scaled, value_of


@dataclass(frozen=True)
class Piece:
    """Text, then a number where there is one, then a line end."""

    field: str
    text: str
    value: float | None = None
    """Already scaled."""
    end: str = "\n"


def pieces_of(
    row: Config, fields: Iterable[str], units: str, hidden: Collection[str] = ()
) -> list[Piece]:
    """Return the pieces of a derived configuration, absent and hidden fields left out."""
    pieces = []
    for name in fields:
        value = value_of(name, row)
        if value is None or name in hidden:
            continue
        if name in CATEGORIES:
            pieces.append(Piece(name, f"{CATEGORIES[name]}: {value}"))
            continue
        # The reference puts no line end after "max step", its last number.
        end = "" if name == "train_steps" else "\n"
        number = scaled(name, float(value), units)
        pieces.append(Piece(name, f"{QUANTITIES[name].words}: ", number, end))
    return pieces


FINAL = Piece("final", "final loss: ", end="")
ASK = Piece("ask", "loss at: ", end="")
"""Ends the prefix where a point is one token: the number that follows is a fraction."""


def point_pieces(fraction: float, style: str, *, is_final: bool) -> list[Piece]:
    """Return the pieces of one point; the prediction is read at its last token.

    Style `text` is the reference's: "frac: x loss: ", or "final loss: " for the end of the run.
    """
    if style == "token":
        return [Piece("fraction", "", fraction, "")]
    if is_final:
        return [FINAL]
    return [Piece("fraction", "frac: ", fraction, ""), Piece("loss", "loss: ", end="")]
