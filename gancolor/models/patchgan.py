"""The PatchGAN discriminator."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectral

from gancolor.choices import Norm
from gancolor.models.layers import init_weights, norm_layer


class PatchGAN(nn.Module):
    """Discriminator that classifies each patch of a coloured photograph, not the whole (Isola 2017, section 6.1.2).

    By default: 4 x 4 convolutions to 64, 128 and 256 channels (stride 2), to 512 and to one logit (stride 1). LeakyReLU
    0.2 follows all but the last, norm all but the first and the last. A logit sees 70 x 70 pixels; a photograph of
    256 x 256 gives 30 x 30 logits.

    Args:
        layers: convolutions with stride 2; 0: three 1 x 1 convolutions that classify single pixels.
        width: channels of the first convolution.
    """

    def __init__(self, layers: int = 3, width: int = 64, norm: Norm = "batch", spectral_norm: bool = False) -> None:
        super().__init__()
        kernel, padding = (4, 1) if layers else (1, 0)
        strides = [2] * layers + [1] if layers else [1, 1]
        parts: list[nn.Module] = []
        before = 3
        for level, stride in enumerate(strides):
            channels = width * min(2**level, 8)
            bias = level == 0 or norm != "batch"
            parts.append(nn.Conv2d(before, channels, kernel, stride, padding, bias=bias))
            parts += [norm_layer(norm, channels) if level else nn.Identity(), nn.LeakyReLU(0.2)]
            before = channels
        parts.append(nn.Conv2d(before, 1, kernel, 1, padding))
        self.layers = nn.Sequential(*parts)
        init_weights(self)
        if spectral_norm:
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    spectral(layer)

    def forward(self, lightness: Tensor, chroma: Tensor) -> Tensor:
        """Map (B, 1, H, W) and (B, 2, H, W), both in [-1, 1], to logits (B, 1, h, w); above 0 means real."""
        return self.layers(torch.cat([lightness, chroma], dim=1))

    def features(self, lightness: Tensor, chroma: Tensor) -> list[Tensor]:
        """Return the features of `forward`: the output of every activation, and last the logits."""
        picture, found = torch.cat([lightness, chroma], dim=1), []
        for layer in self.layers:
            picture = layer(picture)
            if isinstance(layer, nn.LeakyReLU):
                found.append(picture)
        return [*found, picture]


def least_size(layers: int) -> int:
    """Return the smallest side for which PatchGAN(layers) gives a logit [pixels]: after `layers` halvings, two
    convolutions shorten it by one each."""
    return 3 * 2**layers if layers else 1
