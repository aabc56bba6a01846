"""Micro-batches for gradient accumulation."""

from collections.abc import Iterator

import torch
from torch import nn

from gancolor.data.batch import Batch
from gancolor.utils import distributed


class MicroBatches:
    """A batch split into micro-batches of equal size.

    Args:
        count: number of micro-batches; divides the batch size.
    """

    def __init__(self, batch: Batch, count: int) -> None:
        sliced = [(None,) * count if tensor is None else tensor.chunk(count) for tensor in batch]
        self.batches = [batch] if count == 1 else [Batch(*tensors) for tensors in zip(*sliced, strict=True)]
        self._seed = torch.initial_seed()

    def __len__(self) -> int:
        return len(self.batches)

    def for_network(self, network: nn.Module) -> Iterator[Batch]:
        """Yield each micro-batch for one forward and backward pass of the network.

        Gradients accumulate, and the ranks average them after the last micro-batch. A micro-batch gets the same random
        numbers (dropout) in every iteration over the batch.
        """
        for number, micro_batch in enumerate(self.batches):
            if len(self) > 1:
                torch.manual_seed((self._seed + 1 + number) % 2**63)  # offset 0 is the step's own seed, already used
            with distributed.averaged(network, number == len(self) - 1):
                yield micro_batch
