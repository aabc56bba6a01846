"""Conversion between sRGB and normalized CIELAB (D65), in float32: in bf16 it is off by up to 2.75 units.

Networks see lightness L / 50 - 1 in [-1, 1] and chroma ab / 110, within [-1, 1] for every sRGB colour.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from kornia.color import lab_to_rgb as _lab_to_rgb
from kornia.color import rgb_to_lab as _rgb_to_lab
from torch import Tensor

from gancolor.color import lab
from gancolor.color.lab import AB_RANGE, L_HALF_RANGE

__all__ = ["AB_RANGE", "L_HALF_RANGE"]

ROOTS_TO_LAB = torch.tensor([[0.0, lab.LIGHTNESS, 0.0], [lab.A, -lab.A, 0.0], [0.0, lab.B, -lab.B]])
LAB_OFFSET = torch.tensor([[lab.OFFSET], [0.0], [0.0]])


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute in true float32: no autocast, and on a GPU no TF32 in convolutions (which kornia converts colours with)
    and matrix products."""
    cuda: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    backends = cuda if device.type == "cuda" else ()  # shared by all threads, so left alone where they have no effect
    tf32 = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, allowed in zip(backends, tf32, strict=True):
            backend.allow_tf32 = allowed


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Compute without autocast, also on devices that have none."""
    return torch.autocast(device_type, enabled=False) if torch.amp.is_autocast_available(device_type) else nullcontext()


def to_float(picture: Tensor) -> Tensor:
    """Convert uint8 sRGB 0..255 to float32 0..1."""
    return picture.float() / 255


def to_uint8(picture: Tensor) -> Tensor:
    """Convert sRGB 0..1 to uint8 0..255, rounded and clipped as in a saved picture."""
    return (picture * 255).round().clamp(0, 255).to(torch.uint8)


def rgb_to_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Convert sRGB (..., 3, H, W) in [0, 1] to lightness (..., 1, H, W) and chroma (..., 2, H, W), both in [-1, 1]."""
    with exact(rgb.device):
        lightness, ab = _rgb_to_lab(rgb.float()).split([1, 2], dim=-3)
        return lightness / L_HALF_RANGE - 1, ab / AB_RANGE


def uint8_to_lab(picture: Tensor, constants: tuple[Tensor, ...] | None = None) -> Tensor:
    """Convert uint8 sRGB (B, 3, H, W) to Lab (B, 3, H, W), L in 0..100, not normalized.

    The result is that of `rgb_to_lab`; a lookup table of the 256 levels takes a third of the time.

    Args:
        constants: `lab_constants` of the device; pass them in compiled functions, which can't use a cache.
    """
    with exact(picture.device):
        return linear_to_lab(to_linear(picture, constants), constants)


def to_linear(picture: Tensor, constants: tuple[Tensor, ...] | None = None) -> Tensor:
    """Convert uint8 sRGB to linear light in [0, 1], with a lookup table of the 256 levels.

    Args:
        constants: see `uint8_to_lab`.
    """
    linear, *_ = constants or lab_constants(picture.device)
    return linear.index_select(0, picture.flatten().int()).view(picture.shape)


def linear_to_lab(light: Tensor, constants: tuple[Tensor, ...] | None = None) -> Tensor:
    """Convert linear sRGB (B, 3, H, W) in [0, 1] to Lab (B, 3, H, W), L in 0..100, not normalized. Call within `exact`.

    Args:
        constants: see `uint8_to_lab`.
    """
    _, to_xyz, to_lab, black = constants or lab_constants(light.device)
    roots = _roots(to_xyz @ light.flatten(2))
    return (to_lab @ roots - black).view(light.shape)


def lightness_of(luminance: Tensor) -> Tensor:
    """Convert luminance relative to white, 0..1, of any shape to L in 0..100. Overwrites its input."""
    return lab.lightness(_roots(luminance))


def _roots(xyz: Tensor) -> Tensor:
    """Apply Lab's f to XYZ relative to white. Overwrites its input."""
    roots = xyz.clamp(min=lab.KNEE).log_().div_(3).exp_()  # three times as fast as a power
    roots += xyz.sub_(lab.KNEE).clamp_(max=0).mul_(lab.SLOPE)
    return roots


@cache
def lab_constants(device: torch.device) -> tuple[Tensor, ...]:
    """Return sRGB's 256 levels in linear light (256,), the matrices (3, 3) from linear sRGB to XYZ and from f(XYZ) to
    Lab, and the offset (3, 1) to subtract then. They are cached, because the host would wait for each copy."""
    with torch.inference_mode(False):
        levels = torch.arange(256, device=device) / 255
        matrices = (torch.tensor(lab.RGB_TO_XYZ, dtype=torch.float32), ROOTS_TO_LAB, LAB_OFFSET)
        return lab.decode(levels), *(matrix.to(device) for matrix in matrices)


def lab_to_rgb(lightness: Tensor, chroma: Tensor, clip: bool = True) -> Tensor:
    """Convert normalized lightness (..., 1, H, W) and chroma (..., 2, H, W) to sRGB (..., 3, H, W).

    Args:
        clip: clip to [0, 1]; False: keep the values outside, which show colours outside the gamut.
    """
    with exact(lightness.device):
        channels = torch.cat([(lightness.float() + 1) * L_HALF_RANGE, chroma.float() * AB_RANGE], dim=-3)
        return _lab_to_rgb(channels, clip)


def grey(lightness: Tensor) -> Tensor:
    """Return the picture without colour (a = b = 0): normalized lightness (..., 1, H, W) to sRGB (..., 3, H, W)."""
    return lab_to_rgb(lightness, torch.zeros_like(lightness).repeat_interleave(2, dim=-3))
