"""The Step Law study: what its run names say, and what its paper says of all runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOURCE_NAME = "steplaw"
SEQUENCE_LENGTH = 2048  # D = bs * ti * 2048 in every row; stated in the mixture-of-experts file
TARGET = "train/loss_smoothed"
LAST_BATCH = "train/loss"

DIVERGED_ABOVE_NATS = 4.0
"""Every run that trained ends below 3.71, every other one above 4: no run lies between."""

# Said of all runs by the paper; LossCast-Bench's copy of the logs (commit 7ab8291c) agrees.
DECLARED: Mapping[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-8,
    "grad_clip_norm": 1.0,
    "schedule": "cosine",
    "warmup_steps": 2000,
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
}

RUN_NAME = re.compile(
    r"step2v2_0618_h(?P<h>\d+)_ffnh(?P<ffnh>\d+)_numh(?P<numh>\d+)_numl(?P<numl>\d+)"
    r"_lr(?P<lr>[\d.]+[eE][+-]\d+)_bs(?P<bs>\d+)_ti(?P<ti>\d+)_mlr(?P<mlr>[\d.]+[eE][+-]?\d+)"
)

DenseShape = tuple[int, int, int, int]
"""Width, feed-forward width, heads, layers."""


@dataclass(frozen=True)
class StepLawName:
    """What the name of a dense run says."""

    shape: DenseShape
    learning_rate: float
    batch_size_sequences: int
    train_steps: int
    min_learning_rate: float

    @property
    def run_id(self) -> str:
        """The run's identity in the catalog."""
        return dense_id(self.shape, self.learning_rate, self.batch_size_sequences, self.train_steps)


def parse_name(name: str) -> StepLawName | None:
    """Return what a dense run's name says, or None for a name of another form."""
    match = RUN_NAME.fullmatch(name)
    if match is None:
        return None
    return StepLawName(
        shape=(int(match["h"]), int(match["ffnh"]), int(match["numh"]), int(match["numl"])),
        learning_rate=float(match["lr"]),
        batch_size_sequences=int(match["bs"]),
        train_steps=int(match["ti"]),
        min_learning_rate=float(match["mlr"]),
    )


def dense_id(shape: DenseShape, learning_rate: float, batch: int, steps: int) -> str:
    """Return the identity of a dense run; upstream spells one name in several ways."""
    h, ffnh, numh, numl = shape
    return (
        f"{SOURCE_NAME}/dense_h{h}_ffnh{ffnh}_numh{numh}_numl{numl}"
        f"_lr{learning_rate:.3e}_bs{batch}_ti{steps}"
    )


def dense_size(shape: DenseShape) -> int:
    """Return the non-embedding parameters of a dense shape: layers x (4 h^2 + 3 h ffn)."""
    h, ffnh, _, numl = shape
    return numl * (4 * h * h + 3 * h * ffnh)


def status_of(loss: float, *, is_whole: bool = True) -> str:
    """Return how a run ended, by its last smoothed loss."""
    if loss > DIVERGED_ABOVE_NATS:
        return "diverged"
    return "finished" if is_whole else "truncated"
