"""Processes of torchrun: where this one runs, and how a network is spread over them.

`ddp` keeps the whole network in every process, `fsdp2` a shard of it (torch's fully_shard).
Files are written by rank 0; tensors are gathered for it, and cut again when read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from ncpl.errors import ConfigError

KINDS = ("ddp", "fsdp2")


@dataclass(frozen=True)
class Parallel:
    """One process among `world`."""

    device: torch.device
    rank: int = 0
    world: int = 1
    kind: str = "ddp"

    @property
    def is_first(self) -> bool:
        """Return whether this process writes files and talks."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network spread over the processes, on this process's device.

        Freeze what is to be frozen before: both kinds look at it once.
        """
        network.to(self.device)
        if self.kind == "fsdp2" and dist.is_initialized():
            mesh = init_device_mesh(self.device.type, (self.world,))
            for layer in getattr(network.base, "layers", ()):
                fully_shard(layer, mesh=mesh)
            fully_shard(network, mesh=mesh)  # in place
            return network
        if self.world > 1:
            return DistributedDataParallel(network)
        return network

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return each flag, true where it is true in any process."""
        if self.world == 1:
            return flags
        found = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in found.tolist())

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.world > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values.cpu()

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            dist.barrier()


@contextlib.contextmanager
def processes(kind: str = "ddp") -> Iterator[Parallel]:
    """Give this process's place; under torchrun, join the others and leave them at the end.

    Raises ConfigError for an unknown kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"parallel is {kind!r}; expected {' or '.join(KINDS)}")
    is_cuda = torch.cuda.is_available()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Parallel(torch.device("cuda" if is_cuda else "cpu"), kind=kind)
        return
    device = torch.device("cpu")
    if is_cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if is_cuda else "gloo")
    try:
        yield Parallel(device, dist.get_rank(), dist.get_world_size(), kind)
    finally:
        dist.destroy_process_group()


def plain(network: nn.Module) -> Any:
    """Return the network inside a wrapped one."""
    return network.module if isinstance(network, DistributedDataParallel) else network


def last_pass_only(network: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
    """Return a context in which gradients travel between processes only after the last pass."""
    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(is_last)
    elif isinstance(network, DistributedDataParallel) and not is_last:
        return network.no_sync()
    return contextlib.nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor's full value on the CPU; of a sharded one, every process must ask."""
    tensor = tensor.detach()
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.cpu().contiguous().clone()


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that lies in this process; it shares memory with it."""
    found: Tensor = tensor.detach()
    return found.to_local() if isinstance(found, DTensor) else found


def spread_like(full: Tensor, like: Tensor) -> Tensor:
    """Return a full tensor laid out as another: its device, its shards."""
    full = full.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(full, like.device_mesh, like.placements)
    return full
