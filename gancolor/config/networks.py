"""Options of the networks and of their objectives."""

from dataclasses import dataclass
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from gancolor.choices import DecoderUpsampling, Filters, GanMode, Neurons, Norm
from gancolor.config.types import Decay, Neighbours, NonNegative, Positive, Share, Side


@dataclass
class GeneratorConfig:
    """Generator; an architecture uses the options that it has, and names those that it ignores

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
    dropout: Decay = 0.5
    norm: Norm = "batch"
    upsampling: DecoderUpsampling = "transposed"
    decoder_convs: NonNegativeInt = 0
    decoder_widths: list[PositiveInt] | None = None
    skip_norm: bool = False
    chroma_stride: Literal[1, 2] = 1
    recompute: bool = False
    backbone: str = "resnet18"
    backbone_weights: str = "imagenet"
    freeze_backbone: bool = False
    global_size: Side = 224
    classifier_width: PositiveInt = 256
    temperature: Share = 0.38
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

    l1: NonNegative = 100.0
    mse: NonNegative = 0.0
    log_mse: NonNegative = 0.0
    smooth_l1: NonNegative = 0.0
    tv: NonNegative = 0.0
    perceptual: NonNegative = 0.0
    color_weighted: NonNegative = 0.0
    bins: NonNegative = 0.0
    scene: NonNegative = 0.0
    colorfulness: NonNegative = 0.0
    weight_l1: NonNegative = 0.0
    weight_l2: NonNegative = 0.0
    gan: NonNegative = 1.0
    feature_matching: NonNegative = 0.0
    gan_mode: GanMode = "vanilla"
    gradient_penalty: NonNegative = 10.0
    r1: NonNegative = 0.0
    smooth_l1_delta: Positive = 0.1
    perceptual_network: Literal["vgg16", "lpips"] = "vgg16"
    perceptual_weights: str = "imagenet"
    uniform: ClosedUnitInterval = 0.5
    soft_bins: Neighbours = 5
