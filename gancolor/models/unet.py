"""The U-Net generator: an encoder, a decoder, and the skip's kind. ugan, attention_ugan, pretrained_ugan and
pretrained_attention_ugan are the four corners of encoder x skip; deoldify has a decoder of another make."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectral

from gancolor.config import Norm, Upsampling
from gancolor.errors import InputError
from gancolor.models.encoders import PlainEncoder, ResNetEncoder
from gancolor.models.layers import (
    AttentionGate,
    SelfAttention,
    init_weights,
    join,
    norm_layer,
    pad_to_multiple,
    upsample_layer,
)
from gancolor.models.output import Prediction
from gancolor.recomputation import call, recomputed

MOST_LEVELS = 8  # of pix2pix at 256 x 256
DROPOUT_BLOCKS = (1, 2, 3)  # next to the innermost, 0, as in the released PyTorch code; the paper's are 0 to 2
SELF_ATTENTION_BLOCK = -3  # of fastai's and so DeOldify's decoders: an eighth of the size


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
        return self.refine(join(self.up(features), gated))


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
        self_attention: one self-attention layer (Zhang 2019), in the decoder block at an eighth of the size; needs a
            ResNet's five levels.
        spectral_norm: spectral normalisation of the decoder's convolutions (Miyato 2018).
        recompute: in training, keep the blocks' inputs alone for the backward pass, and compute the rest again.
    """

    def __init__(
        self,
        encoder: PlainEncoder | ResNetEncoder,
        attention: bool = False,
        upsampling: Upsampling = "transposed",
        norm: Norm = "batch",
        dropout: float = 0.5,
        convs: int = 0,
        self_attention: bool = False,
        spectral_norm: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.recompute = encoder, recompute
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
        if self_attention:
            chosen = self.blocks[SELF_ATTENTION_BLOCK]
            assert isinstance(chosen, DecoderBlock)
            chosen.refine.append(SelfAttention(chosen.channels))
        if spectral_norm:
            for layer in (*self.blocks.modules(), *self.head.modules(), *self.to_chroma.modules()):
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Conv1d):
                    spectral(layer)

    def forward(self, lightness: Tensor) -> Prediction:
        height, width = lightness.shape[-2:]
        lightness = pad_to_multiple(lightness, self.stride)
        run = recomputed if self.recompute and self.training else call
        *skips, features = self.encoder(lightness, run)
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            features = run(block, features, skip)
        features = run(self.head, features, *([lightness] if isinstance(self.head, DecoderBlock) else []))
        return Prediction(torch.tanh(self.to_chroma(features))[..., :height, :width])


def plain_unet(
    attention: bool, width: int = 64, depth: int | None = None, dropout: float = 0.5, norm: Norm = "batch",
    upsampling: Upsampling = "transposed", decoder_convs: int = 0, recompute: bool = False, size: int = 256,
) -> UNet:  # fmt: skip
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
    encoder = PlainEncoder(width, depth, norm)
    return UNet(encoder, attention, upsampling, norm, dropout, decoder_convs, recompute=recompute)


def pretrained_unet(
    attention: bool, backbone: str = "resnet18", backbone_weights: str = "imagenet", freeze_backbone: bool = False,
    dropout: float = 0.5, norm: Norm = "batch", upsampling: Upsampling = "transposed", decoder_convs: int = 0,
    recompute: bool = False,
) -> UNet:  # fmt: skip
    """The U-Net with a pretrained ResNet for encoder."""
    encoder = ResNetEncoder(backbone, backbone_weights, freeze_backbone)
    return UNet(encoder, attention, upsampling, norm, dropout, decoder_convs, recompute=recompute)


def deoldify(
    backbone: str = "resnet34", backbone_weights: str = "imagenet", freeze_backbone: bool = False,
    dropout: float = 0.0, norm: Norm = "batch", upsampling: Upsampling = "pixel_shuffle", decoder_convs: int = 2,
    recompute: bool = False,
) -> UNet:  # fmt: skip
    """DeOldify's U-Net (Antic 2018, released code): a ResNet for encoder, spectral norm with BatchNorm and a
    self-attention layer in the decoder. Its "artistic" model has ResNet-34, "stable" ResNet-101.

    The decoder's widths are this class's, not fastai's DynamicUnet times 1.5 or 2.
    """
    encoder = ResNetEncoder(backbone, backbone_weights, freeze_backbone)
    return UNet(
        encoder, False, upsampling, norm, dropout, decoder_convs, self_attention=True, spectral_norm=True,
        recompute=recompute,
    )  # fmt: skip


# pix2pix's U-Net (Isola 2017), and with attention gates on its skips (Oktay 2018); the same two on a pretrained ResNet.
ugan, attention_ugan = partial(plain_unet, False), partial(plain_unet, True)
pretrained_ugan, pretrained_attention_ugan = partial(pretrained_unet, False), partial(pretrained_unet, True)
