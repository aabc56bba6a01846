"""Encoders: lightness in, feature pyramid out. Each names its levels' widths in `channels`, of stride 2, 4, 8, ..."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torchvision.models as tv
from torch import Tensor, nn

from gancolor.config import Norm
from gancolor.errors import InputError
from gancolor.models.layers import init_weights, norm_layer
from gancolor.weights import StateDict, load_file, load_published


class PlainEncoder(nn.Module):
    """pix2pix's encoder (Isola 2017, section 6.1.1): 4 x 4 convolutions of stride 2, LeakyReLU 0.2 before each but the
    first, normalised but for the first and the innermost. With width 64: 64, 128, 256, 512, 512, ...

    Features are taken before the activation, as the released code does.
    """

    def __init__(self, width: int, depth: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.channels = [width * min(2**level, 8) for level in range(depth)]
        self.levels = nn.ModuleList()
        before = 1
        for level, channels in enumerate(self.channels):
            activation = nn.LeakyReLU(0.2) if level else nn.Identity()
            last = nn.Identity() if level in (0, depth - 1) else norm_layer(norm, channels)
            convolution = nn.Conv2d(before, channels, 4, stride=2, padding=1, bias=norm != "batch")
            self.levels.append(nn.Sequential(activation, convolution, last))
            before = channels
        init_weights(self)

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """(B, 1, H, W) in [-1, 1] to `len(channels)` maps, the k-th (B, channels[k], H / 2^(k+1), W / 2^(k+1))."""
        pyramid = [self.levels[0](lightness)]
        for level in self.levels[1:]:
            pyramid.append(level(pyramid[-1]))
        return pyramid


# Name -> (torchvision's builder, its ImageNet weights, the widths of its five levels)
RESNETS: dict[str, tuple[Callable[..., nn.Module], tv.WeightsEnum, list[int]]] = {
    "resnet18": (tv.resnet18, tv.ResNet18_Weights.IMAGENET1K_V1, [64, 64, 128, 256, 512]),
    "resnet34": (tv.resnet34, tv.ResNet34_Weights.IMAGENET1K_V1, [64, 64, 128, 256, 512]),
    "resnet50": (tv.resnet50, tv.ResNet50_Weights.IMAGENET1K_V2, [64, 256, 512, 1024, 2048]),
    "resnet101": (tv.resnet101, tv.ResNet101_Weights.IMAGENET1K_V2, [64, 256, 512, 1024, 2048]),
}
GREY_MEAN, GREY_STD = (
    0.449,
    0.226,
)  # of ImageNet's channels, averaged: what the pretrained layers expect of a grey picture


class ResNetEncoder(nn.Module):
    """A ResNet's body (fastai's `create_body`) that returns its feature pyramid.

    The first layer takes one channel: its kernel is the three-channel one's sum, so that lightness is seen as the grey
    picture it is.

    Args:
        backbone: a name of RESNETS.
        weights: "imagenet" (torchvision's cache, or download), "random", or a file of a ResNet's or a body's weights.
    """

    def __init__(self, backbone: str = "resnet18", weights: str = "imagenet") -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fastai's own imports
            from fastai.vision.learner import create_body

        build, published, self.channels = RESNETS[backbone]
        network = build(weights=None)
        if weights != "random":
            _load_backbone(network, backbone, weights, published.url)
        body = create_body(network, n_in=1, pretrained=True, cut=-2)
        self.stem, self.pool, self.stages = body[:3], body[3], body[4:]

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """(B, 1, H, W) in [-1, 1] to five maps, the k-th (B, channels[k], H / 2^(k+1), W / 2^(k+1))."""
        pyramid = [self.stem(((lightness + 1) / 2 - GREY_MEAN) / GREY_STD)]
        features = self.pool(pyramid[0])
        for stage in self.stages:
            features = stage(features)
            pyramid.append(features)
        return pyramid


def _load_backbone(network: nn.Module, backbone: str, weights: str, url: str) -> None:
    option = "--generator.backbone_weights FILE (or `random`)"
    state: StateDict = load_published(url, option) if weights == "imagenet" else load_file(Path(weights))
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError:
        missing, unexpected = ["?"], []
    if unexpected or [name for name in missing if not name.startswith("fc.")]:
        raise InputError(f"{weights}: these are not {backbone}'s weights in torchvision's layout")
