"""What a training run needs to go on where it stopped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ncpl.data.snapshot import Family
from ncpl.model.arrays import Array
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit


@dataclass(frozen=True)
class State:
    """Weights, their moving average and the optimizer's moments, as one file."""

    weights: dict[str, nn.Parameter]
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer

    def store(self, path: Path, step: int) -> None:
        """Write the state after `step` steps; a reader sees the old file or the new one."""
        tensors = {"step": torch.tensor(step)}
        for name, weight in self.weights.items():
            tensors |= {f"weight/{name}": weight.detach(), f"average/{name}": self.average[name]}
            moments = self.optimizer.state[weight]
            tensors |= {f"{key}/{name}": value for key, value in moments.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".part")
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, fresh)
        fresh.replace(path)

    @torch.no_grad()
    def restore(self, path: Path) -> int:
        """Read a state back in place and return its number of steps."""
        tensors = load_file(path)
        for name, weight in self.weights.items():
            weight.copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            self.optimizer.state[weight] = {
                key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
        return int(tensors["step"])


def checkpoint_name(
    config: FitConfig, family: Family, target_B: Array, start: Fit | None, seed: int
) -> str:
    """Return the file's name, of all that decides a training run: another run has another file."""
    begun = ""
    if start is not None:
        begun = hashlib.sha256(start.network.weights["names"].tobytes()).hexdigest()
    key = repr((config.sha256(), family, target_B.tolist(), begun, seed)).encode()
    return f"{hashlib.sha256(key).hexdigest()[:12]}-{seed}.safetensors"
