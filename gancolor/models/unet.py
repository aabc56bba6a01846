"""The U-Net generator: an encoder, a decoder, and the skip's kind. ugan, attention_ugan, pretrained_ugan and
pretrained_attention_ugan are the four corners of encoder x skip."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.config import Norm, Upsampling
from gancolor.models.encoders import PlainEncoder, ResNetEncoder
from gancolor.models.layers import AttentionGate, init_weights, norm_layer, upsample_layer
from gancolor.models.output import Prediction

DROPOUT_BLOCKS = (1, 2, 3)  # next to the innermost, 0, as in the released PyTorch code; the paper's are 0 to 2


class DecoderBlock(nn.Module):
    """ReLU, doubling, norm, dropout; then the skip is joined on (Isola 2017), through a gate or as it is, and refined
    by `convs` 3 x 3 convolutions (0 in pix2pix)."""

    def __init__(
        self,
        channels_in: int,
        skip_channels: int,
        channels_out: int,
        upsampling: Upsampling,
        norm: Norm,
        dropout: float,
        convs: int,
        attention: bool,
    ) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.ReLU(),
            upsample_layer(upsampling, channels_in, channels_out, bias=norm != "batch"),
            norm_layer(norm, channels_out),
            nn.Dropout(dropout),
        )
        self.gate = AttentionGate(skip_channels, channels_in, norm) if attention else None
        self.channels = channels_out + skip_channels
        refine: list[nn.Module] = []
        for _ in range(convs):
            refine += [
                nn.ReLU(),
                nn.Conv2d(self.channels, channels_out, 3, padding=1, bias=norm != "batch"),
                norm_layer(norm, channels_out),
            ]
            self.channels = channels_out
        self.refine = nn.Sequential(*refine)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        gated = skip if self.gate is None else self.gate(skip, features)
        return self.refine(torch.cat([self.up(features), gated], dim=1))


class UNet(nn.Module):
    """Lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1], for any H and W: it pads to a multiple of
    the encoder's stride by replication, and crops.

    The released pix2pix U-Net is `UNet(PlainEncoder(64, 8))`. It keeps dropout and batch statistics on when it is
    tested; here `eval()` means what it means elsewhere, so that a photograph has one answer.

    Args:
        encoder: returns its feature pyramid, widths in `channels`.
        attention: pass the skips through attention gates.
        dropout: probability in the (at most three) decoder blocks next to the innermost one.
        convs: 3 x 3 convolutions after each join. With any, lightness itself is joined on at full size.
    """

    def __init__(
        self,
        encoder: PlainEncoder | ResNetEncoder,
        attention: bool = False,
        upsampling: Upsampling = "transposed",
        norm: Norm = "batch",
        dropout: float = 0.5,
        convs: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.stride = 2 ** len(encoder.channels)
        skips = encoder.channels[-2::-1]  # the innermost is where the decoder starts
        self.blocks = nn.ModuleList()
        channels = encoder.channels[-1]
        for level, skip in enumerate(skips):
            # The outermost block has none, however few levels there are.
            drop = dropout if level in DROPOUT_BLOCKS and level < len(skips) - 1 else 0.0
            block = DecoderBlock(channels, skip, skip, upsampling, norm, drop, convs, attention)
            self.blocks.append(block)
            channels = block.channels
        if convs:
            self.head: nn.Module = DecoderBlock(
                channels, 1, max(skips[-1] // 2, 1), upsampling, norm, 0.0, convs, False
            )
            self.to_chroma: nn.Module = nn.Sequential(nn.ReLU(), nn.Conv2d(self.head.channels, 2, 1))
        else:
            self.head = nn.Sequential(nn.ReLU(), upsample_layer(upsampling, channels, 2, bias=True))
            self.to_chroma = nn.Identity()
        for part in (self.blocks, self.head, self.to_chroma):
            init_weights(part)

    def forward(self, lightness: Tensor) -> Prediction:
        height, width = lightness.shape[-2:]
        bottom, right = -height % self.stride, -width % self.stride
        if bottom or right:
            lightness = F.pad(lightness, (0, right, 0, bottom), mode="replicate")
        *skips, features = self.encoder(lightness)
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            features = block(features, skip)
        features = self.head(features, lightness) if isinstance(self.head, DecoderBlock) else self.head(features)
        return Prediction(torch.tanh(self.to_chroma(features))[..., :height, :width])
