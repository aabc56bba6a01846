"""Typed configuration: a YAML file (`--config`), an architecture's recipe (configs/ARCH.yaml) and a flag are the same
options. Later ones win: defaults below, recipe, `--config`, flags."""

import math
from dataclasses import dataclass, field
from typing import Literal

from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveInt,
    restricted_number_type,
)

from gancolor.models import GENERATORS

Architecture = Literal[tuple(GENERATORS)]  # type: ignore[valid-type]
Norm = Literal["batch", "instance", "none"]
Upsampling = Literal["transposed", "pixel_shuffle", "nearest"]
GanMode = Literal["vanilla", "lsgan", "hinge", "wgan_gp"]
Neurons = Literal["low", "medium", "high"]
Filters = Literal["low", "high"]
ProtocolName = Literal["native", "val5k-crop256", "squash256", "scenes128", "tiny64", "old128"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]

Share = restricted_number_type("Share", float, [(">", 0), ("<=", 1)], docstring="a share over 0, up to 1")
Decay = restricted_number_type("Decay", float, [(">=", 0), ("<", 1)], docstring="from 0 to under 1")
NonNegative = restricted_number_type("NonNegative", float, [(">=", 0), ("<", math.inf)], docstring="finite, 0 or more")
Positive = restricted_number_type("Positive", float, [(">", 0), ("<", math.inf)], docstring="finite, over 0")
Neighbours = restricted_number_type("Neighbours", int, [(">=", 1), ("<=", 313)], docstring="bins, 1 to 313")
Side = restricted_number_type("Side", int, [(">=", 16), ("<=", 4096)], docstring="pixels, 16 to 4096")
Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**31)], docstring="0 to 2147483647")


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
    size: Side = 256  # type: ignore[valid-type]
    batch_size: PositiveInt = 16
    limit: PositiveInt | None = None
    val_limit: PositiveInt | None = None
    val_fraction: OpenUnitInterval = 0.1
    min_colorfulness: NonNegative = 4.0  # type: ignore[valid-type]
    flip: bool = True
    crop_scale: Share = 1.0  # type: ignore[valid-type]
    tone: ClosedUnitInterval = 0.0
    real_saturation: Positive = 1.0  # type: ignore[valid-type]
    demo_photos: PositiveInt = 2000
    cache: str | None = None
    decode: Literal["once", "always"] = "once"
    on_device: Literal["auto", "always", "never"] = "auto"


@dataclass
class GeneratorConfig:
    """Generator; an architecture takes the options that it has, and says which it passes over

    Args:
        width: channels of the first level (ugan, attention_ugan) or layer (ltbc, eccv16); the others' follow
        depth: levels of the plain encoder; null: down to 1 x 1, at most 8
        dropout: probability in the three decoder blocks of a U-Net next to the innermost
        norm: normalisation of the parts that are not pretrained
        upsampling: of a U-Net's decoder
        decoder_convs: 3 x 3 convolutions after each of a U-Net's joins (pix2pix: 0)
        decoder_widths: channels of a U-Net's decoder blocks, from the innermost outwards; null: the encoder's
        skip_norm: BatchNorm on a U-Net's skips
        chroma_stride: 2: a U-Net predicts chroma at half the size, and enlarges it; 1: at full size
        recompute: of a U-Net: keep only the blocks' inputs for the backward pass and compute the rest again (activation
            checkpointing): less memory, more time
        backbone: encoder of pretrained_*, deoldify and the autoencoders: a timm model with a feature pyramid (resnet50,
            tf_efficientnet_lite0, convnext_tiny, ...)
        backbone_weights: imagenet (timm's, from its cache or the Hugging Face Hub; those of tf_efficientnet_lite0 are
            installed), random, or a file (.safetensors, .pth; with or without the classifier)
        freeze_backbone: leave the pretrained encoder as it is
        global_size: side that ltbc scales the photograph to for its global features [pixels]
        classifier_width: hidden layer of ltbc's scene classifier
        temperature: of eccv16's annealed mean: towards 0 the likeliest colour, at 1 the mean
        neurons: widths of polychromify's fully connected layers
        filters: widths of polychromify's convolutions
        strides: polychromify halves the size in its convolutions, and doubles it again
    """

    width: PositiveInt = 64
    depth: PositiveInt | None = None
    dropout: Decay = 0.5  # type: ignore[valid-type]
    norm: Norm = "batch"
    upsampling: Upsampling = "transposed"
    decoder_convs: NonNegativeInt = 0
    decoder_widths: list[PositiveInt] | None = None
    skip_norm: bool = False
    chroma_stride: Literal[1, 2] = 1
    recompute: bool = False
    backbone: str = "resnet18"
    backbone_weights: str = "imagenet"
    freeze_backbone: bool = False
    global_size: Side = 224  # type: ignore[valid-type]
    classifier_width: PositiveInt = 256
    temperature: Share = 0.38  # type: ignore[valid-type]
    neurons: Neurons = "high"
    filters: Filters = "high"
    strides: bool = False


@dataclass
class DiscriminatorConfig:
    """Discriminator (PatchGAN)

    Args:
        layers: convolutions of stride 2; 3 sees patches of 70 x 70; 0: single pixels
        width: channels of the first layer
        norm: normalisation
        spectral_norm: spectral normalisation of every convolution
    """

    layers: NonNegativeInt = 3
    width: PositiveInt = 64
    norm: Norm = "batch"
    spectral_norm: bool = False


@dataclass
class LossConfig:
    """Objective: the weight of each term (docs/losses.md has the formulas), then what some of them are made with

    Args:
        l1: mean absolute error of the chroma (ab / 110): pix2pix's lambda
        mse: mean squared error of the chroma
        log_mse: logarithm of each photograph's mean squared error: PSNR as a loss
        smooth_l1: as l1, but smooth under smooth_l1_delta
        tv: total variation of the predicted chroma
        perceptual: distance of the pictures' features in a network trained on ImageNet
        color_weighted: mse, each pixel weighted by its true colour's rarity in the training set
        bins: cross-entropy of the pixels' colour bins, weighted by their rarity (eccv16)
        scene: cross-entropy of the scene's class (ltbc); the photographs' subfolders are the classes
        colorfulness: 1 - colourfulness / 100 of the picture (DDColor); leaves pretraining alone
        weight_l1: sum of the absolute weights of the generator's trainable layers
        weight_l2: sum of their squares
        gan: adversarial term; leaves pretraining alone
        feature_matching: distance of the discriminator's features of predicted and true (pix2pixHD)
        gan_mode: the adversarial game
        gradient_penalty: wgan_gp's, in the discriminator's objective
        r1: gradient penalty on true pictures, in the discriminator's objective
        smooth_l1_delta: errors under it count by their square [ab / 110]
        perceptual_network: vgg16 (four layers) or lpips
        perceptual_weights: that network's: imagenet (published, from a cache or downloaded), random, or a file
        uniform: share of the uniform distribution in the prior that rarity is measured by; 0: inverse frequency
        soft_bins: nearest bins that a true colour is spread over for `bins`
    """

    l1: NonNegative = 100.0  # type: ignore[valid-type]
    mse: NonNegative = 0.0  # type: ignore[valid-type]
    log_mse: NonNegative = 0.0  # type: ignore[valid-type]
    smooth_l1: NonNegative = 0.0  # type: ignore[valid-type]
    tv: NonNegative = 0.0  # type: ignore[valid-type]
    perceptual: NonNegative = 0.0  # type: ignore[valid-type]
    color_weighted: NonNegative = 0.0  # type: ignore[valid-type]
    bins: NonNegative = 0.0  # type: ignore[valid-type]
    scene: NonNegative = 0.0  # type: ignore[valid-type]
    colorfulness: NonNegative = 0.0  # type: ignore[valid-type]
    weight_l1: NonNegative = 0.0  # type: ignore[valid-type]
    weight_l2: NonNegative = 0.0  # type: ignore[valid-type]
    gan: NonNegative = 1.0  # type: ignore[valid-type]
    feature_matching: NonNegative = 0.0  # type: ignore[valid-type]
    gan_mode: GanMode = "vanilla"
    gradient_penalty: NonNegative = 10.0  # type: ignore[valid-type]
    r1: NonNegative = 0.0  # type: ignore[valid-type]
    smooth_l1_delta: Positive = 0.1  # type: ignore[valid-type]
    perceptual_network: Literal["vgg16", "lpips"] = "vgg16"
    perceptual_weights: str = "imagenet"
    uniform: ClosedUnitInterval = 0.5
    soft_bins: Neighbours = 5  # type: ignore[valid-type]


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

    lr_pretrain: Positive = 2e-4  # type: ignore[valid-type]
    lr_g: Positive = 2e-4  # type: ignore[valid-type]
    lr_d: Positive = 2e-4  # type: ignore[valid-type]
    backbone_lr: Positive = 1.0  # type: ignore[valid-type]
    betas: tuple[Decay, Decay] = (0.5, 0.999)  # type: ignore[valid-type]
    weight_decay: NonNegative = 0.0  # type: ignore[valid-type]
    schedule: Literal["constant_linear", "cosine", "one_cycle"] = "constant_linear"
    decay_from: Decay = 0.5  # type: ignore[valid-type]
    warmup_steps: NonNegativeInt = 0
    clip: NonNegative = 0.0  # type: ignore[valid-type]
    scale_lr: Literal["none", "sqrt", "linear"] = "none"
    lr_batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    ema: Decay = 0.999  # type: ignore[valid-type]
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

    every: Positive = 1.0  # type: ignore[valid-type]
    early: NonNegativeInt = 0
    batch_size: PositiveInt = 32
    best_metric: Literal["psnr", "ssim", "lpips", "lpips_vgg", "ciede2000", "auc", "mse"] = "psnr"
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
        seed: of everything random
        device: auto: cuda, else mps, else cpu
        precision: auto: bf16 where card or CPU (AMX) has units for it, else fp16 with a loss scaler on CUDA; elsewhere
            fp32
        compile: compile both networks (torch.compile)
        cuda_graphs: record the compiled networks as CUDA graphs, which spares launching their kernels one by one
        deterministic: deterministic CUDA kernels; a CPU is always deterministic
        checkpoint_every: steps between saves of the run's state; an evaluation saves too
    """

    arch: Architecture = "attention_ugan"  # type: ignore[valid-type]
    init: str | None = None
    init_sha256: str | None = None
    out: str | None = None
    epochs: NonNegative = 20.0  # type: ignore[valid-type]
    pretrain_epochs: NonNegative = 0.0  # type: ignore[valid-type]
    critic_epochs: NonNegative = 0.0  # type: ignore[valid-type]
    seed: Seed = 0  # type: ignore[valid-type]
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    compile: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False
    checkpoint_every: PositiveInt = 500
    data: DataConfig = field(default_factory=DataConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    lpips: LpipsConfig = field(default_factory=LpipsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@dataclass
class EvaluateDataConfig:
    """Photographs

    Args:
        source: folder, public data set or demo; its val folder where it has one; null: what the first checkpoint was
            trained on
        size: side of the square [pixels], of protocol native; null: the first checkpoint's
        val_limit: the first of a seeded shuffle; null: all
        cache: folder of the decoded photographs; null: $XDG_CACHE_HOME/gancolor or ~/.cache/gancolor
    """

    source: str | None = None
    size: Side | None = None  # type: ignore[valid-type]
    val_limit: PositiveInt | None = None
    cache: str | None = None


@dataclass
class FidConfig:
    """FID and KID

    Args:
        weights: Inception-v3's: off, auto (torch's cache, or download), or a file
    """

    weights: str = "off"


@dataclass
class EvaluateConfig:
    """Evaluation

    Args:
        protocol: which photographs, resized how, damaged or not (docs/evaluation.md)
        predictions: NAME=DIR: score a folder of another tool's pictures, matched by file name; may be repeated
        by_class: the figures of each class of photographs, too
        json: write the result to this file, for gancolor compare
        csv: write one line a photograph and system to this file
        grid: write a picture of samples (grey, each system, truth) to this file
        samples: photographs in the grid
        batch_size: photographs at a time
        device: auto: cuda, else mps, else cpu
    """

    protocol: ProtocolName = "native"
    predictions: list[str] = field(default_factory=list)
    by_class: bool = False
    json: str | None = None
    csv: str | None = None
    grid: str | None = None
    samples: PositiveInt = 8
    batch_size: PositiveInt = 32
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    data: EvaluateDataConfig = field(default_factory=EvaluateDataConfig)
    lpips: LpipsConfig = field(default_factory=LpipsConfig)
    fid: FidConfig = field(default_factory=FidConfig)
    checkpoints: list[str] = field(default_factory=list)
