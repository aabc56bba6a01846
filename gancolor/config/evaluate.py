"""Options of an evaluation (evaluate.py)."""

from dataclasses import dataclass, field
from typing import Literal

from jsonargparse.typing import PositiveInt

from gancolor.choices import ProtocolName
from gancolor.config.options import LpipsConfig
from gancolor.config.types import Side


@dataclass
class EvaluateDataConfig:
    """Photographs

    Args:
        source: folder, public data set or demo; its val folder where it has one; null: what the first checkpoint was
            trained on
        size: side of the square [pixels], of protocol native; null: the first checkpoint's
        val_limit: the first of a seeded shuffle; null: all
        cache: folder of the decoded photographs; null: $XDG_CACHE_HOME/gancolor or ~/.cache/gancolor
    """

    source: str | None = None
    size: Side | None = None
    val_limit: PositiveInt | None = None
    cache: str | None = None


@dataclass
class FidConfig:
    """FID and KID

    Args:
        weights: Inception-v3's: off, auto (torch's cache, or download), or a file
    """

    weights: str = "off"


@dataclass
class EvaluateConfig:
    """Evaluation

    Args:
        protocol: which photographs, resized how, damaged or not (docs/evaluation.md)
        predictions: NAME=DIR: score a folder of another tool's pictures, matched by file name; may be repeated
        by_class: the figures of each class of photographs, too
        json: write the result to this file, for gancolor compare
        csv: write one line a photograph and system to this file
        grid: write a picture of samples (grey, each system, truth) to this file
        samples: photographs in the grid
        batch_size: photographs at a time
        device: auto: cuda, else mps, else cpu
        keep_freed_memory: on a CPU, keep freed memory for later allocations (glibc's mallopt): faster, with more memory
    """

    protocol: ProtocolName = "native"
    predictions: list[str] = field(default_factory=list)
    by_class: bool = False
    json: str | None = None
    csv: str | None = None
    grid: str | None = None
    samples: PositiveInt = 8
    batch_size: PositiveInt = 32
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    keep_freed_memory: bool = True
    data: EvaluateDataConfig = field(default_factory=EvaluateDataConfig)
    lpips: LpipsConfig = field(default_factory=LpipsConfig)
    fid: FidConfig = field(default_factory=FidConfig)
    checkpoints: list[str] = field(default_factory=list)
