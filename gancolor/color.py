"""sRGB <-> normalised CIELAB (D65), always in float32: in bf16 the conversion is off by up to 2.75 units.

Networks see lightness L / 50 - 1 in [-1, 1] and chroma ab / 110, within [-1, 1] for every sRGB colour.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from kornia.color import lab_to_rgb as _lab_to_rgb
from kornia.color import rgb_to_lab as _rgb_to_lab
from torch import Tensor

L_HALF_RANGE = 50.0  # L runs from 0 to 100
AB_RANGE = 110.0  # |a| and |b| of sRGB colours stay under it: the largest is b = -107.86, of pure blue


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """float32 that is float32: no autocast, and no TF32 in the convolutions that kornia converts with on a GPU."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


def to_float(picture: Tensor) -> Tensor:
    """uint8 sRGB 0..255 to float32 0..1."""
    return picture.float() / 255


def to_uint8(picture: Tensor) -> Tensor:
    """sRGB 0..1 to uint8 0..255, rounded and clipped, as a saved picture would be."""
    return (picture * 255).round().clamp(0, 255).to(torch.uint8)


def rgb_to_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """sRGB (..., 3, H, W) in [0, 1] to lightness (..., 1, H, W) and chroma (..., 2, H, W), normalised to [-1, 1]."""
    with _exact(rgb.device):
        lightness, ab = _rgb_to_lab(rgb.float()).split([1, 2], dim=-3)
        return lightness / L_HALF_RANGE - 1, ab / AB_RANGE


def lab_to_rgb(lightness: Tensor, chroma: Tensor) -> Tensor:
    """Normalised lightness (..., 1, H, W) and chroma (..., 2, H, W) to sRGB (..., 3, H, W), clipped to [0, 1]."""
    with _exact(lightness.device):
        lab = torch.cat([(lightness.float() + 1) * L_HALF_RANGE, chroma.float() * AB_RANGE], dim=-3)
        return _lab_to_rgb(lab)


def grey(lightness: Tensor) -> Tensor:
    """The picture with no colour predicted (a = b = 0): normalised lightness (..., 1, H, W) to sRGB (..., 3, H, W)."""
    return lab_to_rgb(lightness, torch.zeros_like(lightness).repeat_interleave(2, dim=-3))
