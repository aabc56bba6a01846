"""Output of the generators."""

from typing import NamedTuple

from torch import Tensor


class GeneratorOutput(NamedTuple):
    """A generator's output, the same type for all generators.

    Attributes:
        chroma: (B, 2, H, W) in [-1, 1], ab / 110.
        scene_logits: (B, classes), from generators that classify the scene.
        bin_logits: (B, bins, H', W'), from generators that classify each pixel's colour.
    """

    chroma: Tensor
    scene_logits: Tensor | None = None
    bin_logits: Tensor | None = None
