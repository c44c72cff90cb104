"""Residuals of many queries: in passes of like length, in any order they came."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ncpl.language.plan import passes_of
from ncpl.language.sequence import Query, Sequencer
from ncpl.language.settings import LanguageConfig

Array = npt.NDArray[np.float64]


def cast(config: LanguageConfig, device: torch.device) -> AbstractContextManager[None]:
    """Return the autocast context of the settings on a device."""
    is_liked = device.type == "cuda" and torch.cuda.is_bf16_supported()
    is_on = config.precision == "bf16" or (config.precision == "auto" and is_liked)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_on)


@torch.no_grad()
def residuals(
    network: nn.Module,
    sequencer: Sequencer,
    queries: Sequence[Query],
    device: torch.device,
    *,
    world: int = 1,
    rank: int = 0,
) -> dict[int, Array]:
    """Return the residual of every point, nats, by the place of its query.

    With several processes each returns its own share, and all must call.
    """
    config = sequencer.config
    lengths = [sequencer.length(query) for query in queries]
    found: dict[int, Array] = {}
    for places in passes_of(lengths, config.max_tokens, world, rank):
        own = [queries[i] for i in places] or [queries[0]]
        batch = sequencer.batch(own).to(device)
        with cast(config, device):
            flat = network(batch).double().cpu().numpy()
        edges = np.cumsum([len(query.fractions) for query in own])[:-1]
        found |= zip(places, np.split(flat, edges) if places else [], strict=True)
    return found
