"""Encoders: lightness in, feature pyramid out. Each names its levels' widths in `channels`, of stride 2, 4, 8, ..."""

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from gancolor.config import Norm
from gancolor.errors import InputError
from gancolor.models.layers import init_relu, init_weights, norm_layer
from gancolor.recomputation import Run, call
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

    def forward(self, lightness: Tensor, run: Run = call) -> list[Tensor]:
        """(B, 1, H, W) in [-1, 1] to `len(channels)` maps, the k-th (B, channels[k], H / 2^(k+1), W / 2^(k+1))."""
        pyramid = [lightness]
        for level in self.levels:
            pyramid.append(run(level, pyramid[-1]))
        return pyramid[1:]


# torchvision's name -> the widths of its five levels
RESNETS = {
    "resnet18": [64, 64, 128, 256, 512],
    "resnet34": [64, 64, 128, 256, 512],
    "resnet50": [64, 256, 512, 1024, 2048],
    "resnet101": [64, 256, 512, 1024, 2048],
}
GREY_MEAN, GREY_STD = (
    0.449,
    0.226,
)  # of ImageNet's channels, averaged: what the pretrained layers expect of a grey picture


class Backbone(nn.Module):
    """A network trained on ImageNet, for encoder.

    Its first layer takes one channel: the kernel is the three-channel one's sum, so that lightness is seen as the grey
    picture it is. A frozen one keeps its weights and its BatchNorm statistics.
    """

    channels: list[int]
    frozen = False

    def freeze(self) -> None:
        self.frozen = True
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    @staticmethod
    def normalize(lightness: Tensor) -> Tensor:
        """[-1, 1] to what ImageNet's networks expect of a grey picture."""
        return ((lightness + 1) / 2 - GREY_MEAN) / GREY_STD


class ResNetEncoder(Backbone):
    """A ResNet's body (fastai's `create_body`) that returns its feature pyramid.

    Args:
        backbone: a name of RESNETS.
        weights: "imagenet" (torchvision's cache, or download), "random", or a file of a ResNet's or a body's weights.
        frozen: leave the weights as they are.
    """

    def __init__(self, backbone: str = "resnet18", weights: str = "imagenet", frozen: bool = False) -> None:
        super().__init__()
        from torchvision.models import get_model, get_model_weights  # a second to import, so not for plain encoders

        self.channels = RESNETS[backbone]
        network = get_model(backbone, weights=None)
        if weights != "random":
            url = get_model_weights(backbone).DEFAULT.url
            load_backbone(network, backbone, weights, url, "fc.", "--generator.backbone_weights")
        body = _create_body(network, -2)
        self.stem, self.pool, self.stages = body[:3], body[3], body[4:]
        if frozen:
            self.freeze()

    def forward(self, lightness: Tensor, run: Run = call) -> list[Tensor]:
        """(B, 1, H, W) in [-1, 1] to five maps, the k-th (B, channels[k], H / 2^(k+1), W / 2^(k+1))."""
        pyramid = [run(self.stem, self.normalize(lightness))]
        features = self.pool(pyramid[0])
        for stage in self.stages:
            features = run(stage, features)
            pyramid.append(features)
        return pyramid


class VGGEncoder(Backbone):
    """VGG-16 up to its last pooling (Simonyan 2015, configuration D), 14.7 M parameters; returns the pooled maps."""

    def __init__(self, weights: str = "imagenet", frozen: bool = False) -> None:
        super().__init__()
        self.channels = [64, 128, 256, 512, 512]
        network = nn.Sequential(OrderedDict(features=vgg16_features(weights, "--generator.backbone_weights")))
        self.features: nn.Sequential = _create_body(network, 1)[0]  # type: ignore[assignment]
        if frozen:
            self.freeze()

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """(B, 1, H, W) in [-1, 1] to five maps, the k-th (B, channels[k], H / 2^(k+1), W / 2^(k+1))."""
        pyramid, features = [], self.normalize(lightness)
        for layer in self.features:
            features = layer(features)
            if isinstance(layer, nn.MaxPool2d):
                pyramid.append(features)
        return pyramid


def vgg16_features(weights: str, option: str) -> nn.Sequential:
    """VGG-16's convolutions, of three channels, without the classifier, which is nine tenths of it.

    Args:
        weights: "imagenet" (torchvision's cache, or download), "random", or a file.
        option: the flag that `weights` comes from, for errors.

    Raises:
        InputError: weights that can't be had, or are another network's.
    """
    from torchvision.models import VGG16_Weights
    from torchvision.models.vgg import cfgs, make_layers

    features = make_layers(cfgs["D"])
    if weights == "random":
        init_relu(features)
    else:
        network = nn.Sequential(OrderedDict(features=features))
        load_backbone(network, "vgg16", weights, VGG16_Weights.IMAGENET1K_V1.url, "classifier.", option)
    return features


def _create_body(network: nn.Module, cut: int) -> nn.Sequential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fastai's own imports
        from fastai.vision.learner import create_body
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    body = create_body(network, n_in=1, pretrained=True, cut=cut)
    if first.bias is not None:  # fastai takes over the kernel alone
        next(layer for layer in body.modules() if isinstance(layer, nn.Conv2d)).bias = first.bias
    return body


def load_backbone(network: nn.Module, name: str, weights: str, url: str, head: str, option: str) -> None:
    """Loads a torchvision network's weights, whose classifier (parameters named `head`...) may be lacking.

    Args:
        weights: "imagenet" (torchvision's cache, or download from `url`) or a file.
        option: the flag that `weights` comes from, for errors.

    Raises:
        InputError: they can't be had, or are another network's.
    """
    state: StateDict
    state = load_published(url, f"{option} FILE (or `random`)") if weights == "imagenet" else load_file(Path(weights))
    state = {key: value for key, value in state.items() if not key.startswith(head)}
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError:
        missing, unexpected = ["?"], []
    if unexpected or [key for key in missing if not key.startswith(head)]:
        raise InputError(f"{weights}: these are not {name}'s weights in torchvision's layout")
