"""What a training reports step by step: a JSONL file, and trackers where asked for."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ncpl.errors import ConfigError

TRACKERS = {"wandb": "wandb", "tensorboard": "tensorboard", "trackio": "trackio"}
"""Tracker -> the package it needs."""
NAME = "metrics.jsonl"


class Tracker(Protocol):
    """Something that takes numbers by step."""

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Take the numbers of a step."""

    def close(self) -> None:
        """Write out what is left."""


class Metrics:
    """The JSONL file of a training, and its trackers; a resumed training continues the file."""

    def __init__(
        self, folder: Path, trackers: Sequence[str], *, first_step: int, about: dict[str, Any]
    ) -> None:
        check_trackers(trackers)
        self.file = folder / NAME
        folder.mkdir(parents=True, exist_ok=True)
        kept = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        # What a killed run wrote past its checkpoint is about to be written again.
        kept = [line for line in kept if _step(line) < first_step]
        self.file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self.trackers = [_tracker(name, folder, about) for name in trackers]

    def log(self, step: int, numbers: dict[str, Any]) -> None:
        """Append the numbers of a step."""
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step} | numbers) + "\n")
        floats = {k: float(v) for k, v in numbers.items() if isinstance(v, int | float)}
        for tracker in self.trackers:
            tracker.log(floats, step)

    def close(self) -> None:
        """Close the trackers."""
        for tracker in self.trackers:
            tracker.close()


def check_trackers(names: Sequence[str]) -> None:
    """Raise ConfigError for an unknown tracker or one whose package is missing."""
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"unknown tracker {name!r}; known: {', '.join(TRACKERS)}")
        if importlib.util.find_spec(TRACKERS[name]) is None:
            raise ConfigError(f"{name} is not installed: pip install 'ncpl-data[{name}]'")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # cut off in the middle of a line


def _tracker(name: str, folder: Path, about: dict[str, Any]) -> Tracker:
    if name == "tensorboard":
        return _TensorBoard(folder / "tensorboard")
    return _Project(importlib.import_module(name), folder, about)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder))

    def log(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _Project:
    """wandb, or trackio, which has the same functions."""

    def __init__(self, module: Any, folder: Path, about: dict[str, Any]) -> None:
        self.module = module
        given = {"dir": str(folder)} if module.__name__ == "wandb" else {}
        module.init(project="ncpl", name=folder.name, config=about, **given)

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.module.log(numbers, step=step)

    def close(self) -> None:
        self.module.finish()
