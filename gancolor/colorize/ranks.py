"""Sharing of inputs among processes started by torchrun, or anything else that sets $RANK and $WORLD_SIZE."""

import os
from collections.abc import Sequence
from datetime import timedelta

from gancolor.colorize.inputs import ColorizeJob
from gancolor.utils.environment import environment_number
from gancolor.utils.errors import InputError


def share(jobs: Sequence[ColorizeJob]) -> list[ColorizeJob]:
    """Return this process's jobs: of R ranks, rank r takes photographs r, r + R, ..., and likewise videos.

    Raises:
        InputError: $RANK and $WORLD_SIZE are not numbers with 0 <= $RANK < $WORLD_SIZE.
    """
    rank, ranks = environment_number("RANK", 0), environment_number("WORLD_SIZE", 1)
    if rank >= ranks:
        raise InputError(f"$RANK {rank} of $WORLD_SIZE {ranks}: set both, as torchrun does, or neither")
    photographs = [job for job in jobs if not job.is_video]
    videos = [job for job in jobs if job.is_video]
    return photographs[rank::ranks] + videos[rank::ranks]


def this_ranks_device(device: str) -> str:
    """Replace `auto` and `cuda` by the GPU of this rank if there are several ranks on this machine."""
    if "LOCAL_RANK" not in os.environ or device not in ("auto", "cuda"):
        return device
    local = environment_number("LOCAL_RANK", 0)
    try:
        import torch
    except ImportError:
        return device
    count = torch.cuda.device_count()
    return f"cuda:{local % count}" if count else device


def wait_for_ranks() -> None:
    """Under torchrun, wait for the other ranks.

    Torchrun ends all ranks as soon as one exits with a non-zero status, as a rank with unreadable files does.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or environment_number("WORLD_SIZE", 1) == 1:
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=timedelta(days=365))
    dist.barrier()
    dist.destroy_process_group()
