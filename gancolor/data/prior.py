"""The colours of a training set: the share of its pixels in each of the 313 bins, counted once."""

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from gancolor import distributed
from gancolor.bins import bin_centres, nearest_bin, smoothed
from gancolor.color import rgb_to_lab, to_float
from gancolor.data.photographs import Photographs, default_cache
from gancolor.files import write_json

VERSION = 1
MOST_PHOTOS = 20_000  # that are counted, drawn by lot: the shares' error is far under what the smoothing evens out
MOST_SIDE = 64  # of what is looked at of a photograph, every so many pixels [pixels]
AT_ONCE = 64  # photographs


def color_prior(photographs: Photographs, kept: Tensor, cache: str | Path | None = None) -> Tensor:
    """The bins' shares of the pixels of the photographs `kept` (int64 indices), smoothed (Zhang 2016, section 2.2):
    float32 (313,), summing to 1, counted the first time and read from the cache from then on."""
    key = hashlib.sha256(f"{VERSION} {photographs.digest} ".encode() + kept.numpy().tobytes()).hexdigest()[:16]
    path = Path(cache or default_cache()).expanduser() / f"prior-{key}.json"
    try:
        if not path.is_file():
            with distributed.one_at_a_time(path):
                if not path.is_file():
                    write_json(path, {"pixels": count_bins(photographs, kept).tolist()})
        counts = torch.tensor(json.loads(path.read_text(encoding="utf-8"))["pixels"])
    except PermissionError:  # a cache that is shared read-only
        counts = count_bins(photographs, kept)
    return smoothed(counts.double() / counts.sum())


def count_bins(photographs: Photographs, kept: Tensor) -> Tensor:
    """Pixels in each bin, int64 (313,)."""
    if len(kept) > MOST_PHOTOS:
        kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))[:MOST_PHOTOS]]
    stride = -(-photographs.size // MOST_SIDE)
    counts = torch.zeros(len(bin_centres()), dtype=torch.int64)
    for indices in kept.split(AT_ONCE):
        _, chroma = rgb_to_lab(to_float(photographs.take(indices)[..., ::stride, ::stride]))
        counts += torch.bincount(nearest_bin(chroma).flatten(), minlength=len(counts)).cpu()
    return counts
