"""Inputs shared out over the processes that torchrun, or anything else that sets $RANK and $WORLD_SIZE, has started."""

import os
from collections.abc import Sequence
from datetime import timedelta

from gancolor.colorize.inputs import Job
from gancolor.errors import InputError


def share(jobs: Sequence[Job]) -> list[Job]:
    """Of R ranks, rank r takes photographs r, r + R, ..., and videos so too; alone it takes all.

    Raises:
        InputError: $RANK and $WORLD_SIZE are no such numbers.
    """
    words = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (words[0].isdecimal() and words[1].isdecimal() and int(words[0]) < int(words[1])):
        raise InputError(f"$RANK {words[0]} of $WORLD_SIZE {words[1]}: set both, as torchrun does, or neither")
    rank, ranks = int(words[0]), int(words[1])
    photographs = [job for job in jobs if not job.is_video]
    videos = [job for job in jobs if job.is_video]
    return photographs[rank::ranks] + videos[rank::ranks]


def this_ranks_device(device: str) -> str:
    """`auto` and `cuda` are this rank's own GPU where there are several ranks on this machine."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or device not in ("auto", "cuda"):
        return device
    try:
        import torch
    except ImportError:
        return device
    count = torch.cuda.device_count()
    return f"cuda:{int(local) % count}" if count else device


def wait_for_ranks() -> None:
    """Under torchrun, waits for the others: it ends all of them as soon as one says by its exit status that some of its
    files were bad."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=timedelta(days=365))
    dist.barrier()
    dist.destroy_process_group()
