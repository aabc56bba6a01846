"""Communication between torchrun's ranks (torch DistributedDataParallel). A single process needs none."""

import hashlib
import inspect
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def start(device_type: str) -> None:
    """Join the ranks that torchrun started (NCCL on CUDA, gloo elsewhere); without torchrun, do nothing."""
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys() or dist.is_initialized():
        return
    # A long timeout: the other ranks wait while the first one downloads or decodes a large folder.
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=timedelta(hours=2))


def stop() -> None:
    """Leave the process group, on all ranks together. A rank that fails alone must exit at once instead, because the
    others wait for it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this process is the one that writes and prints."""
    return rank() == 0


def wrap(network: nn.Module) -> nn.Module:
    """Wrap a network so that its gradients are averaged over the ranks.

    Each rank keeps its own buffers: broadcasting BatchNorm's in every call would overwrite values that the backward
    pass of the discriminator's first call still needs. Checkpoints contain rank 0's.
    """
    if world_size() == 1:
        return network
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # by torch 2.14
    no_sync: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    return DistributedDataParallel(network, **no_sync)


def averaged(network: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Return a context for a wrapped network's forward and backward pass: if `now`, gradients are averaged over the
    ranks; otherwise they accumulate on each rank without communication."""
    return nullcontext() if now or world_size() == 1 else cast(DistributedDataParallel, network).no_sync()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Return whether `flag` is set on any rank; the result is the same on all ranks."""
    if world_size() == 1:
        return flag
    agreed = torch.tensor(float(flag), device=device)
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    return bool(agreed)


def share_buffers(network: nn.Module) -> None:
    """Copy rank 0's buffers, which checkpoints contain, to all ranks."""
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def all_agree(text: str, device: torch.device) -> bool:
    """Return whether `text` is the same on every rank."""
    if world_size() == 1:
        return True
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
    extremes = torch.tensor([number, -number], device=device)
    dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
    return bool(extremes[0] == -extremes[1])


def mean(value: Tensor) -> Tensor:
    """Return the mean of a tensor over the ranks, computed in place."""
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


def gather_shares(share: Tensor, total: int) -> Tensor:
    """Gather `total` rows (N, ...), of which rank r of R holds rows r, r + R, r + 2 R, ..., in order on every rank."""
    ranks = world_size()
    if ranks == 1:
        return share
    longest = -(-total // ranks)
    padded = share.new_zeros((longest, *share.shape[1:]))
    padded[: len(share)] = share
    parts = [torch.empty_like(padded) for _ in range(ranks)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock while creating `path`: other processes, on all machines that share its folder, wait and then find
    it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        yield
