"""Colorful Image Colorization (Zhang 2016): classify each pixel's colour, and compute chroma from the probabilities."""

import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.choices import Norm
from gancolor.color.bins import annealed_mean, bin_centres
from gancolor.models.layers import norm_layer, pad_to_multiple
from gancolor.models.output import GeneratorOutput

LOGITS_STRIDE = 4  # downsampling factor of the bins' logits
# (width as a multiple of the first layer's, convolutions, dilation) of 7 blocks; the first three end with stride 2 (in
# siggraph17, they are followed by subsampling)
BLOCKS = [(1, 2, 1), (2, 2, 1), (4, 3, 1), (8, 3, 1), (8, 3, 2), (8, 3, 2), (8, 3, 1)]
HALVING_BLOCKS = 3


class ECCV16(nn.Module):
    """Generator from lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1] and logits (B, 313,
    ceil(H / 4), ceil(W / 4)) of the bins of `gancolor.color.bins`, for any H and W (Zhang 2016, table 4 of the
    supplement; released code).

    Convolutions are 3 x 3 with ReLU, and each block ends with norm. Chroma is the bins' annealed mean, upsampled
    bilinearly, which gives the same as upsampling the annealed probabilities first, as the paper does, at less cost.

    Args:
        width: channels of the first layer (64 in the paper); the others scale with it.
        temperature: temperature of the annealed mean, from the mode (0) to the mean (1); 0.38 in the paper.
    """

    stride = 8  # downsampling factor of the features
    centres: Tensor

    def __init__(self, width: int = 64, temperature: float = 0.38, norm: Norm = "batch") -> None:
        super().__init__()
        self.temperature = temperature
        blocks: list[nn.Module] = []
        before = 1
        for number, (times, convolutions, dilation) in enumerate(BLOCKS):
            channels = times * width
            for convolution in range(convolutions):
                stride = 2 if number < HALVING_BLOCKS and convolution == convolutions - 1 else 1
                blocks += [nn.Conv2d(before, channels, 3, stride, dilation, dilation), nn.ReLU()]
                before = channels
            blocks.append(norm_layer(norm, channels))
        self.features = nn.Sequential(*blocks)
        half = 4 * width
        # The released code has no norm at the end of the last block.
        self.up = nn.Sequential(nn.ConvTranspose2d(before, half, 4, stride=2, padding=1), nn.ReLU())
        for _ in range(2):
            self.up.extend([nn.Conv2d(half, half, 3, padding=1), nn.ReLU()])
        self.to_bins = nn.Conv2d(half, len(bin_centres()), 1)
        self.register_buffer("centres", bin_centres(), persistent=False)

    def forward(self, lightness: Tensor) -> GeneratorOutput:
        height, width = lightness.shape[-2:]
        logits = self.to_bins(self.up(self.features(pad_to_multiple(lightness, self.stride))))
        chroma = annealed_mean(logits, self.centres.float(), self.temperature)
        chroma = F.interpolate(chroma, scale_factor=LOGITS_STRIDE, mode="bilinear", align_corners=False)
        rows, columns = -(-height // LOGITS_STRIDE), -(-width // LOGITS_STRIDE)
        return GeneratorOutput(chroma[..., :height, :width], bin_logits=logits[..., :rows, :columns])


def eccv16(width: int = 64, temperature: float = 0.38, norm: Norm = "batch") -> ECCV16:
    return ECCV16(width, temperature, norm)
