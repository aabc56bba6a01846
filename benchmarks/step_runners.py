"""Training steps to measure: gancolor's, as its trainer takes it, and the plain reference's, on the same networks."""

import gc
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from measure import Contender
from reference import ReferenceTrainer
from torch import Tensor, nn

from gancolor.color.bins import bin_centres
from gancolor.color.torch_lab import rgb_to_lab, to_float
from gancolor.config.identity import to_dict
from gancolor.config.options import TrainConfig
from gancolor.data.preprocess import Preprocess
from gancolor.losses.objective import Objective, Terms
from gancolor.losses.perceptual import perceptual_distance
from gancolor.models import build_discriminator, build_generator, layers, unet
from gancolor.models.patchgan import PatchGAN
from gancolor.training.command import parse_train
from gancolor.training.gan_step import GANStep, parameter_groups
from gancolor.training.schedule import Stage, step_seed
from gancolor.training.trainer import CHECK_EVERY
from gancolor.utils.hardware import Hardware, Network, choose_hardware, computes_bf16
from gancolor.utils.memory import keep_freed_memory

STAGES: tuple[Stage, ...] = ("pretrain", "adversarial")  # in this order, because the second takes more memory
CLASSES = 10  # of scenes, for networks that classify them
BATCHES = 4  # different batches, used in rotation
REFERENCE = "reference"


@dataclass(frozen=True)
class StepSpec:
    """Specification of a training step to measure.

    Attributes:
        precision: one of gancolor's, or "reference" for the plain loop.
        words: options of train.py, which override the recipe's.
        only: the stages to measure, of those that the recipe has.
        turns: timed turns, each in a new process.
        layout: memory format; None: gancolor's choice for the device.
        fused: whether gancolor's optimizers are fused.
        keeps_memory: on a CPU, whether freed memory is kept for the next step.
        joins: whether gradients of concatenated feature maps have the maps' memory layout.
        shares_pass: whether the reference uses one generator pass for both updates.
    """

    arch: str
    size: int
    batch_size: int
    device: str
    seconds: float
    threads: int = 1
    precision: str = "fp32"
    compiled: Literal["no", "yes", "graphs"] = "no"
    words: tuple[str, ...] = ()
    only: tuple[Stage, ...] = STAGES
    turns: int = 3
    layout: Literal["contiguous", "channels_last"] | None = None
    fused: bool = True
    keeps_memory: bool = True
    joins: bool = True
    shares_pass: bool = False

    def config(self, *words: str) -> TrainConfig:
        """Return the architecture's recipe at this size, with random weights, because speed does not depend on what a
        network has learned. `words`: more options of train.py."""
        return parse_train(
            [
                *("--arch", self.arch, "--generator.backbone_weights", "random", "--loss.perceptual_weights", "random"),
                *("--device", self.device, "--tracking.wandb", "disabled"),
                *self.words,  # may name a recipe with another size
                *("--data.size", str(self.size), "--data.batch_size", str(self.batch_size)),
                *words,
            ]
        )

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages to measure. Some recipes have no adversarial stage."""
        there = STAGES if Objective(self.config().loss).is_adversarial else STAGES[:1]
        return tuple(stage for stage in there if stage in self.only)

    def networks(self) -> tuple[nn.Module, PatchGAN]:
        config = self.config()
        torch.manual_seed(config.seed)
        classes = CLASSES if config.loss.scene else 0
        generator = build_generator(config.arch, **{**to_dict(config.generator), "size": self.size, "classes": classes})
        return generator, build_discriminator(self.size, **to_dict(config.discriminator))

    def objective(self, device: torch.device) -> Objective:
        """Return the recipe's objective, with all colours equally rare."""
        loss = self.config().loss
        perceptual = None
        if loss.perceptual:
            perceptual = perceptual_distance(loss.perceptual_network, loss.perceptual_weights, device, self.size)
        return Objective(loss, torch.ones(len(bin_centres()), device=device), perceptual)

    def pictures(self) -> list[Tensor]:
        """Return batches of uint8 sRGB (B, 3, S, S): noise, because speed does not depend on a picture's content."""
        chance = torch.Generator().manual_seed(0)
        shape = (self.batch_size, 3, self.size, self.size)
        return [torch.randint(0, 256, shape, generator=chance, dtype=torch.uint8) for _ in range(BATCHES)]


@dataclass(frozen=True)
class LaidOut(Hardware):
    """Hardware with a given memory format, instead of its own choice."""

    layout: torch.memory_format = torch.contiguous_format

    def place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, memory_format=self.layout)

    def place_network(self, network: Network) -> Network:
        return network.to(self.device, memory_format=self.layout)  # type: ignore[call-overload]


class Unfused(torch.optim.AdamW):
    """AdamW in torch's default implementation. It ignores GANStep's flag for non-finite gradients (`found_inf`)."""

    def step(self, closure: Any = None) -> Any:
        self.found_inf = None
        return super().step(closure)


class GancolorSteps:
    """gancolor's steps as the trainer takes them: seed, augment, convert to Lab, GANStep.step, check for bad steps."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec, self.config = spec, spec.config()
        self.hardware = choose_hardware(spec.device, spec.precision)
        if spec.layout:
            layout = torch.channels_last if spec.layout == "channels_last" else torch.contiguous_format
            self.hardware = LaidOut(self.hardware.device, self.hardware.precision, layout)
        self.prepare = Preprocess(self.config.data, self.hardware, spec.compiled != "no")
        optim = self.config.optim
        objective = spec.objective(self.hardware.device)
        compiled, graphs = spec.compiled != "no", spec.compiled == "graphs"
        self.gan_step = GANStep(*spec.networks(), objective, optim, self.hardware, compiled, graphs)
        if not spec.fused:
            self.gan_step.optim_g, self.gan_step.optim_d = (
                Unfused(groups, betas=optim.betas, weight_decay=optim.weight_decay)
                for groups in (
                    parameter_groups(self.gan_step.generator, optim.backbone_lr),
                    parameter_groups(self.gan_step.discriminator),
                )
            )
        self.batches = [pictures.to(self.hardware.device) for pictures in spec.pictures()]
        self.labels = torch.arange(spec.batch_size, device=self.hardware.device) % CLASSES
        self.done = 0

    def contender(self, stage: Stage) -> Contender:
        return Contender(partial(self.step, stage), self.switch)

    def switch(self) -> None:
        """Apply the spec's global settings."""
        choose_hardware(self.spec.device, self.spec.precision)
        torch.set_num_threads(self.spec.threads)
        keep_freed_memory(self.spec.keeps_memory)
        unet.concatenate = layers.concatenate if self.spec.joins else _cat

    def step(self, stage: Stage) -> Terms:
        torch.manual_seed(step_seed(self.config.seed, self.done, 0))
        pictures = self.batches[self.done % BATCHES]
        optim = self.config.optim
        rates = {"lr_g": optim.lr_pretrain if stage == "pretrain" else optim.lr_g, "lr_d": optim.lr_d, "ema": optim.ema}
        terms = self.gan_step.step(self.prepare(pictures, self.labels), stage, rates)
        self.done += 1
        if self.done % CHECK_EVERY == 0:
            int(self.gan_step.bad_steps)
        return terms


def _cat(*maps: Tensor) -> Tensor:
    return torch.cat(maps, dim=1)


class ReferenceSteps:
    """Steps of the plain loop on the same pictures, already in Lab because its loader converts them."""

    def __init__(self, spec: StepSpec) -> None:
        self.device = choose_hardware(spec.device, "fp32").device
        self.trainer = ReferenceTrainer(*spec.networks(), self.device, spec.shares_pass)
        self.batches = [rgb_to_lab(to_float(pictures)) for pictures in spec.pictures()]
        if self.device.type == "cuda":  # as a DataLoader with pin_memory yields them
            self.batches = [(lightness.pin_memory(), chroma.pin_memory()) for lightness, chroma in self.batches]
        self.done = 0

    def contender(self, stage: Stage) -> Contender:
        return Contender(partial(self.step, stage == "adversarial"), as_torch_ships)

    def step(self, adversarial: bool) -> None:
        take = self.trainer.adversarial_step if adversarial else self.trainer.pretrain_step
        take(*self.batches[self.done % BATCHES])
        self.done += 1


def as_torch_ships() -> None:
    """Reset the global switches that gancolor sets to torch's defaults."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = False
    keep_freed_memory(False)


def make_steps(spec: StepSpec) -> GancolorSteps | ReferenceSteps:
    return ReferenceSteps(spec) if spec.precision == REFERENCE else GancolorSteps(spec)


def precisions(device: str) -> list[str]:
    """Return the precisions that the device has units for."""
    half = ["bf16"] if computes_bf16(torch.device(device).type) else []
    return ["fp32", *half] if device == "cpu" else ["fp32", "tf32", *half, "fp16"]


def forget() -> None:
    """Free what the last row held, and what was compiled for it."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
