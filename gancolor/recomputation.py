"""Passes through a network that are taken a second time, to save the memory of what the first one made."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.utils.checkpoint import checkpoint

Run = Callable[..., Tensor]  # a block and its inputs to its output
ALIGNMENT = 16  # bytes: compiled networks copy what lies otherwise, and then can't be CUDA graphs


def call(block: nn.Module, *inputs: Tensor) -> Tensor:
    return block(*inputs)


def recomputed(block: nn.Module, *inputs: Tensor) -> Tensor:
    """block(*inputs), of which only the inputs are kept for the backward pass: the rest is computed again when that
    comes by, with the same dropout (activation checkpointing, Chen 2016)."""
    return checkpoint(block, *inputs, use_reentrant=False, context_fn=lambda: _first_and_second(block))


def _first_and_second(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), second_pass(block)


@contextmanager
def second_pass(network: nn.Module) -> Iterator[None]:
    """While it is entered, passes leave the network's own statistics alone, which the first pass has counted:
    BatchNorm's running ones, and spectral norm's vectors."""
    layers = [layer for layer in network.modules() if layer.training]
    norms = [(layer, layer.momentum, layer.num_batches_tracked) for layer in layers if isinstance(layer, _BatchNorm)]
    spectral = [layer for layer in layers if isinstance(layer, _SpectralNorm)]
    for norm, _, _ in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    for layer in spectral:
        layer.eval()
    try:
        yield
    finally:
        for norm, momentum, counter in norms:
            norm.momentum, norm.num_batches_tracked = momentum, counter
        for layer in spectral:
            layer.train()


class Buffers:
    """Networks' buffers (BatchNorm's statistics), from now on slices of one tensor a type, so that all are kept and
    given back in a few operations. The networks are to stay on their device and of their type: moved buffers are slices
    no more."""

    def __init__(self, *networks: nn.Module) -> None:
        self.whole: list[Tensor] = []
        self.kept: list[Tensor] = []
        places: dict[torch.dtype, list[tuple[nn.Module, str, Tensor]]] = {}
        for network in networks:
            for module in network.modules():
                for name, buffer in module.named_buffers(recurse=False):
                    places.setdefault(buffer.dtype, []).append((module, name, buffer))
        for dtype, found in places.items():
            unit = max(ALIGNMENT // dtype.itemsize, 1)
            sizes = [math.ceil(buffer.numel() / unit) * unit for _, _, buffer in found]
            whole = found[0][2].new_zeros(sum(sizes))
            for (module, name, buffer), piece in zip(found, whole.split(sizes), strict=True):
                place = piece[: buffer.numel()].view(buffer.shape)
                # `data`: else a change to one would count as a change to all, of what a backward pass still needs.
                module._buffers[name] = place.copy_(buffer).data
            self.whole.append(whole)

    def keep(self) -> None:
        """Remembers them as they are."""
        self.kept = [whole.clone() for whole in self.whole]

    def restore_unless(self, good: Tensor) -> None:
        """Gives back what was kept, where `good`, a scalar bool on their device, is false."""
        for whole, kept in zip(self.whole, self.kept, strict=True):
            whole.copy_(torch.where(good, whole, kept))
