"""A checkpoint: weights, their average and the optimizer's moments in one safetensors file.

Its header carries the state of the loop as JSON. A reader sees the old file or the new one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ncpl.errors import BundleError
from ncpl.language.parallel import Parallel, spread_like, whole

NAME = "checkpoint.safetensors"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """Where training is. Randomness needs no state: it follows from (seed, step)."""

    key: str
    """Hash of the settings, the snapshot and the seed; another one cannot be continued."""
    step: int = 0
    """Steps done."""
    best_error: float = float("inf")
    """Smallest mean absolute error on the held-out training groups, nats."""
    best_step: int = 0
    looks_since_best: int = 0


@dataclass
class Training:
    """The tensors of one stage that a checkpoint keeps."""

    weights: dict[str, torch.nn.Parameter]
    """All of them, by their name in the plain network."""
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer

    def tensors(self, parallel: Parallel) -> dict[str, Tensor]:
        """Return every tensor in full, in rank 0; empty elsewhere. All processes must call."""
        found: dict[str, Tensor] = {}

        def add(name: str, tensor: Tensor) -> None:
            full = whole(tensor)
            if parallel.is_first:
                found[name] = full

        for name, weight in self.weights.items():
            add(f"weight/{name}", weight)
            if name in self.average:
                add(f"average/{name}", self.average[name])
            for moment, value in self.optimizer.state.get(weight, {}).items():
                add(f"{moment}/{name}", value)
        return found

    @torch.no_grad()
    def restore(self, file: Path, *, has_moments: bool) -> None:
        """Read the tensors of a checkpoint back in place.

        Without `has_moments` it is that of the stage before: only weights are read.
        """
        with safe_open(file, framework="pt") as tensors:
            names = set(tensors.keys())
            for name, weight in self.weights.items():
                weight.copy_(spread_like(tensors.get_tensor(f"weight/{name}"), weight))
                if name in self.average:
                    kept = f"average/{name}" if has_moments else f"weight/{name}"
                    mean = self.average[name]
                    mean.copy_(spread_like(tensors.get_tensor(kept), mean))
                if has_moments and f"exp_avg/{name}" in names:
                    moments = {key: tensors.get_tensor(f"{key}/{name}") for key in MOMENTS}
                    self.optimizer.state[weight] = {
                        key: value if key == "step" else spread_like(value, weight)
                        for key, value in moments.items()
                    }


def write(folder: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write a checkpoint; the old one is replaced when the new one is whole."""
    replace(folder / NAME, tensors, {"progress": json.dumps(asdict(progress))})


def replace(file: Path, tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Write a safetensors file under its name only when it is whole and on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_file(tensors, part, metadata=about)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.chmod(0o644)  # safetensors writes files for their owner only
    part.replace(file)


def read_progress(folder: Path) -> Progress | None:
    """Return the state in a folder's checkpoint; None where there is no checkpoint.

    Raises BundleError where the file is damaged.
    """
    file = folder / NAME
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as tensors:
            about: dict[str, Any] = json.loads(tensors.metadata()["progress"])
        return Progress(**about)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{file} is damaged ({error}); remove it to begin anew") from error
