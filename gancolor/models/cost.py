"""The cost of a generator: parameters, and multiply-accumulates per photograph."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(generator: nn.Module, size: int = 256) -> int:
    """Count the multiply-accumulates of convolutions, matrix products and attention for one `size` x `size` photograph.
    It runs on the meta device, which computes nothing, so it is fast."""
    network = copy.deepcopy(generator).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 1, size, size, device="meta"))
    return counter.get_total_flops() // 2
