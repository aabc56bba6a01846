"""Comparison of an exported file's output with the generator's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.color.torch_lab import uint8_to_lab
from gancolor.data.sources.demo import draw_scene
from gancolor.models import takes_hints
from gancolor.utils.errors import InputError

# Batch, height, width. The first is the smallest that a Colorizer accepts, where maps shrink to 1 x 1; the last is no
# multiple of any stride.
SIZES = ((1, 16, 16), (1, 64, 64), (2, 96, 160), (1, 75, 131))
# Largest difference allowed [ab]. A level of an 8-bit picture is about 0.4, and sums in another order differ by less
# than 0.001. Weights rounded to float16 change a colour by 0.1 or 0.2; 1 is just visible (CIE 142-2001).
TOLERANCES = {"float32": 0.01, "float16": 1.0}

# Lightness (B, 1, H, W) in [-1, 1], and hints (B, 3, H, W) if the generator takes them, to chroma (B, 2, H, W) in
# [-1, 1].
Inference = Callable[..., Tensor]


@dataclass(frozen=True)
class Difference:
    """The largest difference in chroma at one size, in units of ab."""

    batch: int
    height: int
    width: int
    largest: float

    def __str__(self) -> str:
        return f"{self.batch} x {self.height} x {self.width}"

    def to_dict(self) -> dict[str, Any]:
        return {"batch": self.batch, "height": self.height, "width": self.width, "largest_ab": self.largest}


def compare_outputs(original: nn.Module, exported: Inference) -> list[Difference]:
    """Compare the chroma from the original and the exported generator on scenes drawn by code, for each of SIZES.

    Raises:
        InputError: the original's chroma is not finite, or the two differ in shape or type.
    """
    found = []
    for batch, height, width in SIZES:
        given = [_scenes(batch, height, width)]
        if takes_hints(original):
            given.append(_hints(batch, height, width))
        with torch.inference_mode():
            expected = original(*given).chroma
        if not expected.isfinite().all():
            raise InputError(
                f"the checkpoint itself is not finite at {batch} x {height} x {width}: its weights are damaged; "
                "nothing is written: use another checkpoint"
            )
        chroma = exported(*given)
        if chroma.shape != expected.shape or chroma.dtype != expected.dtype:
            raise InputError(f"the exported file's chroma is {tuple(chroma.shape)}, not {tuple(expected.shape)}")
        found.append(Difference(batch, height, width, float((chroma - expected).abs().max()) * AB_RANGE))
    return found


def check_parity(differences: list[Difference], weights: str) -> None:
    """Check differences against the tolerance of these weights (a key of TOLERANCES). Raises InputError if one exceeds
    it or is NaN."""
    tolerance = TOLERANCES[weights]
    for difference in differences:
        if not difference.largest <= tolerance:  # true for NaN too
            advice = "leave out --half" if weights == "float16" else "choose another --format"
            raise InputError(
                f"the exported file differs from the generator by {difference.largest:.3g} units of ab at "
                f"{difference}, where {tolerance:g} is allowed; nothing is written: {advice}"
            )


def _scenes(batch: int, height: int, width: int) -> Tensor:
    """Draw the lightness of scenes, (B, 1, H, W) in [-1, 1]."""
    scenes = [torch.from_numpy(draw_scene(0, index, max(height, width))[:height, :width]) for index in range(batch)]
    return uint8_to_lab(torch.stack(scenes).permute(0, 3, 1, 2))[:, :1] / L_HALF_RANGE - 1


def _hints(batch: int, height: int, width: int) -> Tensor:
    """Return a hint (B, 3, H, W) that covers the upper left quarter, except at the smallest size: exported programs
    leave out the attention to hints if there are none."""
    hints = torch.zeros(batch, 3, height, width)
    if (batch, height, width) != SIZES[0]:
        hints[..., : height // 2, : width // 2] = torch.tensor([0.4, -0.2, 1.0]).view(3, 1, 1)
    return hints
