"""The moving average of weights, each process on its own part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ncpl.language.parallel import local


@torch.no_grad()
def update(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """Move the average towards the weights, in place."""
    for name, mean in average.items():
        local(mean).lerp_(local(weights[name]), 1 - decay)


@contextlib.contextmanager
def averaged(average: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Put the average in the place of the weights for a while."""
    kept = {name: local(weights[name]).clone() for name in average}
    try:
        with torch.no_grad():
            for name, mean in average.items():
                local(weights[name]).copy_(local(mean))
        yield
    finally:
        with torch.no_grad():
            for name, tensor in kept.items():
                local(weights[name]).copy_(tensor)
