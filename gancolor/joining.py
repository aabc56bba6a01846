"""A photograph's own lightness, joined with predicted chroma: in float32, at full resolution, a strip of rows at a
time, so that 100 megapixels take little more memory than the photograph itself."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from array_api_compat import array_namespace

from gancolor import lab
from gancolor.lab import Array
from gancolor.upsampling import Enlarged

STRIP = 2**16  # pixels: some twenty planes of them stay in a core's cache
TENSOR_STRIP = 2**24  # pixels of a batch on an accelerator


def join(pixels: np.ndarray, chroma: Enlarged) -> np.ndarray:
    """sRGB (H, W, 3) of `pixels`' type with the lightness of `pixels`, (H, W, 1) grey or (H, W, 3) sRGB, and `chroma`.

    Args:
        pixels: uint8, uint16, or float in [0, 1].
        chroma: ab in Lab's units.
    """
    height, width, _ = pixels.shape
    coloured = np.empty((height, width, 3), pixels.dtype)

    def colour(start: int) -> None:
        stop = min(start + rows, height)
        y = _luminance(pixels[start:stop])
        for channel, plane in enumerate(_encode(_coloured(y, start, stop, chroma), pixels.dtype)):
            coloured[start:stop, :, channel] = plane

    rows = max(1, STRIP // width)
    # NumPy lets go of the interpreter while it computes, so threads share the work.
    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ) as pool:
        list(pool.map(colour, range(0, height, rows)))
    return coloured


def join_batch(pictures: Array, chroma: Enlarged) -> Array:
    """The same of a batch (B, 1 or 3, H, W) in [0, 1] of any array library, on its device: (B, 3, H, W)."""
    xp = array_namespace(pictures)
    count, channels, height, width = pictures.shape
    rows = max(1, TENSOR_STRIP // (count * width))
    strips = []
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        linear = lab.decode(xp.astype(pictures[:, :, start:stop], xp.float32))
        y = lab.luminance(linear) if channels == 3 else linear[:, 0]
        strips.append(lab.encode(_coloured(y, start, stop, chroma)))
    return xp.moveaxis(xp.concat(strips, axis=-2), 0, 1)


def _coloured(y: Array, start: int, stop: int, chroma: Enlarged) -> Array:
    """Linear sRGB (3, ...) of luminance (...) of the rows from `start` to before `stop`."""
    xp = array_namespace(y)
    f_of_y = lab.f(y)
    a, b = chroma.strip(start, stop, lab.lightness(f_of_y))
    flat = [xp.reshape(plane, (-1,)) for plane in (y, f_of_y, a, b)]
    return xp.reshape(lab.to_linear(*flat), (3, *y.shape))


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """Y (rows, W) of (rows, W, 1 or 3)."""
    linear = (
        _levels(pixels.dtype).take(pixels, mode="clip")
        if pixels.dtype.kind == "u"
        else lab.decode(pixels.astype(np.float32))
    )
    return linear @ lab.RGB_TO_XYZ[1].astype(np.float32) if pixels.shape[-1] == 3 else linear[..., 0]


def _encode(linear: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Linear sRGB as values of a picture's type, rounded and clipped."""
    if dtype == np.uint8:
        return _codes().take((linear * 65535 + 0.5).clip(0, 65535).astype(np.uint16), mode="clip")
    if dtype == np.uint16:
        return (lab.encode(linear) * 65535 + 0.5).astype(np.uint16)
    return lab.encode(linear).astype(dtype)


@cache
def _levels(dtype: np.dtype) -> np.ndarray:
    """Linear light of every value of an unsigned type."""
    most = np.iinfo(dtype).max
    return lab.decode(np.arange(most + 1) / most).astype(np.float32)


@cache
def _codes() -> np.ndarray:
    """uint8 sRGB of linear light in 65536 steps: the darkest of its 256 steps spans twenty of them."""
    return (lab.encode(np.arange(65536) / 65535) * 255 + 0.5).astype(np.uint8)
