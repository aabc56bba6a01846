"""Training batches."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Training batch.

    Attributes:
        lightness: (B, 1, H, W) in [-1, 1].
        chroma: (B, 2, H, W) in [-1, 1].
        labels: int64 (B,), -1 for photographs without a class.
        hints: (B, 3, H, W), colour hints (see `gancolor.data.hints`); None for generators without them.
    """

    lightness: Tensor
    chroma: Tensor
    labels: Tensor
    hints: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The generator's arguments."""
        return (self.lightness,) if self.hints is None else (self.lightness, self.hints)
