"""Building blocks of encoders, decoders and discriminators."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.choices import DecoderUpsampling, Norm

# Ends of the names of spectral norm's buffers, its estimates of the left and right singular vectors.
SPECTRAL_VECTORS = LEFT_VECTOR, RIGHT_VECTOR = "._u", "._v"


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return InstanceNorm(channels)
    return nn.Identity()


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm that leaves 1 x 1 maps unchanged: they can't be normalized, and torch raises an error."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features) if features.shape[-2:].numel() > 1 else features


def upsample_layer(upsampling: DecoderUpsampling, channels_in: int, channels_out: int, bias: bool) -> nn.Module:
    """Build a layer that doubles height and width."""
    if upsampling == "transposed":
        return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias)
    if upsampling == "nearest":
        return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from fastai's own imports
        from fastai.layers import PixelShuffle_ICNR
    return PixelShuffle_ICNR(channels_in, channels_out, norm_type=None, act_cls=None)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        ctx.widths = [part.shape[1] for part in maps]
        return torch.cat(maps, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layout = torch.channels_last if is_channels_last(gradient) else torch.contiguous_format
        parts = zip(gradient.split(ctx.widths, dim=1), ctx.needs_input_grad, strict=True)
        return tuple(part.contiguous(memory_format=layout) if needed else None for part, needed in parts)


def is_channels_last(picture: Tensor) -> bool:
    return picture.is_contiguous(memory_format=torch.channels_last) and not picture.is_contiguous()


def concatenate(*maps: Tensor) -> Tensor:
    """Concatenate feature maps (B, C_i, H, W) to (B, sum of C_i, H, W).

    Unlike torch.cat, it gives gradients the memory layout of the maps: torch.cat's are slices with gaps, which make
    BatchNorm on a CPU take ten times as long.
    """
    return _Join.apply(*maps) if torch.is_grad_enabled() else torch.cat(maps, dim=1)


def with_hints(lightness: Tensor, hints: Tensor | None) -> Tensor:
    """Concatenate lightness (B, 1, H, W) and hints (B, 3, H, W) to (B, 4, H, W). None means no hint anywhere: zeros."""
    if hints is None:
        return F.pad(lightness, (0, 0, 0, 0, 0, 3))
    return torch.cat([lightness, hints.to(lightness.dtype)], dim=1)


def pad_to_multiple(picture: Tensor, stride: int) -> Tensor:
    """Pad (B, C, H, W) by replication at the right and bottom, to multiples of `stride`."""
    bottom, right = -picture.shape[-2] % stride, -picture.shape[-1] % stride
    # A condition on the size would restrict an exported program to the sizes that meet it.
    needed = torch.compiler.is_exporting() or bottom or right
    return F.pad(picture, (0, right, 0, bottom), mode="replicate") if needed else picture


def init_weights(module: nn.Module) -> None:
    """Initialize weights as pix2pix: convolutions N(0, 0.02), BatchNorm N(1, 0.02), biases 0 (Isola 2017, section 6.2).

    The convolution before a pixel shuffle keeps its ICNR initialization (Aitken 2017), which prevents checkerboard
    artefacts.
    """
    under_shuffle = {
        layer
        for parent in module.modules()
        if any(isinstance(child, nn.PixelShuffle) for child in parent.children())
        for layer in parent.modules()
    }
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer not in under_shuffle:
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def init_relu(layers: nn.Module) -> None:
    """Initialize convolutions and fully connected layers before ReLU as in He 2015, eq. 10, with biases 0. Without
    norm, torch's default weights are so small that after a few layers the output hardly depends on the picture."""
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class AttentionGate(nn.Module):
    """Additive attention on a skip (Oktay 2018, eq. 1 and 2, and its released code):

    alpha = sigmoid(psi(ReLU(theta x + phi g))), y = W(alpha x)

    x is the skip (B, C, 2h, 2w) and g the gating signal, the decoder's features one level deeper (B, G, h, w). theta is
    2 x 2 with stride 2, so alpha is computed at g's size and upsampled bilinearly. The common two-dimensional port
    computes it at x's size instead, at four times the cost.
    """

    def __init__(self, skip_channels: int, gate_channels: int, norm: Norm = "batch") -> None:
        super().__init__()
        between = max(skip_channels // 2, 1)
        self.theta = nn.Conv2d(skip_channels, between, 2, stride=2, bias=False)
        self.phi = nn.Conv2d(gate_channels, between, 1)
        self.psi = nn.Conv2d(between, 1, 1)
        self.out = nn.Sequential(nn.Conv2d(skip_channels, skip_channels, 1), norm_layer(norm, skip_channels))

    def attention(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Compute alpha (B, 1, 2h, 2w) in [0, 1]."""
        alpha = torch.sigmoid(self.psi(F.relu(self.theta(skip) + self.phi(gate))))
        return F.interpolate(alpha, scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        return self.out(self.attention(skip, gate) * skip)


class SelfAttention(nn.Module):
    """Self-attention over all positions of a feature map, added with a weight that starts at 0 (Zhang 2019, section 3):

    out = x + gamma V softmax(Q^T K)^T, with Q and K of C / 8 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        between = max(channels // 8, 1)
        self.query, self.key = (nn.Conv1d(channels, between, 1, bias=False) for _ in range(2))
        self.value = nn.Conv1d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        places = features.flatten(2)
        query, key, value = (layer(places).transpose(1, 2) for layer in (self.query, self.key, self.value))
        # By default, torch divides by the square root of the width; the paper does not.
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return features + self.gamma * attended.transpose(1, 2).view_as(features)
