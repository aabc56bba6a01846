"""A batch in parts, one at a time (gradient accumulation)."""

from collections.abc import Iterator

import torch
from torch import nn

from gancolor import distributed
from gancolor.objective import Batch


class Parts:
    """A batch's parts, all of one size.

    Args:
        count: a divisor of the batch.
    """

    def __init__(self, batch: Batch, count: int) -> None:
        sliced = [tensor.chunk(count) for tensor in batch]
        self.parts = [batch] if count == 1 else [Batch(*part) for part in zip(*sliced, strict=True)]
        self._chance = torch.initial_seed()

    def __len__(self) -> int:
        return len(self.parts)

    def on(self, network: nn.Module) -> Iterator[Batch]:
        """Each part, to add to the network's gradients, which the ranks average after the last one. A part has the same
        chance (dropout) every time it comes by."""
        for number, part in enumerate(self.parts):
            if len(self) > 1:
                torch.manual_seed((self._chance + 1 + number) % 2**63)  # 0 was for what came before
            with distributed.averaged(network, number == len(self) - 1):
                yield part
