"""Options of an evaluation (evaluate.py)."""

from dataclasses import dataclass, field
from typing import Literal

from jsonargparse.typing import PositiveInt

from gancolor.choices import ProtocolName
from gancolor.config.options import GREY_BELOW, LpipsConfig
from gancolor.config.types import NonNegative, Side, Strength, Weights


@dataclass
class EvaluateDataConfig:
    """Photographs

    Args:
        source: folder, shards, hf:NAME, public data set or demo, of which are scored its val folder if it has one, else
            what the checkpoints' training held out of it, else all; null: the first checkpoint's training source
        size: side of the square for protocol native [pixels]; null: the first checkpoint's
        val_limit: maximum number of photographs (the first of a seeded shuffle); null: all
        min_colorfulness: leave out photographs of lower colourfulness, because leaving a grey photograph grey would
            count as perfect; 0: score all
        cache: folder for decoded photographs; null: $XDG_CACHE_HOME/gancolor or ~/.cache/gancolor
    """

    source: str | None = None
    size: Side | None = None
    val_limit: PositiveInt | None = None
    min_colorfulness: NonNegative = GREY_BELOW
    cache: str | None = None


@dataclass
class FidConfig:
    """FID and KID

    Args:
        weights: Inception-v3's weights: off, auto (torch's cache, or download), or a file
    """

    weights: Weights = "off"


@dataclass
class EvaluateConfig:
    """Evaluation

    Args:
        protocol: which photographs are scored, how they are resized, and whether they are damaged (docs/evaluation.md)
        input_size: shorter side of the generators' input [pixels]: their colours are resized as gancolor colorize does;
            null: the size that each was trained on
        strength: factor on generators' predicted chroma, as in gancolor colorize
        predictions: NAME=DIR: score a folder of another tool's pictures, matched by file name; may be repeated
        hints: also score generators with these numbers of random colour hints, such as 0,1,2,5,10 (docs/hints.md)
        by_class: print the metrics of each class of photographs too
        json: write the result to this file, for gancolor compare
        csv: write one row per photograph and system to this file
        grid: write a picture of samples (grey, each system, truth) to this file
        samples: photographs in the grid
        batch_size: photographs per batch
        device: auto: cuda, else mps, else cpu
        keep_freed_memory: on a CPU, keep freed memory for later allocations (glibc's mallopt): faster, but takes more
            memory
    """

    protocol: ProtocolName = "native"
    input_size: Side | None = None
    strength: Strength = 1.0
    predictions: list[str] = field(default_factory=list)
    hints: str | None = None
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
