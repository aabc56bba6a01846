"""Colour prior of a training set: the share of its pixels in each colour bin, counted once."""

import errno
import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from gancolor.color.bins import GAMUT, nearest_bin, smoothed
from gancolor.color.torch_lab import rgb_to_lab, to_float
from gancolor.data.cache.photographs import Photographs, default_cache
from gancolor.utils import distributed
from gancolor.utils.files import write_json

VERSION = 1
MOST_PHOTOS = 20_000  # counted, chosen at random: the sampling error is far below what the smoothing removes
MOST_SIDE = 64  # larger photographs are subsampled to at most this side [pixels]
AT_ONCE = 64  # photographs per batch


def color_prior(photographs: Photographs, kept: Tensor, cache: str | Path | None = None, bins: int = GAMUT) -> Tensor:
    """Return each bin's share of the pixels in the photographs `kept` (int64 indices), smoothed (Zhang 2016, section
    2.2): float32 (bins,), summing to 1. Counted the first time, then read from the cache."""
    key = hashlib.sha256(f"{VERSION} {bins} {photographs.digest} ".encode() + kept.numpy().tobytes()).hexdigest()[:16]
    path = Path(cache or default_cache()).expanduser() / f"prior-{key}.json"
    try:
        if not path.is_file():
            with distributed.one_at_a_time(path):
                if not path.is_file():
                    write_json(path, {"pixels": count_bins(photographs, kept, bins).tolist()})
        counts = torch.tensor(json.loads(path.read_text(encoding="utf-8"))["pixels"])
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):  # a shared cache that is read-only
            raise
        counts = count_bins(photographs, kept, bins)
    return smoothed(counts.double() / counts.sum())


def count_bins(photographs: Photographs, kept: Tensor, bins: int = GAMUT) -> Tensor:
    """Count the pixels in each bin, int64 (bins,)."""
    if len(kept) > MOST_PHOTOS:
        kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))[:MOST_PHOTOS]]
    stride = -(-photographs.size // MOST_SIDE)
    counts = torch.zeros(bins, dtype=torch.int64)
    for indices in kept.split(AT_ONCE):
        _, chroma = rgb_to_lab(to_float(photographs.take(indices)[..., ::stride, ::stride]))
        counts += torch.bincount(nearest_bin(chroma, bins).flatten(), minlength=len(counts)).cpu()
    return counts
