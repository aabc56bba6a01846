"""Typed configuration of a training: a YAML file (`--config`), an architecture's recipe (configs/ARCH.yaml) and a flag
are the same options. Later ones win: defaults below, recipe, `--config`, flags."""

from dataclasses import dataclass, field
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, OpenUnitInterval, PositiveInt

from gancolor.choices import Architecture, CheckpointMetric
from gancolor.config.networks import DiscriminatorConfig, GeneratorConfig, LossConfig
from gancolor.config.types import Decay, NonNegative, Positive, Seed, Share, Side


@dataclass
class DataConfig:
    """Photographs

    Args:
        source: demo (scenes drawn by code), a folder of photographs, shards (tar files: a folder of
            them, DIR/train-{000..127}.tar, s3://...; docs/large_data.md), or a public data set (imagenette, pets, ...)
        size: side of the square that photographs are resized and cropped to [pixels]
        batch_size: photographs a step and process
        limit: train on this many photographs, the first of a seeded shuffle; null: all
        val_limit: validate on this many photographs, the first of a seeded shuffle; null: all
        val_fraction: share held out for validation where the source has no val folder
        min_colorfulness: leave training photographs less colourful than this out as grey (Hasler and Suesstrunk 2003)
        flip: mirror half of the training photographs
        crop_scale: random resized crop: the least share of the area that is kept; 1: no crop
        tone: show the networks some training photographs in the greys of old ones (film blind to red, blur, other
            exposure and contrast, grain), with the true colours to learn; 0: off, up to 1: full strength
        real_saturation: multiply the chroma of the real pictures that the discriminator sees (DDColor: 1.2)
        demo_photos: number of training scenes of the demo; validation has a tenth of it
        cache: folder of the decoded photographs; null: $XDG_CACHE_HOME/gancolor or ~/.cache/gancolor
        decode: once: into the cache; always: in every epoch, for photographs that fit no disk decoded
        on_device: keep the decoded photographs in the accelerator's memory; auto: on CUDA, if they
            take under a quarter of what is free
    """

    source: str = "demo"
    size: Side = 256
    batch_size: PositiveInt = 16
    limit: PositiveInt | None = None
    val_limit: PositiveInt | None = None
    val_fraction: OpenUnitInterval = 0.1
    min_colorfulness: NonNegative = 4.0
    flip: bool = True
    crop_scale: Share = 1.0
    tone: ClosedUnitInterval = 0.0
    real_saturation: Positive = 1.0
    demo_photos: PositiveInt = 2000
    cache: str | None = None
    decode: Literal["once", "always"] = "once"
    on_device: Literal["auto", "always", "never"] = "auto"


@dataclass
class OptimConfig:
    """Optimisation (AdamW; with weight decay 0 it is Adam)

    Args:
        lr_pretrain: the generator's learning rate in pretraining
        lr_g: the generator's learning rate in adversarial training
        lr_d: the discriminator's learning rate
        backbone_lr: factor on the generator's rates for its pretrained backbone, which has less to learn
        betas: Adam's
        weight_decay: decoupled weight decay
        schedule: of the learning rates, over each stage
        decay_from: constant_linear: share of the stage after which the rate falls linearly to zero
        warmup_steps: steps over which the rates rise from zero at the start of each stage
        clip: greatest norm of each network's gradient; 0: unlimited
        scale_lr: scale the rates with the effective batch over lr_batch
        lr_batch: the batch that the learning rates are meant for [photographs]
        accumulate: gradient accumulation: split each batch into so many micro-batches, which saves memory. BatchNorm's
            statistics are the micro-batches'; adversarial training costs one more forward pass of the generator
        ema: decay of the generator's moving average, which evaluation and export use; 0: none
        frozen_norm: when the generator's BatchNorm layers keep their running statistics and normalise by them, as in
            evaluation: never, in adversarial training (which then starts from the moving average), or always
    """

    lr_pretrain: Positive = 2e-4
    lr_g: Positive = 2e-4
    lr_d: Positive = 2e-4
    backbone_lr: Positive = 1.0
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    weight_decay: NonNegative = 0.0
    schedule: Literal["constant_linear", "cosine", "one_cycle"] = "constant_linear"
    decay_from: Decay = 0.5
    warmup_steps: NonNegativeInt = 0
    clip: NonNegative = 0.0
    scale_lr: Literal["none", "sqrt", "linear"] = "none"
    lr_batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    ema: Decay = 0.999
    frozen_norm: Literal["never", "adversarial", "always"] = "never"


@dataclass
class EvalConfig:
    """Evaluation while training

    Args:
        every: epochs between evaluations, besides the end of each stage
        early: additional evaluations early in adversarial training, at 1/2, 1/4, 1/8, ... of `every`: the best
            checkpoint is often within its first few percent (NoGAN)
        batch_size: photographs at a time
        best_metric: what chooses best.safetensors, within the stage that the run has reached
        least_colorfulness: best.safetensors is chosen among evaluations whose colourfulness is at least this share of
            the truth's, if there are any; PSNR, and LPIPS at first, prefer pale pictures
        samples: fixed validation photographs in the sample grids
    """

    every: Positive = 1.0
    early: NonNegativeInt = 0
    batch_size: PositiveInt = 32
    best_metric: CheckpointMetric = "psnr"
    least_colorfulness: ClosedUnitInterval = 0.0
    samples: PositiveInt = 8


@dataclass
class LpipsConfig:
    """LPIPS

    Args:
        weights: AlexNet's: auto (torchvision's cache, and evaluate.py downloads them into it), off, or a file
        vgg_weights: VGG-16's, for LPIPS (VGG) besides: the same
    """

    weights: str = "auto"
    vgg_weights: str = "off"


@dataclass
class TrackingConfig:
    """Tracking: metrics.jsonl always, Weights & Biases besides

    Args:
        wandb: auto: online where you are logged in, otherwise disabled
        project: of Weights & Biases
        entity: of Weights & Biases; null: your default
        name: of the run; null: the run folder's
        group: of the run
        tags: of the run
        log_every: steps between two lines of metrics.jsonl
    """

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
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
            other defaults are those of configs/fine_tuning.yaml
        init_sha256: sha256 that the file of --init must have; the run always records it
        out: the run's folder; null: runs/ARCH-SOURCE-SIZE-HASH, the hash telling runs of other options apart
        epochs: of adversarial training (may be a fraction)
        pretrain_epochs: of generator pretraining without the adversarial terms, before (may be a fraction)
        critic_epochs: of training the discriminator alone, on the pretrained generator's pictures, between the two
            (NoGAN; may be a fraction)
        seed: of all random numbers
        device: auto: cuda, else mps, else cpu
        precision: auto: bf16 where card or CPU (AMX) has units for it, else fp16 with a loss scaler on CUDA; elsewhere
            fp32
        compile: compile both networks (torch.compile)
        cuda_graphs: record the compiled networks as CUDA graphs, which spares launching their kernels one by one
        deterministic: deterministic CUDA kernels; a CPU is always deterministic
        keep_freed_memory: on a CPU, keep freed memory for later allocations (glibc's mallopt, for the whole process):
            large batches train up to a third faster, and take up to a fifth more memory
        checkpoint_every: steps between saves of the run's state; an evaluation saves too
    """

    arch: Architecture = "attention_ugan"
    init: str | None = None
    init_sha256: str | None = None
    out: str | None = None
    epochs: NonNegative = 20.0
    pretrain_epochs: NonNegative = 0.0
    critic_epochs: NonNegative = 0.0
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
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    lpips: LpipsConfig = field(default_factory=LpipsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
