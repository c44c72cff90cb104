"""Sequences: a configuration once, then every asked point of its run.

Legend: B runs, L tokens, R points of the batch. A point sees the configuration and itself, no
other point; all points stand at the same positions, so each is read as if it were alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ncpl.data.fields import Config
from ncpl.language.prompt import ASK, Piece, pieces_of, point_pieces
from ncpl.language.settings import LanguageConfig
from ncpl.language.vocabulary import Vocabulary


@dataclass
class Tokens:
    """A growing run of tokens, words and numbers."""

    ids: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """NaN where the token is a word."""

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)

    def add(self, pieces: Iterable[Piece], vocabulary: Vocabulary) -> Tokens:
        """Append pieces and return self."""
        for piece in pieces:
            if piece.value is None:
                self._text(piece.text + piece.end, vocabulary)
            else:
                self._text(piece.text, vocabulary)
                self.ids.append(vocabulary.filler)
                self.values.append(piece.value)
                self._text(piece.end, vocabulary)
        return self

    def _text(self, text: str, vocabulary: Vocabulary) -> None:
        ids = vocabulary.encode(text)
        self.ids.extend(ids)
        self.values.extend([np.nan] * len(ids))


@dataclass(frozen=True)
class Query:
    """One run: its derived configuration and the fractions of the run asked for."""

    row: Config
    fractions: tuple[float, ...] = (1.0,)
    """Fraction 1 is the final loss."""
    targets: tuple[float, ...] = ()
    """Measured losses minus the law's, nats per token; empty when there is nothing to learn."""


class Sequencer:
    """Turns queries into sequences, by one vocabulary and one set of settings."""

    def __init__(self, vocabulary: Vocabulary, config: LanguageConfig) -> None:
        self.vocabulary, self.config = vocabulary, config

    def prefix(self, row: Config, hidden: Collection[str] = ()) -> Tokens:
        """Return the tokens of a configuration."""
        pieces = pieces_of(row, self.config.fields, self.config.units, hidden)
        if self.config.point_style == "token":
            pieces.append(ASK)
        return Tokens().add(pieces, self.vocabulary)

    def block(self, fraction: float) -> Tokens:
        """Return the tokens of a point."""
        pieces = point_pieces(fraction, self.config.point_style, is_final=fraction == 1.0)
        return Tokens().add(pieces, self.vocabulary)

    def length(self, query: Query) -> int:
        """Return the tokens of a query with no field hidden: the most it can have."""
        return len(self.prefix(query.row)) + sum(len(self.block(f)) for f in query.fractions)

    def batch(
        self, queries: Sequence[Query], hidden: Sequence[Collection[str]] = ()
    ) -> SequenceBatch:
        """Return queries as one padded batch."""
        parts = []
        for i, query in enumerate(queries):
            prefix = self.prefix(query.row, hidden[i] if hidden else ())
            parts.append((prefix, [self.block(fraction) for fraction in query.fractions]))
        targets = [t for query in queries for t in query.targets]
        return _padded(parts, targets, self.vocabulary.filler)


@dataclass(frozen=True)
class SequenceBatch:
    """What the network reads: (B, L) tensors, and two of (R,)."""

    ids: Tensor
    values: Tensor
    """Scaled numbers; NaN where the token is a word."""
    positions: Tensor
    blocks: Tensor
    """-1 padding, 0 configuration, 1.. the number of the point."""
    read: Tensor
    """Places of the points' last tokens in the flattened (B L)."""
    targets: Tensor

    def to(self, device: torch.device) -> SequenceBatch:
        """Return the batch on a device."""
        return SequenceBatch(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def mask(self) -> Tensor:
        """Return (B, 1, L, L): true where a token (row) may see another (column)."""
        block = self.blocks
        order = torch.arange(block.shape[1], device=block.device)
        before_LL = order[:, None] >= order[None, :]
        shared_BLL = (block[:, None, :] == 0) | (block[:, :, None] == block[:, None, :])
        # Padding sees itself alone: a row that sees nothing would be NaN.
        own_LL = order[:, None] == order[None, :]
        seen_BLL = (before_LL & shared_BLL & (block[:, None, :] >= 0)) | own_LL
        return seen_BLL[:, None]


def _padded(
    parts: Sequence[tuple[Tokens, list[Tokens]]], targets: Sequence[float], filler: int
) -> SequenceBatch:
    lengths = [len(prefix) + sum(map(len, blocks)) for prefix, blocks in parts]
    shape = (len(parts), max(lengths))
    ids = np.full(shape, filler, dtype=np.int64)
    values = np.full(shape, np.nan, dtype=np.float32)
    position = np.zeros(shape, dtype=np.int64)
    block = np.full(shape, -1, dtype=np.int64)
    read = []
    for b, (prefix, blocks) in enumerate(parts):
        at = 0
        for number, tokens in enumerate((prefix, *blocks)):
            end, first = at + len(tokens), 0 if number == 0 else len(prefix)
            ids[b, at:end], values[b, at:end] = tokens.ids, tokens.values
            position[b, at:end] = np.arange(first, first + len(tokens))
            block[b, at:end] = number
            at = end
            if number:
                read.append(b * shape[1] + end - 1)
    return SequenceBatch(
        torch.from_numpy(ids),
        torch.from_numpy(values),
        torch.from_numpy(position),
        torch.from_numpy(block),
        torch.tensor(read, dtype=torch.int64),
        torch.tensor(targets, dtype=torch.float32),
    )
