"""Real-Time User-Guided Image Colorization with Learned Deep Priors (Zhang 2017): colours from lightness and hints."""

import torch
from torch import Tensor, nn

from gancolor.choices import Norm, Trunk
from gancolor.color.bins import GRID
from gancolor.models.eccv16 import BLOCKS, HALVING_BLOCKS, LOGITS_STRIDE
from gancolor.models.layers import norm_layer, pad_to_multiple, with_hints
from gancolor.models.output import GeneratorOutput

LAST_SLOPE = 0.2  # of the last block's LeakyReLU, in the released code


class UpBlock(nn.Module):
    """Decoder block: 4 x 4 transposed convolution with stride 2, plus the encoder's map of that size through a 3 x 3
    convolution, then ReLU, 3 x 3 convolutions with ReLU, and norm.

    Args:
        convolutions: number of 3 x 3 convolutions after the sum.
        slope: of the last activation, for negative values.
        norm: None: no norm.
    """

    def __init__(
        self, channels_in: int, skip_channels: int, channels_out: int, convolutions: int, norm: Norm | None,
        slope: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
        self.skip = nn.Conv2d(skip_channels, channels_out, 3, padding=1)
        layers: list[nn.Module] = [nn.ReLU()]
        for number in range(convolutions):
            last = number == convolutions - 1
            layers += [nn.Conv2d(channels_out, channels_out, 3, padding=1)]
            layers += [nn.LeakyReLU(slope) if last and slope else nn.ReLU()]
        self.layers = nn.Sequential(*layers, norm_layer(norm or "none", channels_out))

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Map features (B, channels_in, h, w) and a skip (B, skip_channels, 2h, 2w) to (B, channels_out, 2h, 2w)."""
        return self.layers(self.up(features) + self.skip(skip))


class SIGGRAPH17(nn.Module):
    """Generator from lightness (B, 1, H, W) in [-1, 1] and hints (B, 3, H, W) to chroma (B, 2, H, W) in [-1, 1], and to
    logits (B, 529, ceil(H / 4), ceil(W / 4)) of the bins of the ab plane (`color.bins`, GRID), for any H and W (Zhang
    2017, figure 2; released code).

    At inference, the logits give variants and uncertainty (`inference.variants`). The trunk, which is all layers up to
    stride 4, gets gradients from one of the two heads only; the other one sees its features detached.

    Args:
        width: channels of the first layer (64 in the paper); the others scale with it.
        trunk: the head that trains the trunk: classification (first stage of the training) or regression (second).
    """

    stride = 8  # of the innermost features, relative to the photograph
    takes_hints = True
    bins = GRID

    def __init__(self, width: int = 64, trunk: Trunk = "classification", norm: Norm = "batch") -> None:
        super().__init__()
        self.trunk = trunk
        self.blocks = nn.ModuleList()
        before = 4
        for times, convolutions, dilation in BLOCKS:
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, times * width, 3, 1, dilation, dilation), nn.ReLU()]
                before = times * width
            self.blocks.append(nn.Sequential(*layers, norm_layer(norm, before)))
        self.up8 = UpBlock(before, 4 * width, 4 * width, 2, norm)
        self.to_bins = nn.Conv2d(4 * width, GRID, 1)
        self.up9 = UpBlock(4 * width, 2 * width, 2 * width, 1, norm)
        self.up10 = UpBlock(2 * width, width, 2 * width, 1, None, LAST_SLOPE)
        self.to_chroma = nn.Conv2d(2 * width, 2, 1)

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> GeneratorOutput:
        height, width = lightness.shape[-2:]
        features = pad_to_multiple(with_hints(lightness, hints), self.stride)
        skips = []
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number < HALVING_BLOCKS:
                skips.append(features)
                features = features[..., ::2, ::2]
        shared = self.up8(features, skips[2])
        fixed = [part.detach() for part in (shared, *skips)]
        logits = self.to_bins(shared if self.trunk == "classification" else fixed[0])
        trunk, outermost, outer, _ = fixed if self.trunk == "classification" else (shared, *skips)
        chroma = torch.tanh(self.to_chroma(self.up10(self.up9(trunk, outer), outermost)))
        rows, columns = -(-height // LOGITS_STRIDE), -(-width // LOGITS_STRIDE)
        return GeneratorOutput(chroma[..., :height, :width], bin_logits=logits[..., :rows, :columns])


def siggraph17(width: int = 64, trunk: Trunk = "classification", norm: Norm = "batch") -> SIGGRAPH17:
    return SIGGRAPH17(width, trunk, norm)
