"""Generators and discriminators: explicit tables, name -> builder. Builders take plain arguments, no configuration."""

from collections.abc import Callable
from functools import partial
from inspect import signature

from torch import nn

from gancolor.config import Norm, Upsampling
from gancolor.errors import InputError
from gancolor.models.encoders import PlainEncoder, ResNetEncoder
from gancolor.models.output import Prediction
from gancolor.models.patchgan import PatchGAN, least_size
from gancolor.models.unet import UNet

MOST_LEVELS = 8  # of pix2pix at 256 x 256


def plain_unet(
    attention: bool,
    width: int = 64,
    depth: int | None = None,
    dropout: float = 0.5,
    norm: Norm = "batch",
    upsampling: Upsampling = "transposed",
    decoder_convs: int = 0,
    size: int = 256,
) -> UNet:
    """The U-Net with pix2pix's encoder. `depth` None: as many levels as bring `size` down to 1 x 1, at most 8.

    Raises:
        InputError: more levels than `size` can be halved.
    """
    most = size.bit_length() - 1
    depth = min(MOST_LEVELS, most) if depth is None else depth
    if not 2 <= depth <= most:
        raise InputError(
            f"--generator.depth {depth}: {size} pixels take 2 to {most} levels; give another, or --data.size"
        )
    return UNet(PlainEncoder(width, depth, norm), attention, upsampling, norm, dropout, decoder_convs)


def pretrained_unet(
    attention: bool,
    backbone: str = "resnet18",
    backbone_weights: str = "imagenet",
    dropout: float = 0.5,
    norm: Norm = "batch",
    upsampling: Upsampling = "transposed",
    decoder_convs: int = 0,
) -> UNet:
    """The U-Net with a pretrained ResNet for encoder."""
    return UNet(ResNetEncoder(backbone, backbone_weights), attention, upsampling, norm, dropout, decoder_convs)


GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "ugan": partial(plain_unet, attention=False),
    "attention_ugan": partial(plain_unet, attention=True),
    "pretrained_ugan": partial(pretrained_unet, attention=False),
    "pretrained_attention_ugan": partial(pretrained_unet, attention=True),
}


def build_generator(arch: str, **options: object) -> nn.Module:
    """The generator of a name of GENERATORS. An option that only other architectures have is passed over.

    Raises:
        InputError: no such architecture, or options that it can't take.
        TypeError: an option that no architecture has.
    """
    if arch not in GENERATORS:
        raise InputError(f"no architecture {arch!r}; choose from {', '.join(GENERATORS)}")
    known = {name: set(signature(builder).parameters) for name, builder in GENERATORS.items()}
    if unknown := options.keys() - set().union(*known.values()):
        raise TypeError(f"no generator has the options {sorted(unknown)}")
    return GENERATORS[arch](**{name: value for name, value in options.items() if name in known[arch]})


def build_discriminator(size: int, layers: int = 3, **options: object) -> PatchGAN:
    """The discriminator of photographs of `size` x `size`.

    Raises:
        InputError: the photographs are too small for so many layers.
    """
    if size < least_size(layers):
        raise InputError(
            f"--data.size {size} is too small for --discriminator.layers {layers}, which needs {least_size(layers)}; "
            "give fewer layers or larger photographs"
        )
    return PatchGAN(layers, **options)  # type: ignore[arg-type]


__all__ = ["GENERATORS", "PatchGAN", "Prediction", "UNet", "build_discriminator", "build_generator"]
