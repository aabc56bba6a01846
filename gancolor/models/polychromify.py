"""PolyChromify and the networks that it was compared with (Ghiotto 2021): convolutions around layers that are fully
connected at each pixel, implemented as 1 x 1 convolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gancolor.choices import Filters, Neurons, Norm
from gancolor.models.layers import init_relu, norm_layer, pad_to_multiple
from gancolor.models.output import GeneratorOutput

# "high" gives the report's 293 k parameters. The report's search also had smaller sizes, but their widths are not
# given: here each is half of the next larger one.
FILTERS: dict[str, list[int]] = {"low": [8, 16, 32], "high": [16, 32, 64]}
NEURONS: dict[str, list[int]] = {
    "low": [64, 32, 16, 32, 64],
    "medium": [128, 64, 32, 64, 128],
    "high": [256, 128, 64, 128, 256],
}
DEEP_FILTERS = [16, 32, 64, 128, 256]


class PolyChromify(nn.Module):
    """Generator from lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1], for any H and W.

    Args:
        filters: channels of the 3 x 3 convolutions before the neurons; mirrored after them.
        neurons: channels of the 1 x 1 convolutions (the report: layers that are fully connected at each pixel).
        strides: halve the size in each convolution but the first, and upsample (nearest) before as many mirrored ones.
        norm: norm after every layer but the last.
        mirrored: False: no convolutions after the neurons.
    """

    def __init__(
        self,
        filters: Sequence[int],
        neurons: Sequence[int],
        strides: bool = False,
        norm: Norm = "none",
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        halvings = len(filters) - 1 if strides else 0
        self.stride = 2**halvings
        layers: list[nn.Module] = []
        before = 1

        def add(width: int, kernel: int, stride: int = 1) -> None:
            nonlocal before
            layers.append(nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=norm != "batch"))
            layers.extend([norm_layer(norm, width), nn.ReLU()])
            before = width

        for number, width in enumerate(filters):
            add(width, 3, stride=2 if strides and number else 1)
        for width in neurons:
            add(width, 1)
        for number, width in enumerate(reversed(filters) if mirrored else []):
            if number < halvings:
                layers.append(nn.Upsample(scale_factor=2))
            add(width, 3)
        self.layers = nn.Sequential(*layers)
        init_relu(self.layers)
        self.to_chroma = nn.Conv2d(before, 2, 1)

    def forward(self, lightness: Tensor) -> GeneratorOutput:
        height, width = lightness.shape[-2:]
        chroma = torch.tanh(self.to_chroma(self.layers(pad_to_multiple(lightness, self.stride))))
        return GeneratorOutput(chroma[..., :height, :width])


def polychromify(
    neurons: Neurons = "high", filters: Filters = "high", strides: bool = False, norm: Norm = "none"
) -> PolyChromify:
    """Build PolyChromify, the report's v2: 293,074 parameters ("293 k")."""
    return PolyChromify(FILTERS[filters], NEURONS[neurons], strides, norm)


def polychromify_v0(norm: Norm = "none") -> PolyChromify:
    """Build fully connected layers only, 128-64-32-64-128: each pixel is coloured on its own."""
    return PolyChromify([], NEURONS["medium"], norm=norm)


def polychromify_v1(filters: Filters = "high", strides: bool = False, norm: Norm = "none") -> PolyChromify:
    """Build PolyChromify with convolutions only."""
    return PolyChromify(FILTERS[filters], [], strides, norm)


def polychromify_v3(neurons: Neurons = "high", norm: Norm = "none") -> PolyChromify:
    """Build the very deep variant, with stride 2 and upsampling. The report gives no widths: here those of
    `polychromify`, then 128 and 256."""
    return PolyChromify(DEEP_FILTERS, NEURONS[neurons], strides=True, norm=norm)


def polychromify_cnn(norm: Norm = "batch") -> PolyChromify:
    """Build a plain convolutional network, 16-32-64-128 with BatchNorm: 97,650 parameters ("98 k")."""
    return PolyChromify([16, 32, 64, 128], [], norm=norm, mirrored=False)
