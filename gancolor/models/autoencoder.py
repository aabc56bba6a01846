"""Encoder-decoders with a pretrained encoder, without the U-Net's concatenated skips: vgg16_autoencoder and
resnet18_autoencoder."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.choices import Norm
from gancolor.models.encoders import Backbone
from gancolor.models.layers import norm_layer, pad_to_multiple
from gancolor.models.output import GeneratorOutput


class Autoencoder(nn.Module):
    """Encoder-decoder from lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1], for any H and W.

    Args:
        encoder: returns its feature pyramid; the decoder starts from the innermost map.
        widths: channels of the decoder's blocks: 3 x 3 convolution, norm, ReLU and upsampling by 2. If there are fewer
            blocks than the encoder has halvings, the chroma is upsampled bilinearly to full size.
        residual: after each block, add the encoder's map of the same size; both must have the same width.
    """

    def __init__(self, encoder: Backbone, widths: Sequence[int], residual: bool, norm: Norm = "batch") -> None:
        super().__init__()
        self.encoder, self.residual = encoder, residual
        self.stride = encoder.strides[-1]
        self.blocks = nn.ModuleList()
        before = encoder.channels[-1]
        for width in widths:
            convolution = nn.Conv2d(before, width, 3, padding=1, bias=norm != "batch")
            self.blocks.append(
                nn.Sequential(convolution, norm_layer(norm, width), nn.ReLU(), nn.Upsample(scale_factor=2))
            )
            before = width
        self.to_chroma = nn.Conv2d(before, 2, 3, padding=1)

    def forward(self, lightness: Tensor) -> GeneratorOutput:
        height, width = lightness.shape[-2:]
        lightness = pad_to_multiple(lightness, self.stride)
        *outer, features = self.encoder(lightness)
        skips = dict(zip(self.encoder.strides, outer, strict=False)) if self.residual else {}
        stride = self.stride
        for block in self.blocks:
            features, stride = block(features), stride // 2
            if stride in skips:
                features = features + skips[stride]
        chroma = torch.tanh(self.to_chroma(features))
        if chroma.shape[-2:] != lightness.shape[-2:]:
            chroma = F.interpolate(chroma, size=lightness.shape[-2:], mode="bilinear", align_corners=False)
        return GeneratorOutput(chroma[..., :height, :width])


def vgg16_autoencoder(
    backbone: str = "vgg16", backbone_weights: str = "imagenet", freeze_backbone: bool = True, norm: Norm = "batch"
) -> Autoencoder:
    """Build VGG-16 up to its last pooling (7 x 7 x 512 at 224), with a decoder back to full size that adds the
    encoder's maps (Zaman 2020). The report does not give the decoder's widths: here they mirror the encoder's, so that
    the maps can be added; where the encoder has no map, widths halve."""
    encoder = Backbone(backbone, backbone_weights, freeze_backbone)
    mirrored = encoder.channels[-2::-1]
    beyond = encoder.strides[0].bit_length() - 1  # upsamplings after the outermost map
    widths = [*mirrored, *(max(mirrored[-1] >> (level + 1), 2) for level in range(beyond))]
    return Autoencoder(encoder, widths, residual=True, norm=norm)


def resnet18_autoencoder(
    backbone: str = "resnet18", backbone_weights: str = "imagenet", freeze_backbone: bool = False, norm: Norm = "batch"
) -> Autoencoder:
    """Build ResNet-18 with a decoder of four blocks and no skips (Vazquez 2023). The report gives neither the blocks'
    widths nor how four doublings undo five halvings: here widths halve from 256, and the chroma is upsampled last."""
    encoder = Backbone(backbone, backbone_weights, freeze_backbone)
    return Autoencoder(encoder, [256, 128, 64, 32], residual=False, norm=norm)
