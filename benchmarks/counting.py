"""The least that a training step has to do: multiply-accumulates and bytes, counted without computing anything.

Every step is taken once on tensors that have shapes and types but no contents, so that autograd leaves out what it
leaves out in training: no gradient by the photographs, none by a frozen discriminator's weights. What is counted is

    MACs     of every convolution and matrix product, forward and backward. A transposed convolution's are its inputs
             times what each is spread over; counts that take it for a convolution of its output say four times as much.
    bytes    of every convolution and matrix product: what it reads (inputs, weights) and what it writes, once each, in
             the types that autocast gives them. The two products of a backward pass read the gradient that they share
             once. Of each trained weight besides, in float32: its gradient read, itself and Adam's two moments read and
             written. Of each number of the generator's state: its moving average read and written.

All else (norms, activations, dropout, joins, losses, colours, augmentation) is taken to be fused into the products and
to cost nothing, which no program reaches: it is a floor.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from steps import CLASSES, StepSpec
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from gancolor import losses
from gancolor.models.patchgan import PatchGAN
from gancolor.objective import Batch, Objective
from gancolor.schedule import Stage

OPTIMIZER_BYTES = 4 * (1 + 2 * 3)  # of a weight: gradient; itself and two moments, in and out
AVERAGE_BYTES = 4 * 2  # in and out


@dataclass(frozen=True)
class Work:
    """What a step has to do.

    Attributes:
        macs: multiply-accumulates.
        bytes: moved between memory and units.
    """

    macs: int
    bytes: int

    def seconds(self, macs_per_second: float, bytes_per_second: float) -> float:
        """The floor: the longer of the two, as if neither waited for the other."""
        return max(self.macs / macs_per_second, self.bytes / bytes_per_second)


class Traffic(TorchDispatchMode):
    """Counts the bytes that convolutions and matrix products read and write while it is entered."""

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
    """The gradient by a convolution's input takes no input, the one by its weight no weight."""
    if func._overloadpacket is not torch.ops.aten.convolution_backward:
        return args
    (gradient, inputs, weight), (by_input, by_weight, _) = args[:3], args[-1]
    return gradient, inputs if by_weight else None, weight if by_input else None


def count(run: Callable[[], object]) -> Work:
    """The work of a call. Tensors that it makes have no contents."""
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as flops, Traffic() as traffic:
        run()
    return Work(flops.get_total_flops() // 2, traffic.bytes)


class StepCounter:
    """Counts steps of an architecture's recipe on the CPU, whatever device they are for."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        self.generator, self.discriminator = spec.networks()
        self.objective = spec.objective(torch.device("cpu"))

    def forward(self) -> Work:
        """The generator's forward pass alone."""
        return count(lambda: self.generator(_batch(self.spec).lightness))

    def step(self, stage: Stage, precision: str) -> Work:
        """One whole step of a batch."""
        plays = stage == "adversarial" and self.objective.plays
        autocast = partial(torch.autocast, "cpu", _half(precision) or torch.bfloat16, _half(precision) is not None)
        networks = (self.generator, self.discriminator)
        work = count(lambda: _take(*networks, self.objective, _batch(self.spec), autocast, plays))
        for network in networks:
            network.zero_grad(set_to_none=True)
        trained = _numbers(_trained(self.generator)) + (_numbers(_trained(self.discriminator)) if plays else 0)
        averaged = _numbers(value for value in self.generator.state_dict().values() if value.is_floating_point())
        return Work(work.macs, work.bytes + OPTIMIZER_BYTES * trained + AVERAGE_BYTES * averaged)


def _take(
    generator: nn.Module, discriminator: PatchGAN, objective: Objective, batch: Batch,
    autocast: Callable[[], AbstractContextManager[object]], plays: bool,
) -> None:  # fmt: skip
    """What a step has to work out, in the order of `Players.step`, up to the gradients."""
    with autocast():
        prediction = generator(batch.lightness)
    if plays:
        fake = prediction.chroma.detach().float()
        with autocast():
            true_logits, fake_logits = (discriminator(batch.lightness, chroma) for chroma in (batch.chroma, fake))
        loss = losses.gan_discriminator(true_logits, fake_logits, objective.loss.gan_mode)
        for name, penalty in (objective.penalties(discriminator, batch, fake) if objective.penalizes else {}).items():
            loss = loss + getattr(objective.loss, name) * penalty
        loss.backward()
    terms = objective.of_generator(batch, prediction, _trained(generator), pretraining=not plays)
    if plays:
        discriminator.requires_grad_(False)
        with autocast():
            terms |= objective.of_game(discriminator, batch, prediction.chroma.float())
    losses.weighted_sum(terms, objective.weights).backward()
    discriminator.requires_grad_(True)


def _batch(spec: StepSpec) -> Batch:
    lightness, chroma = (torch.empty(spec.batch_size, channels, spec.size, spec.size) for channels in (1, 2))
    return Batch(lightness, chroma, torch.full((spec.batch_size,), CLASSES - 1))


def _half(precision: str) -> torch.dtype | None:
    # fp16 too counts as bf16: a CPU's autocast has it for fewer operations, and both have two bytes.
    return torch.bfloat16 if precision in ("bf16", "fp16") else None


def _trained(network: nn.Module) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
