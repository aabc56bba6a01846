"""Whether an exported file says what the generator says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.color import uint8_to_lab
from gancolor.data.demo import draw_scene
from gancolor.errors import InputError
from gancolor.lab import AB_RANGE, L_HALF_RANGE

# Batch, height, width: the least that a Colorizer takes, where maps shrink to a single place; the last is no multiple
# of any stride.
SIZES = ((1, 16, 16), (1, 64, 64), (2, 96, 160), (1, 75, 131))
# Largest difference allowed [ab]. A level of an 8-bit picture is some 0.4 of it, and sums in another order differ by
# under a thousandth. Weights rounded to float16 move a colour by a tenth or two; 1 can just be seen (CIE 142-2001).
TOLERANCES = {"float32": 0.01, "float16": 1.0}

Runner = Callable[[Tensor], Tensor]  # lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1]


@dataclass(frozen=True)
class Difference:
    """The largest difference of a size's chroma, in units of ab."""

    batch: int
    height: int
    width: int
    largest: float

    def __str__(self) -> str:
        return f"{self.batch} x {self.height} x {self.width}"

    def to_dict(self) -> dict[str, Any]:
        return {"batch": self.batch, "height": self.height, "width": self.width, "largest_ab": self.largest}


def compare(original: nn.Module, exported: Runner) -> list[Difference]:
    """The differences of what the two say of scenes drawn by code, a size each of SIZES.

    Raises:
        InputError: the original gives no numbers, or the two chroma of another shape or type.
    """
    found = []
    for batch, height, width in SIZES:
        lightness = _scenes(batch, height, width)
        with torch.inference_mode():
            expected = original(lightness).chroma
        if not expected.isfinite().all():
            raise InputError(
                f"the checkpoint itself is not finite at {batch} x {height} x {width}: its weights are damaged; "
                "nothing is written: take another checkpoint"
            )
        chroma = exported(lightness)
        if chroma.shape != expected.shape or chroma.dtype != expected.dtype:
            raise InputError(f"the exported file's chroma is {tuple(chroma.shape)}, not {tuple(expected.shape)}")
        found.append(Difference(batch, height, width, float((chroma - expected).abs().max()) * AB_RANGE))
    return found


def check(differences: list[Difference], weights: str) -> None:
    """Raises InputError: a difference beyond the tolerance of these weights (a key of TOLERANCES), or no number."""
    tolerance = TOLERANCES[weights]
    for difference in differences:
        if not difference.largest <= tolerance:  # nor is NaN
            advice = "leave out --half" if weights == "float16" else "take another --format"
            raise InputError(
                f"the exported file differs from the generator by {difference.largest:.3g} units of ab at "
                f"{difference}, where {tolerance:g} is allowed; nothing is written: {advice}"
            )


def _scenes(batch: int, height: int, width: int) -> Tensor:
    """Lightness (B, 1, H, W) in [-1, 1]."""
    scenes = [torch.from_numpy(draw_scene(0, index, max(height, width))[:height, :width]) for index in range(batch)]
    return uint8_to_lab(torch.stack(scenes).permute(0, 3, 1, 2))[:, :1] / L_HALF_RANGE - 1
