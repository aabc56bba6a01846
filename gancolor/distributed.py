"""torchrun's ranks (torch DistributedDataParallel). Nothing else knows how they talk; alone it does nothing."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def start(device_type: str) -> None:
    """Joins the ranks that torchrun started (NCCL on CUDA, gloo elsewhere); without torchrun there is one."""
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys() or dist.is_initialized():
        return
    # Ranks wait for one another while the first decodes a large folder or downloads it.
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=timedelta(hours=2))


def stop() -> None:
    """Leaves the ranks. Only all together: one that fails alone must end at once, for the others wait for it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def wrap(network: nn.Module) -> nn.Module:
    """The network with its gradients averaged over the ranks.

    Buffers stay each rank's own: broadcasting BatchNorm's at every call would overwrite what the discriminator's first
    pass still needs for its backward. Checkpoints keep rank 0's.
    """
    if world_size() == 1:
        return network
    return DistributedDataParallel(network, broadcast_buffers=False)


def averaged(network: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Around a pass of a wrapped network and its backward: whether the ranks average its gradients with it, or leave
    them to add up."""
    return nullcontext() if now or world_size() == 1 else cast(DistributedDataParallel, network).no_sync()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set on any rank, the same answer on all."""
    if world_size() == 1:
        return flag
    agreed = torch.tensor(float(flag), device=device)
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    return bool(agreed)


def share_buffers(network: nn.Module) -> None:
    """Gives every rank the first one's buffers, which are the ones that checkpoints keep."""
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def all_agree(text: str, device: torch.device) -> bool:
    """Whether `text` is the same on every rank."""
    if world_size() == 1:
        return True
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
    extremes = torch.tensor([number, -number], device=device)
    dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
    return bool(extremes[0] == -extremes[1])


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over the ranks."""
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


def gather_shares(share: Tensor, total: int) -> Tensor:
    """Puts together (N, ...) rows of which rank r holds rows r, r + R, r + 2 R, ... of `total`."""
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
    """Lets one process at a time make what `path` names, on all machines that share its folder; the others find it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        yield
