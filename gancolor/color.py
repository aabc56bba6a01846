"""sRGB <-> normalised CIELAB (D65), always in float32: in bf16 the conversion is off by up to 2.75 units.

Networks see lightness L / 50 - 1 in [-1, 1] and chroma ab / 110, within [-1, 1] for every sRGB colour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from kornia.color import lab_to_rgb as _lab_to_rgb
from kornia.color import rgb_to_lab as _rgb_to_lab
from torch import Tensor

from gancolor.lab import AB_RANGE, KNEE, L_HALF_RANGE, LIGHTNESS, RGB_TO_XYZ, SLOPE

__all__ = ["AB_RANGE", "L_HALF_RANGE"]

ROOTS_TO_LAB = torch.tensor([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
LAB_OF_BLACK = torch.tensor([[16.0], [0.0], [0.0]])


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """float32 that is float32: no autocast, and no TF32 in the convolutions (kornia's way to convert colours) and
    matrix products of a GPU."""
    cuda: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    backends = cuda if device.type == "cuda" else ()  # they are one for all threads
    tf32 = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, allowed in zip(backends, tf32, strict=True):
            backend.allow_tf32 = allowed


def to_float(picture: Tensor) -> Tensor:
    """uint8 sRGB 0..255 to float32 0..1."""
    return picture.float() / 255


def to_uint8(picture: Tensor) -> Tensor:
    """sRGB 0..1 to uint8 0..255, rounded and clipped, as a saved picture would be."""
    return (picture * 255).round().clamp(0, 255).to(torch.uint8)


def rgb_to_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """sRGB (..., 3, H, W) in [0, 1] to lightness (..., 1, H, W) and chroma (..., 2, H, W), normalised to [-1, 1]."""
    with exact(rgb.device):
        lightness, ab = _rgb_to_lab(rgb.float()).split([1, 2], dim=-3)
        return lightness / L_HALF_RANGE - 1, ab / AB_RANGE


def uint8_to_lab(picture: Tensor, constants: tuple[Tensor, ...] | None = None) -> Tensor:
    """uint8 sRGB (B, 3, H, W) to L in 0..100, a and b (B, 3, H, W), not normalised: what `rgb_to_lab` says, with a
    table of the 256 levels, in a third of the time.

    Args:
        constants: `lab_constants` of the device; compiled functions, which can't see a cache, are to be given them.
    """
    with exact(picture.device):
        return linear_to_lab(to_linear(picture, constants), constants)


def to_linear(picture: Tensor, constants: tuple[Tensor, ...] | None = None) -> Tensor:
    """uint8 sRGB to linear light in [0, 1], by a table of the 256 levels.

    Args:
        constants: see `uint8_to_lab`.
    """
    linear, *_ = constants or lab_constants(picture.device)
    return linear.index_select(0, picture.flatten().int()).view(picture.shape)


def linear_to_lab(light: Tensor, constants: tuple[Tensor, ...] | None = None) -> Tensor:
    """Linear sRGB (B, 3, H, W) in [0, 1] to L in 0..100, a and b (B, 3, H, W), not normalised. To be called in `exact`.

    Args:
        constants: see `uint8_to_lab`.
    """
    _, to_xyz, to_lab, black = constants or lab_constants(light.device)
    roots = _roots(to_xyz @ light.flatten(2))
    return (to_lab @ roots - black).view(light.shape)


def lightness_of(luminance: Tensor) -> Tensor:
    """Luminance over the white's, 0..1, to L in 0..100, of whatever shape. Overwrites what it is given."""
    return LIGHTNESS * _roots(luminance) - 16


def _roots(xyz: Tensor) -> Tensor:
    """Lab's f of XYZ over the white's. Overwrites what it is given."""
    roots = xyz.clamp(min=KNEE).log_().div_(3).exp_()  # thrice as fast as a power
    roots += xyz.sub_(KNEE).clamp_(max=0).mul_(SLOPE)
    return roots


@cache
def lab_constants(device: torch.device) -> tuple[Tensor, ...]:
    """sRGB's 256 levels as linear light, and the matrices; kept on the device, since sending them makes it wait."""
    with torch.inference_mode(False):
        levels = torch.arange(256, device=device) / 255
        linear = torch.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
        matrices = (torch.tensor(RGB_TO_XYZ, dtype=torch.float32), ROOTS_TO_LAB, LAB_OF_BLACK)
        return linear, *(matrix.to(device) for matrix in matrices)


def lab_to_rgb(lightness: Tensor, chroma: Tensor, clip: bool = True) -> Tensor:
    """Normalised lightness (..., 1, H, W) and chroma (..., 2, H, W) to sRGB (..., 3, H, W), clipped to [0, 1] unless
    the values outside are to be seen."""
    with exact(lightness.device):
        lab = torch.cat([(lightness.float() + 1) * L_HALF_RANGE, chroma.float() * AB_RANGE], dim=-3)
        return _lab_to_rgb(lab, clip)


def grey(lightness: Tensor) -> Tensor:
    """The picture with no colour predicted (a = b = 0): normalised lightness (..., 1, H, W) to sRGB (..., 3, H, W)."""
    return lab_to_rgb(lightness, torch.zeros_like(lightness).repeat_interleave(2, dim=-3))
