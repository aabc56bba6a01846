"""Encoders from lightness, and colour hints if there are any, to a feature pyramid. An encoder's `channels` lists the
number of channels of each level, and `strides` each level's downsampling factor (2, 4, 8, ...)."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.choices import Norm
from gancolor.models.layers import init_weights, norm_layer
from gancolor.models.recomputation import BlockCall, call
from gancolor.utils.errors import InputError, near
from gancolor.utils.weights import load_backbone_weights

OPTION = "--generator.backbone_weights"
PROBE = 64  # side of the picture that a backbone is tested with [pixels]


class PlainEncoder(nn.Module):
    """pix2pix's encoder (Isola 2017, section 6.1.1): 4 x 4 convolutions with stride 2, LeakyReLU 0.2 before each but
    the first, norm after each but the first and the innermost. With width 64: 64, 128, 256, 512, 512, ...

    Features are taken before the activation, as in the released code.

    Args:
        inputs: number of input channels: 1, or 4 with hints.
    """

    def __init__(self, width: int, depth: int, norm: Norm = "batch", inputs: int = 1) -> None:
        super().__init__()
        self.inputs = inputs
        self.channels = [width * min(2**level, 8) for level in range(depth)]
        self.strides = [2 ** (level + 1) for level in range(depth)]
        self.levels = nn.ModuleList()
        before = inputs
        for level, channels in enumerate(self.channels):
            activation = nn.LeakyReLU(0.2) if level else nn.Identity()
            last = nn.Identity() if level in (0, depth - 1) else norm_layer(norm, channels)
            convolution = nn.Conv2d(before, channels, 4, stride=2, padding=1, bias=norm != "batch")
            self.levels.append(nn.Sequential(activation, convolution, last))
            before = channels
        init_weights(self)

    def forward(self, given: Tensor, run: BlockCall = call) -> list[Tensor]:
        """Map (B, inputs, H, W) to `len(channels)` maps, each (B, channels[k], H / strides[k], W / strides[k]).

        H and W must be multiples of strides[-1].
        """
        pyramid = [given]
        for level in self.levels:
            pyramid.append(run(level, pyramid[-1]))
        return pyramid[1:]


def convolve(layer: nn.Conv2d, features: Tensor, padding: Any) -> Tensor:
    """Apply a layer's convolution to features (B, C, H, W). Under autocast on a CPU, depthwise convolutions run in
    float32: oneDNN (in torch 2.14) has no fast bf16 kernel for their gradients, which would take four times as long,
    and most of a backbone's training step."""
    slow = _is_depthwise(layer) and features.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False) if slow else nullcontext():
        features = features.float() if slow else features
        return F.conv2d(features, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)


def _is_depthwise(layer: nn.Conv2d) -> bool:
    return layer.groups == layer.in_channels > 1


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution with the workaround of `convolve`."""

    def forward(self, features: Tensor) -> Tensor:
        return convolve(self, features, self.padding)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for maps whose sides are multiples of the stride: the padding is
    then the same for all sizes.

    timm's own (Conv2dSame) computes it from the size in every pass, which torch.onnx's exporter can't handle.
    """

    def forward(self, features: Tensor) -> Tensor:
        padding: list[int] = []
        for size, stride in zip(reversed(self.kernel_size), reversed(self.stride), strict=True):
            total = max(size - stride, 0)
            padding += [total // 2, total - total // 2]
        return convolve(self, F.pad(features, padding), 0)


class Backbone(nn.Module):
    """A timm model, usually pretrained on ImageNet, as an encoder: it returns a feature pyramid (timm's
    `features_only`).

    The first convolution's RGB kernels are summed to one for lightness, so it responds to lightness as the published
    network does to a grey picture (approximately if kernels are standardized, as in NFNets). The kernels for hints
    start at zero. A frozen backbone keeps its weights and its BatchNorm statistics.

    Args:
        name: timm's name of the model, such as resnet18, tf_efficientnet_lite0 or convnext_tiny.
        weights: "imagenet" (those that timm publishes), "random", or a file (.safetensors or .pth; with or without the
            classifier).
        frozen: don't train the weights.
        inputs: number of input channels: 1, or 4 with hints.

    Raises:
        InputError: an unknown model, one without a feature pyramid, or weights that can't be loaded or belong to
            another model.
    """

    def __init__(self, name: str, weights: str = "imagenet", frozen: bool = False, inputs: int = 1) -> None:
        super().__init__()
        self.inputs = inputs
        self.network = timm_features(name, channels=inputs)
        features: Any = self.network.feature_info
        self.channels: list[int] = features.channels()
        self.strides: list[int] = features.reduction()
        self._check_pyramid(name)
        if weights != "random":
            load_features(self.network, name, weights, OPTION)
        expected: Any = self.network.pretrained_cfg
        # The published mean and standard deviation, averaged over RGB for the one channel of lightness.
        self.mean, self.std = (sum(expected[key]) / len(expected[key]) for key in ("mean", "std"))
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    def forward(self, given: Tensor, run: BlockCall = call) -> list[Tensor]:
        """Map (B, inputs, H, W) to `len(channels)` maps, each (B, channels[k], H / strides[k], W / strides[k]).

        H and W must be multiples of strides[-1].
        """
        lightness = ((given[:, :1] + 1) / 2 - self.mean) / self.std
        pyramid: Any = run(self.network, torch.cat([lightness, given[:, 1:]], 1) if self.inputs > 1 else lightness)
        return pyramid

    def _check_pyramid(self, name: str) -> None:
        """Check that a decoder can use the maps: (B, C, H, W), each half as large as the one before, at any size."""
        doubling = all(after == 2 * before for before, after in zip(self.strides, self.strides[1:], strict=False))
        expected = [(width, PROBE // stride) for width, stride in zip(self.channels, self.strides, strict=True)]
        if doubling and len(self.strides) > 1 and self._probe() == expected:
            return
        raise InputError(
            f"--generator.backbone {name}: it has no feature pyramid (maps that halve from level to level) for "
            "photographs of any size; a ResNet, EfficientNet, ConvNeXt or MobileNet has one"
        )

    @torch.no_grad()
    def _probe(self) -> list[tuple[int, int]]:
        """Return (channels, side) of the maps for a picture of PROBE pixels; empty if the network rejects it."""
        device = next(self.network.parameters()).device
        try:
            pyramid = self.network.eval()(torch.zeros(1, self.inputs, PROBE, PROBE, device=device))
        except (AssertionError, RuntimeError, ValueError):  # what timm's models raise for sizes they reject
            return []
        finally:
            self.network.train()
        return [(level.shape[1], level.shape[-1]) for level in pyramid if level.shape[-1] == level.shape[-2]]


def timm_features(name: str, channels: int, levels: Sequence[int] | None = None) -> nn.Module:
    """Build a timm model with random weights that returns its feature pyramid.

    Args:
        channels: number of input channels.
        levels: indices of the pyramid's levels to return; None: all.

    Raises:
        InputError: timm has no such model, or the model has no feature maps.
    """
    import timm  # takes a second, and plain encoders don't need it

    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        raise InputError(f"--generator.backbone: timm has no model {model!r}{near(model, timm.list_models())}")
    if tag and name not in (published := timm.list_pretrained(f"{model}.*")):
        tags = [weights.partition(".")[2] for weights in published]
        raise InputError(f"--generator.backbone {name}: no such weights; timm has {', '.join(tags)} of {model}")
    chosen: dict[str, Any] = {} if levels is None else {"out_indices": levels}
    if model.startswith("vgg"):
        chosen["mlp_ratio"] = 1 / 4096  # one hidden unit: a classifier of 100 M parameters would be built, and dropped
    try:
        network = timm.create_model(name, features_only=True, in_chans=channels, pretrained=False, **chosen)
    except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError):
        raise InputError(
            f"--generator.backbone {name}: timm gives no feature maps for it; a ResNet, EfficientNet, ConvNeXt or "
            "MobileNet has them"
        ) from None
    for layer in network.modules():
        if type(layer) is timm.layers.Conv2dSame and layer.dilation == (1, 1):
            layer.__class__ = SameConv2d
        elif type(layer) is nn.Conv2d and _is_depthwise(layer):
            layer.__class__ = DepthwiseConv2d
    return network


def load_features(network: nn.Module, name: str, weights: str, option: str) -> None:
    """Load weights, with or without their classifier, into a network that `timm_features` returned.

    If the network takes lightness, its first kernels are the sum over the three channels; for hints they are zero.

    Args:
        weights: "imagenet" (those that timm publishes) or a file.
        option: the flag that `weights` comes from, for error messages.

    Raises:
        InputError: the weights can't be loaded, or belong to another network.
    """
    state = load_backbone_weights(name, weights, option)
    own = network.state_dict()
    names = {_plain(key): key for key in own}
    found = {names[_plain(key)]: value for key, value in state.items() if _plain(key) in names}
    for key, value in found.items():
        if value.dim() == 4 and value.shape[1] == 3 and own[key].shape[1] in (1, 4):  # a kernel of an input layer
            found[key] = F.pad(value.sum(dim=1, keepdim=True), (0, 0, 0, 0, 0, own[key].shape[1] - 1))
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # missing in older files
    fits = all(key in found and found[key].shape == own[key].shape for key in own.keys() - counters)
    if not fits or _unknown(name, {key for key in state if _plain(key) not in names}):
        if weights == "imagenet":
            raise InputError(
                f"--generator.backbone {name}: its published weights can't be adapted to grey pictures; choose "
                f"another backbone, or {option} random"
            )
        raise InputError(f"{option} {weights}: these are not the weights of timm's {name}")
    network.load_state_dict(found, strict=False)


def _plain(key: str) -> str:
    """Normalize a parameter's name, to compare it with the full model's: timm's `features_only` prefixes some names
    with `model.`, and replaces some dots with underscores."""
    return key.removeprefix("model.").replace(".", "_")


def _unknown(name: str, keys: set[str]) -> set[str]:
    """Return the parameter names that neither the full network nor torchvision's classifiers have."""
    import timm

    if not keys:
        return keys
    with torch.device("meta"):
        whole = timm.create_model(name, pretrained=False).state_dict().keys()
    return {key for key in keys - whole if not key.startswith(("classifier.", "fc.", "head."))}
