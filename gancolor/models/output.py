"""What generators say."""

from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """A generator's answer, the same type for all of them.

    Attributes:
        chroma: (B, 2, H, W) in [-1, 1], ab / 110.
        scene_logits: (B, classes), of generators that classify the scene.
        bin_logits: (B, bins, H', W'), of generators that classify each pixel's colour.
    """

    chroma: Tensor
    scene_logits: Tensor | None = None
    bin_logits: Tensor | None = None
