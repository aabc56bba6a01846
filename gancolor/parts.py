"""Micro-batches for gradient accumulation."""

from collections.abc import Iterator

import torch
from torch import nn

from gancolor import distributed
from gancolor.objective import Batch


class Parts:
    """A batch split into micro-batches of equal size.

    Args:
        count: number of micro-batches; divides the batch size.
    """

    def __init__(self, batch: Batch, count: int) -> None:
        sliced = [tensor.chunk(count) for tensor in batch]
        self.parts = [batch] if count == 1 else [Batch(*part) for part in zip(*sliced, strict=True)]
        self._chance = torch.initial_seed()

    def __len__(self) -> int:
        return len(self.parts)

    def on(self, network: nn.Module) -> Iterator[Batch]:
        """Yield each micro-batch for one forward and backward pass of the network.

        Gradients accumulate, and the ranks average them after the last micro-batch. A micro-batch gets the same random
        numbers (dropout) in every iteration over the batch.
        """
        for number, part in enumerate(self.parts):
            if len(self) > 1:
                torch.manual_seed((self._chance + 1 + number) % 2**63)  # offset 0 is the step's own seed, already used
            with distributed.averaged(network, number == len(self) - 1):
                yield part
