"""U-Net generators: an encoder, a decoder, and skips with or without attention gates. ugan, attention_ugan,
pretrained_ugan and pretrained_attention_ugan are the four combinations of encoder and skip; deoldify has another
decoder."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectral

from gancolor.choices import DecoderUpsampling, Norm
from gancolor.models.encoders import Backbone, PlainEncoder
from gancolor.models.hint_attention import HintAttention
from gancolor.models.layers import (
    AttentionGate,
    SelfAttention,
    concatenate,
    init_weights,
    norm_layer,
    pad_to_multiple,
    upsample_layer,
    with_hints,
)
from gancolor.models.output import GeneratorOutput
from gancolor.models.recomputation import call, recomputed
from gancolor.utils.errors import InputError

MOST_LEVELS = 8  # as in pix2pix at 256 x 256
# Decoder blocks with dropout, counted from the innermost: as in pix2pix's released PyTorch code; the paper has 0 to 2.
DROPOUT_BLOCKS = (1, 2, 3)
# On hints, whose ab / 110 is mostly below 0.2, so that their kernels, which start at zero, learn as fast as others.
HINT_SCALE = 4.0
SELF_ATTENTION_STRIDE = 8  # as in fastai's decoder, which DeOldify uses


class DecoderBlock(nn.Module):
    """Decoder block: ReLU, upsampling by 2, norm and dropout, then concatenation of the skip (Isola 2017), with or
    without an attention gate, and `convs` 3 x 3 convolutions (0 in pix2pix).

    Args:
        skip_channels: 0: there is no skip.
        skip_norm: BatchNorm on the skip before concatenation (as in fastai's DynamicUnet).
    """

    def __init__(
        self,
        channels_in: int,
        skip_channels: int,
        channels_out: int,
        upsampling: DecoderUpsampling,
        norm: Norm,
        dropout: float,
        convs: int,
        attention: bool,
        skip_norm: bool = False,
    ) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.ReLU(),
            upsample_layer(upsampling, channels_in, channels_out, bias=norm != "batch"),
            norm_layer(norm, channels_out),
            nn.Dropout(dropout),
        )
        self.skip_norm = nn.BatchNorm2d(skip_channels) if skip_norm and skip_channels else nn.Identity()
        self.gate = AttentionGate(skip_channels, channels_in, norm) if attention and skip_channels else None
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

    def forward(self, features: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map features (B, channels_in, h, w) and a skip (B, skip_channels, 2h, 2w) to (B, channels, 2h, 2w)."""
        up = self.up(features)
        if skip is not None:
            skip = self.skip_norm(skip)
            up = concatenate(up, skip if self.gate is None else self.gate(skip, features))
        return self.refine(up)


class UNet(nn.Module):
    """U-Net from lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1], for any H and W: it pads by
    replication to a multiple of the encoder's stride, and crops the output. If the encoder has 4 input channels, it
    also takes hints (B, 3, H, W): chroma where it is given, and the mask of these places (Zhang 2017).

    The released pix2pix U-Net is `UNet(PlainEncoder(64, 8))`. It uses dropout and batch statistics at test time too;
    here `eval()` switches both off as usual, so that the output is deterministic.

    The decoder upsamples, block by block, from the encoder's innermost map to the size of the chroma. A block's skip is
    the encoder's map of the same size. If there is no such map and the decoder has convolutions, the skip is the
    network's input, averaged down to that size.

    Args:
        encoder: returns its feature pyramid, with widths in `channels` and strides in `strides`.
        attention: pass the encoder's skips through attention gates.
        dropout: probability in the (at most three) decoder blocks after the innermost one.
        convs: number of 3 x 3 convolutions after each concatenation.
        widths: of the decoder's blocks, from the deepest outwards; None: the width of the skip or, without one, half of
            the previous block's.
        skip_norm: BatchNorm on the skips.
        chroma_stride: 1: predict chroma at full size; 2: at half size, then upsample it bilinearly. Half-size chroma
            makes hardly a visible difference (JPEG stores it too), and saves the decoder's largest block.
        self_attention: one self-attention layer (Zhang 2019), in the decoder block at 1/8 of the full size.
        spectral_norm: spectral normalization of the decoder's convolutions (Miyato 2018).
        recompute: in training, keep only the blocks' inputs for the backward pass, and recompute the rest.

    Raises:
        InputError: the number of widths is not the number of blocks.
    """

    def __init__(
        self,
        encoder: PlainEncoder | Backbone,
        attention: bool = False,
        upsampling: DecoderUpsampling = "transposed",
        norm: Norm = "batch",
        dropout: float = 0.5,
        convs: int = 0,
        widths: Sequence[int] | None = None,
        skip_norm: bool = False,
        chroma_stride: int = 1,
        self_attention: bool = False,
        spectral_norm: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.recompute, self.chroma_stride = encoder, recompute, chroma_stride
        self.takes_hints = encoder.inputs > 1
        self.joins_input = convs > 0  # in blocks without an encoder map of their size
        self.stride = encoder.strides[-1]
        encoders = dict(zip(encoder.strides, encoder.channels, strict=True))
        self.strides = [stride for stride in _halved(self.stride) if stride >= chroma_stride]
        # Without convolutions, the last upsampling, which has no skip, outputs the chroma, as in pix2pix.
        ends_in_chroma = not convs and self.strides[-1] not in encoders
        joined = self.strides[:-1] if ends_in_chroma else self.strides
        if widths is not None and len(widths) != len(joined):
            raise InputError(
                f"--generator.decoder_widths {list(widths)}: this decoder has {len(joined)} blocks, of strides "
                f"{', '.join(map(str, joined))}; give as many widths"
            )
        self.blocks = nn.ModuleList()
        channels, width = encoder.channels[-1], encoder.channels[-1]
        for number, stride in enumerate(joined):
            skip = encoders.get(stride, encoder.inputs if self.joins_input else 0)
            width = widths[number] if widths else encoders.get(stride, max(width // 2, 1))
            drops = number in DROPOUT_BLOCKS and stride > encoder.strides[0]  # never in the outermost blocks
            block = DecoderBlock(
                channels, skip, width, upsampling, norm, dropout if drops else 0.0, convs,
                attention and stride in encoders, skip_norm and stride in encoders,
            )  # fmt: skip
            if self_attention and stride == SELF_ATTENTION_STRIDE:
                block.refine.append(SelfAttention(block.channels))
            self.blocks.append(block)
            channels = block.channels
        last = upsample_layer(upsampling, channels, 2, bias=True) if ends_in_chroma else nn.Conv2d(channels, 2, 1)
        self.to_chroma = nn.Sequential(nn.ReLU(), last)
        for part in (self.blocks, self.to_chroma):
            init_weights(part)
        self.attend = HintAttention(channels) if self.takes_hints else None
        if spectral_norm:
            for layer in (*self.blocks.modules(), *self.to_chroma.modules()):
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Conv1d):
                    spectral(layer)

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> GeneratorOutput:
        height, width = lightness.shape[-2:]
        given = lightness
        if self.takes_hints:
            given = with_hints(lightness, hints if hints is None else hints * HINT_SCALE)
        given = pad_to_multiple(given, self.stride)
        run = recomputed if self.recompute and self.training else call
        *outer, features = self.encoder(given, run)
        skips = dict(zip(self.encoder.strides, outer, strict=False))
        for stride, block in zip(self.strides, self.blocks, strict=False):
            features = run(block, features, *self._skip(stride, skips, given))
        chroma = torch.tanh(self.to_chroma(features))
        if self.attend is not None and hints is not None:
            chroma = self.attend(chroma, features, given[:, 1:] / HINT_SCALE)
        if self.chroma_stride > 1:
            chroma = F.interpolate(chroma, scale_factor=self.chroma_stride, mode="bilinear", align_corners=False)
        return GeneratorOutput(chroma[..., :height, :width])

    def _skip(self, stride: int, skips: dict[int, Tensor], given: Tensor) -> list[Tensor]:
        """Return a block's skip: the encoder's map of its size, else the downsampled input, or none."""
        if stride in skips:
            return [skips[stride]]
        if not self.joins_input:
            return []
        return [given if stride == 1 else F.avg_pool2d(given, stride)]


def _halved(stride: int) -> list[int]:
    """Return the smaller strides, down to 1: [8, 4, 2, 1] for 16."""
    return [stride >> level for level in range(1, stride.bit_length())]


def inputs(hints: bool) -> int:
    """Return the number of input channels: lightness, and with hints their ab and mask."""
    return 4 if hints else 1


def plain_depth(size: int) -> int:
    """Return the number of plain encoder levels that reduce `size` pixels to 1 x 1, at most 8."""
    return min(MOST_LEVELS, size.bit_length() - 1)


def plain_unet(
    attention: bool, width: int = 64, depth: int | None = None, dropout: float = 0.5, norm: Norm = "batch",
    upsampling: DecoderUpsampling = "transposed", decoder_convs: int = 0, decoder_widths: Sequence[int] | None = None,
    skip_norm: bool = False, chroma_stride: int = 1, hints: bool = False, recompute: bool = False, size: int = 256,
) -> UNet:  # fmt: skip
    """Build the U-Net with pix2pix's encoder. `depth` None: the levels that reduce `size` to 1 x 1, at most 8.

    Raises:
        InputError: `depth` is below 2 or too large for `size`, or `decoder_widths` has not as many widths as there are
            blocks.
    """
    most = size.bit_length() - 1
    depth = plain_depth(size) if depth is None else depth
    if not 2 <= depth <= most:
        raise InputError(
            f"--generator.depth {depth}: {size} pixels allow 2 to {most} levels; give another depth or --data.size"
        )
    return UNet(
        PlainEncoder(width, depth, norm, inputs(hints)), attention, upsampling, norm, dropout, decoder_convs,
        decoder_widths, skip_norm, chroma_stride, recompute=recompute,
    )  # fmt: skip


def pretrained_unet(
    attention: bool, backbone: str = "resnet18", backbone_weights: str = "imagenet", freeze_backbone: bool = False,
    dropout: float = 0.5, norm: Norm = "batch", upsampling: DecoderUpsampling = "transposed", decoder_convs: int = 0,
    decoder_widths: Sequence[int] | None = None, skip_norm: bool = False, chroma_stride: int = 1,
    hints: bool = False, recompute: bool = False,
) -> UNet:  # fmt: skip
    """Build the U-Net with a pretrained backbone as its encoder."""
    return UNet(
        Backbone(backbone, backbone_weights, freeze_backbone, inputs(hints)), attention, upsampling, norm, dropout,
        decoder_convs, decoder_widths, skip_norm, chroma_stride, recompute=recompute,
    )  # fmt: skip


def deoldify(
    backbone: str = "resnet34", backbone_weights: str = "imagenet", freeze_backbone: bool = False,
    dropout: float = 0.0, norm: Norm = "batch", upsampling: DecoderUpsampling = "pixel_shuffle", decoder_convs: int = 2,
    decoder_widths: Sequence[int] | None = None, skip_norm: bool = False, chroma_stride: int = 1,
    hints: bool = False, recompute: bool = False,
) -> UNet:  # fmt: skip
    """Build DeOldify's U-Net (Antic 2018, released code): a ResNet as encoder; spectral norm, BatchNorm and a
    self-attention layer in the decoder. Its "artistic" model has ResNet-34, "stable" ResNet-101.

    The decoder's widths are `UNet`'s defaults. DeOldify's are those of fastai's DynamicUnet, times 1.5 (artistic) or 2
    (stable).
    """
    return UNet(
        Backbone(backbone, backbone_weights, freeze_backbone, inputs(hints)), False, upsampling, norm, dropout,
        decoder_convs, decoder_widths, skip_norm, chroma_stride, self_attention=True, spectral_norm=True,
        recompute=recompute,
    )  # fmt: skip


# pix2pix's U-Net (Isola 2017), without and with attention gates on its skips (Oktay 2018); the same with a backbone.
ugan, attention_ugan = partial(plain_unet, False), partial(plain_unet, True)
pretrained_ugan, pretrained_attention_ugan = partial(pretrained_unet, False), partial(pretrained_unet, True)
