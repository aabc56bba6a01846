"""Forward passes that are computed twice, to save the memory of the first pass's activations."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.utils.checkpoint import checkpoint

BlockCall = Callable[..., Tensor]  # (block, *inputs) -> output
ALIGNMENT = 16  # [bytes]; compiled networks copy unaligned buffers, which rules out CUDA graphs


def call(block: nn.Module, *inputs: Tensor) -> Tensor:
    return block(*inputs)


def recomputed(block: nn.Module, *inputs: Tensor) -> Tensor:
    """Compute block(*inputs), keeping only the inputs for the backward pass, which computes the rest again with the
    same dropout (activation checkpointing, Chen 2016)."""
    return checkpoint(block, *inputs, use_reentrant=False, context_fn=lambda: _first_and_second(block))


def _first_and_second(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), second_pass(block)


@contextmanager
def second_pass(network: nn.Module) -> Iterator[None]:
    """Keep the network's own statistics unchanged inside the context, since the first pass has already updated them:
    BatchNorm's running statistics and spectral norm's vectors."""
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
    """Backup of networks' buffers (BatchNorm statistics).

    The buffers become slices of one tensor per dtype, so that a few operations save or restore them all. The networks
    must keep their device and dtype: after a move, their buffers are no longer slices.
    """

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
                # `data` gives each piece a version counter of its own. With a shared one, autograd would take an
                # update of one buffer for a change of all, even of those that a backward pass still needs.
                module._buffers[name] = place.copy_(buffer).data
            self.whole.append(whole)

    def keep(self) -> None:
        """Save the current values."""
        self.kept = [whole.clone() for whole in self.whole]

    def restore_unless(self, good: Tensor) -> None:
        """Restore the saved values if `good`, a scalar bool tensor on the buffers' device, is false."""
        for whole, kept in zip(self.whole, self.kept, strict=True):
            whole.copy_(torch.where(good, whole, kept))
