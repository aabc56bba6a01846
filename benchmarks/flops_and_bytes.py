"""Least work of a training step: multiply-accumulates and bytes, counted without computing anything.

Each step runs once on tensors that have shapes and types but no contents. So autograd leaves out the same gradients as
in training: those with respect to the photographs and to a frozen discriminator's weights. The counts are

    MACs     of every convolution and matrix product, forward and backward. For a transposed convolution, the number of
             inputs times the number of outputs that each contributes to; the formula of a convolution with the same
             output would give four times as many at stride 2.
    bytes    of every convolution and matrix product: its reads (inputs, weights) and writes, once each, in the types
             that autocast gives them. The two products of a backward pass share a gradient, which is read once. In
             addition, per trained weight, in float32: its gradient is read, and the weight and Adam's two moments are
             read and written. Per number of the generator's state: its moving average is read and written.

Everything else (norms, activations, dropout, concatenations, losses, colour conversion, augmentation) counts as fused
into the products and free. No program achieves this: it is a floor.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from step_runners import CLASSES, StepSpec
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from gancolor.data.batch import Batch
from gancolor.losses import terms as losses
from gancolor.losses.objective import Objective
from gancolor.models.patchgan import PatchGAN
from gancolor.training.schedule import Stage

OPTIMIZER_BYTES = 4 * (1 + 2 * 3)  # per weight: gradient read; weight and two moments read and written
AVERAGE_BYTES = 4 * 2  # read and written


@dataclass(frozen=True)
class Work:
    """Least work of a step.

    Attributes:
        macs: multiply-accumulates.
        bytes: moved between memory and compute units.
    """

    macs: int
    bytes: int

    def seconds(self, macs_per_second: float, bytes_per_second: float) -> float:
        """Return the floor [s]: the longer of the two times, as if arithmetic and transfers overlapped completely."""
        return max(self.macs / macs_per_second, self.bytes / bytes_per_second)


class Traffic(TorchDispatchMode):
    """Counter of the bytes that convolutions and matrix products read and write while the mode is active."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            read = _needed(func, args)
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves((read, kwargs, out)) if isinstance(leaf, Tensor))
        return out


def _needed(func: Any, args: Any) -> Any:
    """Return the arguments that a product reads. The gradient with respect to a convolution's input does not need the
    input, and the gradient with respect to its weight does not need the weight."""
    if func._overloadpacket is not torch.ops.aten.convolution_backward:
        return args
    (gradient, inputs, weight), (by_input, by_weight, _) = args[:3], args[-1]
    return gradient, inputs if by_weight else None, weight if by_input else None


def count(run: Callable[[], object]) -> Work:
    """Return the work of a call. Tensors that it creates have no contents."""
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as flops, Traffic() as traffic:
        run()
    return Work(flops.get_total_flops() // 2, traffic.bytes)


class StepCounter:
    """Counter of the work in steps of an architecture's recipe. It runs on the CPU, for any device."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        self.generator, self.discriminator = spec.networks()
        self.objective = spec.objective(torch.device("cpu"))

    def forward(self) -> Work:
        """Count the generator's forward pass alone."""
        return count(lambda: self.generator(_batch(self.spec).lightness))

    def step(self, stage: Stage, precision: str) -> Work:
        """Count one whole step on a batch."""
        adversarial = stage == "adversarial" and self.objective.is_adversarial
        autocast = partial(torch.autocast, "cpu", _half(precision) or torch.bfloat16, _half(precision) is not None)
        networks = (self.generator, self.discriminator)
        work = count(lambda: _take(*networks, self.objective, _batch(self.spec), autocast, adversarial))
        for network in networks:
            network.zero_grad(set_to_none=True)
        trained = _numbers(_trained(self.generator)) + (_numbers(_trained(self.discriminator)) if adversarial else 0)
        averaged = _numbers(value for value in self.generator.state_dict().values() if value.is_floating_point())
        return Work(work.macs, work.bytes + OPTIMIZER_BYTES * trained + AVERAGE_BYTES * averaged)


def _take(
    generator: nn.Module, discriminator: PatchGAN, objective: Objective, batch: Batch,
    autocast: Callable[[], AbstractContextManager[object]], adversarial: bool,
) -> None:  # fmt: skip
    """Compute what a step needs, up to the gradients, in the order of `GANStep.step`."""
    with autocast():
        prediction = generator(batch.lightness)
    if adversarial:
        fake = prediction.chroma.detach().float()
        with autocast():
            true_logits, fake_logits = (discriminator(batch.lightness, chroma) for chroma in (batch.chroma, fake))
        loss = losses.gan_discriminator(true_logits, fake_logits, objective.loss.gan_mode)
        for name, penalty in (objective.penalties(discriminator, batch, fake) if objective.penalizes else {}).items():
            loss = loss + getattr(objective.loss, name) * penalty
        loss.backward()
    terms = objective.generator_terms(batch, prediction, _trained(generator), pretraining=not adversarial)
    if adversarial:
        discriminator.requires_grad_(False)
        with autocast():
            terms |= objective.adversarial_terms(discriminator, batch, prediction.chroma.float())
    losses.weighted_sum(terms, objective.weights).backward()
    discriminator.requires_grad_(True)


def _batch(spec: StepSpec) -> Batch:
    lightness, chroma = (torch.empty(spec.batch_size, channels, spec.size, spec.size) for channels in (1, 2))
    return Batch(lightness, chroma, torch.full((spec.batch_size,), CLASSES - 1))


def _half(precision: str) -> torch.dtype | None:
    # fp16 is counted as bf16: both have two bytes, and a CPU's autocast supports fp16 for fewer operations.
    return torch.bfloat16 if precision in ("bf16", "fp16") else None


def _trained(network: nn.Module) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
