"""Options of a training run. They can be set in an architecture's recipe (configs/ARCH.yaml), in a YAML file
(`--config`) and by flags. Each of these overrides the ones before it; the recipe overrides the defaults below."""

from dataclasses import dataclass, field
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, OpenUnitInterval, PositiveInt

from gancolor.choices import Architecture, CheckpointMetric
from gancolor.config.networks import DiscriminatorConfig, GeneratorConfig, LossConfig
from gancolor.config.types import BelowOne, Epochs, NonNegative, Positive, Seed, Side, SomeEpochs, UpToOne, Weights

DEMO_PHOTOS = 2000  # training scenes of the demo
GREY_BELOW = 4.0  # colourfulness (Hasler and Suesstrunk 2003) below which a photograph counts as grey


@dataclass
class DataConfig:
    """Photographs

    Args:
        source: demo (scenes drawn by code), a folder of photographs, shards (tar files: a folder of
            them, DIR/train-{000..127}.tar, s3://...; docs/large_data.md), a data set of the Hugging Face Hub (hf:NAME;
            docs/large_data.md), or a public data set (imagenette, pets, ...)
        size: side of the square that photographs are resized and cropped to [pixels]
        batch_size: photographs per step and process
        limit: maximum number of training photographs (the first of a seeded shuffle); null: all
        val_limit: maximum number of validation photographs (the first of a seeded shuffle); null: all
        val_fraction: share of the photographs that is held out for validation if the source has no val folder
        min_colorfulness: leave out training photographs of lower colourfulness (Hasler and Suesstrunk 2003; grey: 0, an
            average photograph: about 40); validation leaves out those below it or 4, whichever is lower
        flip: mirror half of the training photographs
        crop_scale: random resized crop: smallest share of the area to keep; 1: no crop
        tone: simulate old photographs, at a strength from 0 (off) to 1: damage the lightness of three quarters of the
            training photographs as old film and prints do (insensitivity to red, blur, changed exposure and contrast,
            grain); the true colours remain the target
        real_saturation: factor on the chroma of the real pictures that the discriminator sees (DDColor: 1.2)
        demo_photos: training scenes of the demo; a tenth as many are for validation
        cache: folder for decoded photographs; null: $XDG_CACHE_HOME/gancolor or ~/.cache/gancolor
        decode: once: decode each photograph once, into the cache; always: decode in every epoch, for data sets whose
            cache would not fit on the disk
        on_device: keep the decoded photographs in the accelerator's memory; auto: on CUDA, if they
            take less than a quarter of the free memory
    """

    source: str = "demo"
    size: Side = 256
    batch_size: PositiveInt = 16
    limit: PositiveInt | None = None
    val_limit: PositiveInt | None = None
    val_fraction: OpenUnitInterval = 0.1
    min_colorfulness: NonNegative = GREY_BELOW
    flip: bool = True
    crop_scale: UpToOne = 1.0
    tone: ClosedUnitInterval = 0.0
    real_saturation: Positive = 1.0
    demo_photos: PositiveInt = DEMO_PHOTOS
    cache: str | None = None
    decode: Literal["once", "always"] = "once"
    on_device: Literal["auto", "always", "never"] = "auto"


@dataclass
class HintsConfig:
    """Colour hints in training, for generators that take them (--generator.hints true)

    Args:
        p: the number of hints of a photograph is geometric with this parameter; its mean is 1 / p (Zhang 2017: 1/8)
        absent: share of the photographs that get no hint
        complete: share of the photographs whose colours are all given (Zhang 2017: 1/100)
    """

    p: OpenUnitInterval = 0.125
    absent: ClosedUnitInterval = 0.125
    complete: ClosedUnitInterval = 0.01


@dataclass
class OptimConfig:
    """Optimization (AdamW; with weight decay 0 it is Adam)

    Args:
        lr_pretrain: learning rate of the generator in pretraining
        lr_g: learning rate of the generator in adversarial training
        lr_d: learning rate of the discriminator
        backbone_lr: learning rate of the pretrained backbone, as a multiple of the rest of the generator's
        betas: Adam's betas
        weight_decay: decoupled weight decay
        schedule: schedule of the learning rates within each stage
        decay_from: constant_linear: share of the stage after which the learning rates fall linearly to zero
        warmup_steps: steps over which the learning rates rise from zero at the start of each stage
        clip: maximum norm of each network's gradient; 0: no limit
        scale_lr: how to scale the learning rates by the ratio of the effective batch to lr_batch
        lr_batch: batch size that the learning rates are meant for [photographs]
        accumulate: gradient accumulation: number of micro-batches per batch; more take less memory. BatchNorm computes
            its statistics per micro-batch; adversarial training costs one more forward pass of the generator
        ema: decay of the exponential moving average (EMA) of the generator, which evaluation and export use; 0: none
        frozen_norm: when the generator's BatchNorm layers keep their running statistics and normalize by them, as in
            evaluation: never, in adversarial training (which then starts from the EMA generator), or always
    """

    lr_pretrain: Positive = 2e-4
    lr_g: Positive = 2e-4
    lr_d: Positive = 2e-4
    backbone_lr: Positive = 1.0
    betas: tuple[BelowOne, BelowOne] = (0.5, 0.999)
    weight_decay: NonNegative = 0.0
    schedule: Literal["constant_linear", "cosine", "one_cycle"] = "constant_linear"
    decay_from: BelowOne = 0.5
    warmup_steps: NonNegativeInt = 0
    clip: NonNegative = 0.0
    scale_lr: Literal["none", "sqrt", "linear"] = "none"
    lr_batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    ema: BelowOne = 0.999
    frozen_norm: Literal["never", "adversarial", "always"] = "never"


@dataclass
class EvalConfig:
    """Evaluation during training

    Args:
        every: epochs between evaluations; each stage also ends with one
        early: number of additional evaluations early in adversarial training, at 1/2, 1/4, 1/8, ... of `every`: the
            best checkpoint is often within its first few percent (NoGAN)
        batch_size: photographs per batch
        best_metric: metric that chooses best.safetensors among the evaluations of the current stage
        min_colorfulness: choose best.safetensors among evaluations whose colourfulness is at least this share of the
            truth's, if there are any; PSNR, and LPIPS early in training, prefer pale pictures
        hints: number of random colour hints that a generator with hints gets
        samples: number of validation photographs in the sample grids, always the same ones
    """

    every: SomeEpochs = 1.0
    early: NonNegativeInt = 0
    batch_size: PositiveInt = 32
    best_metric: CheckpointMetric = "psnr"
    min_colorfulness: ClosedUnitInterval = 0.0
    hints: NonNegativeInt = 0
    samples: PositiveInt = 8


@dataclass
class LpipsConfig:
    """LPIPS

    Args:
        weights: AlexNet's weights: auto (torchvision's cache; evaluate.py downloads missing ones), off, or a file
        vgg_weights: VGG-16's weights, for an additional LPIPS (VGG): auto, off, or a file
    """

    weights: Weights = "auto"
    vgg_weights: Weights = "off"


@dataclass
class TrackingConfig:
    """Logging: always to metrics.jsonl, optionally to Weights & Biases and TensorBoard too

    Args:
        wandb: auto: online if you are logged in, otherwise disabled
        tensorboard: write a log for TensorBoard to the run's folder: tensorboard --logdir runs
        project: project on Weights & Biases
        entity: entity on Weights & Biases; null: your default
        name: name of the run; null: the run folder's
        group: group of the run
        tags: tags of the run
        log_every: steps between two lines of metrics.jsonl
    """

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    tensorboard: bool = False
    project: str = "gancolor"
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    log_every: PositiveInt = 50


@dataclass
class TrainConfig:
    """Run

    Args:
        arch: architecture; its recipe is configs/ARCH.yaml
        init: fine-tune: start from an exported generator, a run's folder (with its discriminator), or bundled (the
            generator that comes with gancolor). Architecture, generator options and size are read from it, and the
            other defaults from configs/fine_tuning.yaml
        init_sha256: expected sha256 of the file of --init; the run always records it
        out: run folder; null: runs/ARCH-SOURCE-SIZE-HASH, where the hash distinguishes runs with different options
        epochs: epochs of the last stage (may be a fraction): adversarial training, unless loss.gan is 0
        pretrain_epochs: epochs of generator pretraining without adversarial losses, before adversarial training (may be
            a fraction)
        critic_epochs: epochs of training the discriminator alone, on the pretrained generator's pictures, between these
            two stages (NoGAN; may be a fraction)
        seed: seed of all random numbers
        device: auto: cuda, else mps, else cpu
        precision: auto: bf16 if the GPU or CPU supports it natively, else fp16 with a loss scaler on CUDA and fp32
            elsewhere
        compile: compile both networks (torch.compile)
        cuda_graphs: record the compiled networks as CUDA graphs, which saves launching their kernels one by one
        deterministic: use deterministic CUDA kernels; a CPU is always deterministic
        keep_freed_memory: on a CPU, keep freed memory for later allocations (glibc's mallopt, for the whole process):
            large batches train up to a third faster, and take up to a fifth more memory
        checkpoint_every: steps between saves of the run's state, which is also saved after each evaluation
    """

    arch: Architecture = "attention_ugan"
    init: str | None = None
    init_sha256: str | None = None
    out: str | None = None
    epochs: Epochs = 20.0
    pretrain_epochs: Epochs = 0.0
    critic_epochs: Epochs = 0.0
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    compile: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False
    keep_freed_memory: bool = True
    checkpoint_every: PositiveInt = 500
    data: DataConfig = field(default_factory=DataConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    hints: HintsConfig = field(default_factory=HintsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    lpips: LpipsConfig = field(default_factory=LpipsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
