"""Training batches."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Training batch.

    Attributes:
        lightness: (B, 1, H, W) in [-1, 1].
        chroma: (B, 2, H, W) in [-1, 1].
        labels: int64 (B,), -1 for photographs without a class.
    """

    lightness: Tensor
    chroma: Tensor
    labels: Tensor
