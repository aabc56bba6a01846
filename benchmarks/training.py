"""The training step: gancolor's, as its trainer takes it, against the plain reference's on the same networks."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, Literal

import torch
from measure import Contender, Memory, Row, Table, attempt, in_fresh_process, interleave
from reference import ReferenceTrainer
from torch import Tensor, nn

from gancolor.bins import bin_centres
from gancolor.color import rgb_to_lab, to_float
from gancolor.config import TrainConfig
from gancolor.data.augmentation import augment, make_augmentation
from gancolor.hardware import Hardware, choose_hardware
from gancolor.models import build_discriminator, build_generator
from gancolor.models.patchgan import PatchGAN
from gancolor.objective import Batch, Objective
from gancolor.options import to_dict
from gancolor.parsing import parse_train
from gancolor.perceptual import perceptual_distance
from gancolor.players import Players
from gancolor.schedule import Stage, step_seed
from gancolor.trainer import CHECK_EVERY

STAGES: tuple[Stage, ...] = ("pretrain", "adversarial")  # in this order: the second takes the more memory
CLASSES = 10  # of scenes, for networks that tell them apart
WARM_UP = 2  # steps
BATCHES = 4  # different ones, taken in turns
REFERENCE = "reference"
SPEED, MEMORY, BESIDE, RATIO = "photos/s", "peak GiB", "ms reference", "× reference (range)"


@dataclass(frozen=True)
class StepSpec:
    """One way to take a step.

    Attributes:
        precision: one of gancolor's, or "reference" for the plain loop.
        layout: None: as gancolor chooses for the device.
        fused: gancolor's optimizers are fused.
        shares_pass: of the reference.
    """

    arch: str
    size: int
    batch_size: int
    device: str
    seconds: float
    threads: int = 1
    precision: str = "fp32"
    compiled: bool = False
    layout: Literal["contiguous", "channels_last"] | None = None
    fused: bool = True
    shares_pass: bool = False

    def config(self) -> TrainConfig:
        """The architecture's recipe at this size; speed does not depend on what a network has learned."""
        return parse_train(
            [
                *("--arch", self.arch, "--data.size", str(self.size), "--data.batch_size", str(self.batch_size)),
                *("--generator.backbone_weights", "random", "--loss.perceptual_weights", "random"),
                *("--device", self.device, "--tracking.wandb", "disabled"),
            ]
        )

    def stages(self) -> tuple[Stage, ...]:
        """Those of the recipe: some have no game."""
        return STAGES if Objective(self.config().loss).plays else STAGES[:1]

    def networks(self) -> tuple[nn.Module, PatchGAN]:
        config = self.config()
        torch.manual_seed(config.seed)
        classes = CLASSES if config.loss.scene else 0
        generator = build_generator(config.arch, **{**to_dict(config.generator), "size": self.size, "classes": classes})
        return generator, build_discriminator(self.size, **to_dict(config.discriminator))

    def objective(self, device: torch.device) -> Objective:
        """The recipe's, with colours that are all as rare."""
        loss = self.config().loss
        perceptual = None
        if loss.perceptual:
            perceptual = perceptual_distance(loss.perceptual_network, loss.perceptual_weights, device, self.size)
        return Objective(loss, torch.ones(len(bin_centres()), device=device), perceptual)

    def pictures(self) -> list[Tensor]:
        """Batches of uint8 sRGB (B, 3, S, S): noise, since what a picture shows costs nothing."""
        chance = torch.Generator().manual_seed(0)
        shape = (self.batch_size, 3, self.size, self.size)
        return [torch.randint(0, 256, shape, generator=chance, dtype=torch.uint8) for _ in range(BATCHES)]


@dataclass(frozen=True)
class LaidOut(Hardware):
    """Hardware with a memory format that is told, not chosen."""

    layout: torch.memory_format = torch.contiguous_format

    @property
    def memory_format(self) -> torch.memory_format:
        return self.layout


class Unfused(torch.optim.AdamW):
    """AdamW as torch chooses it, which does not take Players' word on gradients that are not finite."""

    def step(self, closure: Any = None) -> Any:
        self.found_inf = None
        return super().step(closure)


class GancolorSteps:
    """What the trainer does with a batch: seed, augment, convert to Lab, Players.step, look for bad steps."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec, self.config = spec, spec.config()
        self.hardware = choose_hardware(spec.device, spec.precision)
        if spec.layout:
            layout = torch.channels_last if spec.layout == "channels_last" else torch.contiguous_format
            self.hardware = LaidOut(self.hardware.device, self.hardware.precision, layout)
        self.augmentation = make_augmentation(spec.size, self.config.data.flip, self.config.data.crop_scale)
        optim = self.config.optim
        objective = spec.objective(self.hardware.device)
        self.players = Players(*spec.networks(), objective, optim, self.hardware, spec.compiled)
        if not spec.fused:
            self.players.optim_g, self.players.optim_d = (
                Unfused(fused.param_groups[0]["params"], betas=optim.betas, weight_decay=optim.weight_decay)
                for fused in (self.players.optim_g, self.players.optim_d)
            )
        self.batches = [pictures.to(self.hardware.device) for pictures in spec.pictures()]
        self.labels = torch.arange(spec.batch_size, device=self.hardware.device) % CLASSES
        self.done = 0

    def contender(self, stage: Stage) -> Contender:
        return Contender(partial(self.step, stage), lambda: choose_hardware(self.spec.device, self.spec.precision))

    def step(self, stage: Stage) -> None:
        torch.manual_seed(step_seed(self.config.seed, self.done, 0))
        pictures = self.batches[self.done % BATCHES]
        lightness, chroma = rgb_to_lab(augment(self.augmentation, to_float(pictures)))
        optim = self.config.optim
        lr_g = optim.lr_pretrain if stage == "pretrain" else optim.lr_g
        batch = Batch(self.hardware.place(lightness), self.hardware.place(chroma), self.labels)
        self.players.step(batch, stage, {"lr_g": lr_g, "lr_d": optim.lr_d, "ema": optim.ema})
        self.done += 1
        if self.done % CHECK_EVERY == 0:
            int(self.players.bad_steps)


class ReferenceSteps:
    """The plain loop on the same pictures, which its loader has converted to Lab already."""

    def __init__(self, spec: StepSpec) -> None:
        self.device = choose_hardware(spec.device, "fp32").device
        self.trainer = ReferenceTrainer(*spec.networks(), self.device, spec.shares_pass)
        self.batches = [rgb_to_lab(to_float(pictures)) for pictures in spec.pictures()]
        if self.device.type == "cuda":  # as a DataLoader with pin_memory gives them
            self.batches = [(lightness.pin_memory(), chroma.pin_memory()) for lightness, chroma in self.batches]
        self.done = 0

    def contender(self, stage: Stage) -> Contender:
        return Contender(partial(self.step, stage == "adversarial"), as_torch_ships)

    def step(self, adversarial: bool) -> None:
        take = self.trainer.adversarial_step if adversarial else self.trainer.pretrain_step
        take(*self.batches[self.done % BATCHES])
        self.done += 1


def as_torch_ships() -> None:
    """The global switches that gancolor sets, at torch's defaults."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = False


def make_steps(spec: StepSpec) -> GancolorSteps | ReferenceSteps:
    return ReferenceSteps(spec) if spec.precision == REFERENCE else GancolorSteps(spec)


# The table of steps ---------------------------------------------------------------------------------------------------


def measure_step(spec: StepSpec) -> list[Row]:
    """Memory, then time, of each stage; memory is taken before the reference joins to be timed beside it."""
    torch.set_num_threads(spec.threads)  # in the fresh process too
    device = choose_hardware(spec.device, "fp32").device
    import_module("fastai.vision.learner")  # what building a network may import is no part of the step's memory
    memory = Memory(device)
    steps = make_steps(spec)
    stages = spec.stages()
    rows = [_words(spec, stage) | _memory_of(steps.contender(stage), memory) for stage in stages]
    reference = steps if spec.precision == REFERENCE else attempt(partial(ReferenceSteps, spec))
    for stage, row in zip(stages, rows, strict=True):
        if "error" not in row:
            row |= {"error": f"reference: {reference}"} if isinstance(reference, str) else (
                _speed_of(spec, steps.contender(stage), reference.contender(stage), device)
            )  # fmt: skip
    return rows


def _words(spec: StepSpec, stage: str) -> Row:
    compiled = "yes" if spec.compiled else "no"
    return {"architecture": spec.arch, "stage": stage, "precision": spec.precision, "compiled": compiled}


def _memory_of(contender: Contender, memory: Memory) -> Row:
    def measure() -> Row:
        contender.prepare()
        for _ in range(WARM_UP):
            contender.run()
        memory.restart()
        contender.run()
        return {MEMORY: memory.peak()}

    return _figures(attempt(measure))


def _speed_of(spec: StepSpec, mine: Contender, reference: Contender, device: torch.device) -> Row:
    def measure() -> Row:
        contenders = {REFERENCE: reference} | ({} if spec.precision == REFERENCE else {"mine": mine})
        timings = interleave(contenders, device, spec.seconds, WARM_UP)
        timing = timings.get("mine", timings[REFERENCE])
        row: Row = {SPEED: spec.batch_size / timing.median, "ms": timing.median * 1000}
        if "mine" in timings:
            row |= {BESIDE: timings[REFERENCE].median * 1000, RATIO: timing.speedup_over(timings[REFERENCE])}
        return row

    return _figures(attempt(measure))


def _figures(found: Row | str) -> Row:
    return {"error": found} if isinstance(found, str) else found


def precisions(device: str) -> list[str]:
    """Those that the device has."""
    if device == "cpu":
        return ["fp32", "bf16"]
    return ["fp32", "tf32", *(["bf16"] if torch.cuda.is_bf16_supported(False) else []), "fp16"]


def measure_steps(architectures: list[str], base: StepSpec, compiles: bool) -> list[Row]:
    """The table of training steps."""
    table = Table(
        f"Training step, {base.size} x {base.size}, batch {base.batch_size}",
        "gancolor's step (augmentation and rgb to Lab included) and the plain reference's (Lab done by its loader), "
        "on the same networks; gancolor with the recipe's objective, the reference with L1 and the vanilla game. \"ms "
        "reference\" was measured in turns with the row's own.",
        ["architecture", "stage", "precision", "compiled", SPEED, "ms", BESIDE, RATIO, MEMORY],
    )
    for arch in architectures:
        for precision, compiled in _ways(base.device, compiles):
            spec = replace(base, arch=arch, precision=precision, compiled=compiled)
            # On a CPU memory is the process's, so each measurement has a fresh one; on CUDA torch counts its own.
            run = partial(in_fresh_process, measure_step, spec) if base.device == "cpu" else partial(measure_step, spec)
            rows = attempt(run)
            failed = [_words(spec, stage) | {"error": rows} for stage in spec.stages()]
            for row in failed if isinstance(rows, str) else rows:
                table.add(row)
            forget()
    return table.rows


def _ways(device: str, compiles: bool) -> Iterator[tuple[str, bool]]:
    yield REFERENCE, False
    for precision in precisions(device):
        yield precision, False
        if compiles:
            yield precision, True


def forget() -> None:
    """Frees what the last row held, and what was compiled for it."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# The table of choices -------------------------------------------------------------------------------------------------


def measure_choices(architectures: list[str], base: StepSpec) -> list[Row]:
    """Choices that gancolor makes, each against its alternative, in the adversarial step."""
    table = Table(
        f"Choices, {base.size} x {base.size}, batch {base.batch_size}",
        "Two ways to take the adversarial step, timed in turns; over 1 means that the first is the faster.",
        ["architecture", "choice", "against", "ms", "ms against", "× (range)"],
    )
    for arch in architectures:
        for choice, against, first, second in _choices(replace(base, arch=arch)):
            words = {"architecture": arch, "choice": choice, "against": against}
            table.add(words | _figures(attempt(partial(_compare, first, second))))
            forget()
    return table.rows


def _choices(base: StepSpec) -> Iterator[tuple[str, str, StepSpec, StepSpec]]:
    """(what, against what, and the two ways to take a step)."""
    fp32, bf16 = replace(base, precision="fp32"), replace(base, precision="bf16")
    if "bf16" in precisions(base.device):
        yield "bf16", "fp32", bf16, fp32
    for spec in (fp32, bf16) if "bf16" in precisions(base.device) else (fp32,):
        last, first = replace(spec, layout="channels_last"), replace(spec, layout="contiguous")
        yield f"channels_last, {spec.precision}", f"contiguous, {spec.precision}", last, first
    usual = choose_hardware(base.device, "auto").precision
    fused = replace(base, precision=usual)
    yield f"fused AdamW, {usual}", f"AdamW as it comes, {usual}", fused, replace(fused, fused=False)
    plain = replace(base, precision=REFERENCE)
    yield "reference with one generator pass", REFERENCE, replace(plain, shares_pass=True), plain


def _compare(first: StepSpec, second: StepSpec) -> Row:
    device = choose_hardware(first.device, "fp32").device
    contenders = {name: make_steps(spec).contender("adversarial") for name, spec in (("a", first), ("b", second))}
    timings = interleave(contenders, device, first.seconds, WARM_UP)
    return {
        "ms": timings["a"].median * 1000,
        "ms against": timings["b"].median * 1000,
        "× (range)": timings["a"].speedup_over(timings["b"]),
    }
