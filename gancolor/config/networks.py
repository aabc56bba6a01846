"""Options of the networks and of their objectives."""

from dataclasses import dataclass
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from gancolor.choices import DecoderUpsampling, Filters, GanMode, Neurons, Norm, Trunk
from gancolor.config.types import BelowOne, Neighbours, NonNegative, Positive, Side, UpToOne


@dataclass
class GeneratorConfig:
    """Generator (options that an architecture does not have are ignored; training lists them)

    Args:
        width: channels of the first level (ugan, attention_ugan) or layer (ltbc, eccv16, siggraph17); others scale too
        depth: levels of the plain encoder; null: as many as reduce the photograph to 1 x 1, at most 8
        dropout: dropout probability in the three decoder blocks of a U-Net after the innermost one
        norm: normalization, except in pretrained encoders
        upsampling: upsampling layers of a U-Net's decoder
        decoder_convs: 3 x 3 convolutions after each concatenation in a U-Net's decoder (pix2pix: 0)
        decoder_widths: channels of a U-Net's decoder blocks, from the innermost outwards; null: those of the encoder
        skip_norm: BatchNorm on a U-Net's skip connections
        chroma_stride: 2: a U-Net predicts chroma at half the size and upsamples it; 1: at full size
        hints: take colour hints as a second input (U-Nets; docs/hints.md)
        recompute: activation checkpointing in a U-Net: keep only the blocks' inputs for the backward pass and recompute
            the rest; takes less memory and more time
        backbone: encoder of pretrained_*, deoldify and the autoencoders: a timm model with a feature pyramid (resnet50,
            tf_efficientnet_lite0, convnext_tiny, ...)
        backbone_weights: imagenet (timm's, from its cache or the Hugging Face Hub; those of tf_efficientnet_lite0 are
            installed), random, or a file (.safetensors, .pth; with or without the classifier)
        freeze_backbone: do not train the pretrained encoder
        global_size: side to which ltbc resizes the photograph for its global features [pixels]
        classifier_width: hidden layer of ltbc's scene classifier
        temperature: temperature of eccv16's annealed mean: near 0 the likeliest colour, 1 the mean colour
        trunk: the head that trains siggraph17's common layers: classification (of the bins) or regression (of chroma)
        neurons: widths of polychromify's fully connected layers
        filters: widths of polychromify's convolutions
        strides: halve the size in polychromify's convolutions, and upsample it again afterwards
    """

    width: PositiveInt = 64
    depth: PositiveInt | None = None
    dropout: BelowOne = 0.5
    norm: Norm = "batch"
    upsampling: DecoderUpsampling = "transposed"
    decoder_convs: NonNegativeInt = 0
    decoder_widths: list[PositiveInt] | None = None
    skip_norm: bool = False
    chroma_stride: Literal[1, 2] = 1
    hints: bool = False
    recompute: bool = False
    backbone: str = "resnet18"
    backbone_weights: str = "imagenet"
    freeze_backbone: bool = False
    global_size: Side = 224
    classifier_width: PositiveInt = 256
    temperature: UpToOne = 0.38
    trunk: Trunk = "classification"
    neurons: Neurons = "high"
    filters: Filters = "high"
    strides: bool = False


@dataclass
class DiscriminatorConfig:
    """Discriminator (PatchGAN)

    Args:
        layers: convolutions of stride 2; 3: patches of 70 x 70 pixels; 0: single pixels
        width: channels of the first layer
        norm: normalization
        spectral_norm: spectral normalization of all convolutions
    """

    layers: NonNegativeInt = 3
    width: PositiveInt = 64
    norm: Norm = "batch"
    spectral_norm: bool = False


@dataclass
class LossConfig:
    """Losses: the weight of each term (docs/losses.md has the formulas), then options of single terms

    Args:
        l1: mean absolute error of the chroma (ab / 110); the weight is pix2pix's lambda
        mse: mean squared error of the chroma
        log_mse: log(1 + a photograph's mean squared error / 0.05^2): PSNR as a loss, but flat for small errors
        smooth_l1: like l1, but smooth for errors below smooth_l1_delta
        tv: total variation of the predicted chroma
        perceptual: distance between the pictures' features in a network trained on ImageNet
        color_weighted: mse with each pixel weighted by the rarity of its true colour in the training set
        bins: cross-entropy of the pixels' colour bins, weighted by the bins' rarity (eccv16)
        scene: cross-entropy of the scene's class (ltbc); the photographs' subfolders are the classes
        colorfulness: 1 - colourfulness / 100 of the picture (DDColor); not used in pretraining
        colorfulness_difference: |colourfulness - the truth's| / 100 of the picture; not used in pretraining
        weight_l1: sum of the absolute weights of the generator's trainable layers
        weight_l2: sum of the squared weights of the generator's trainable layers
        gan: adversarial loss; not used in pretraining
        feature_matching: distance between the discriminator's features of predicted and real pictures (pix2pixHD)
        gan_mode: form of the adversarial loss
        gradient_penalty: gradient penalty of wgan_gp, in the discriminator's loss
        r1: gradient penalty on real pictures, in the discriminator's loss
        smooth_l1_delta: below it, smooth_l1 is quadratic in the error [ab / 110]
        perceptual_network: vgg16 (four layers) or lpips
        perceptual_weights: weights of that network: imagenet (published, from a cache or downloaded), random, or a file
        uniform: share of a uniform distribution that is mixed with the colours' frequencies before rarity is computed;
            0: rarity is the inverse frequency
        soft_bins: number of nearest bins over which `bins` spreads a true colour
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
    colorfulness_difference: NonNegative = 0.0
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
