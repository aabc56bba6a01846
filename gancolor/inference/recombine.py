"""Joining of a photograph's own lightness with predicted chroma, in float32 at full resolution.

It works on one strip of rows at a time, so that 100 megapixels take little more memory than the photograph itself.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from array_api_compat import array_namespace

from gancolor.color import lab
from gancolor.color.lab import Array
from gancolor.inference.upsampling import Enlarged
from gancolor.utils.cores import cores

STRIP = 2**17  # pixels: larger strips exceed a core's cache, smaller ones make threads wait for the interpreter lock
CODE_STEPS, CODE_MARGIN = 65000.0, 200.0
TENSOR_STRIP = 2**24  # pixels of a batch per strip on an accelerator


def recombine(pixels: np.ndarray, chroma: Enlarged) -> np.ndarray:
    """Join the lightness of `pixels` with `chroma`. Returns sRGB (H, W, 3) of `pixels`' type.

    Args:
        pixels: (H, W, 1) grey or (H, W, 3) sRGB; uint8, uint16, or float in [0, 1].
        chroma: ab in Lab's units.
    """
    height, width, _ = pixels.shape
    coloured = np.empty((height, width, 3), pixels.dtype)

    def colour(start: int) -> None:
        stop = min(start + rows, height)
        roots = chroma.strip(start, stop, _root_of_luminance(pixels[start:stop]))
        codes = _encode(lab.to_linear(roots.reshape(3, -1)), pixels.dtype)
        for channel in range(3):  # three times as fast as all at once
            coloured[start:stop, :, channel] = codes[channel].reshape(-1, width)

    rows = max(1, STRIP // width)
    # NumPy releases the interpreter lock while it computes, so threads run in parallel.
    list(_threads().map(colour, range(0, height, rows)))
    return coloured


def recombine_batch(pictures: Array, chroma: Enlarged) -> Array:
    """Join a batch as `join` does, on its device, in any array library: (B, 1 or 3, H, W) in [0, 1] to (B, 3, H, W)."""
    xp = array_namespace(pictures)
    count, channels, height, width = pictures.shape
    rows = max(1, TENSOR_STRIP // (count * width))
    strips = []
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        linear = lab.decode(xp.astype(pictures[:, :, start:stop], xp.float32))
        roots = chroma.strip(start, stop, lab.f(lab.luminance(linear) if channels == 3 else linear[:, 0]))
        linear = lab.to_linear(xp.reshape(xp.moveaxis(roots, 1, 0), (3, -1)))
        strips.append(lab.encode(xp.reshape(linear, (3, count, stop - start, width))))
    return xp.moveaxis(xp.concat(strips, axis=-2), 0, 1)


def _root_of_luminance(pixels: np.ndarray) -> np.ndarray:
    """Return Lab's f(Y), (rows, W), of pixels (rows, W, 1 or 3)."""
    linear = _levels(pixels.dtype).take(pixels, mode="clip") if pixels.dtype.kind == "u" else lab.decode(pixels)
    y = linear @ lab.RGB_TO_XYZ[1].astype(np.float32) if pixels.shape[-1] == 3 else linear[..., 0]
    return _roots().take((y * 65535).astype(np.uint16), mode="clip") if pixels.dtype == np.uint8 else lab.f(y)


def _encode(linear: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert linear sRGB to a picture's type; integers are rounded."""
    if dtype == np.uint8:
        linear *= CODE_STEPS
        linear += CODE_MARGIN
        return _codes().take(linear.astype(np.uint16), mode="clip")
    return (lab.encode(linear) * 65535 + 0.5).astype(dtype) if dtype == np.uint16 else lab.encode(linear)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(cores()))


# Lookup tables take a fifth of the time of powers. 65536 steps of linear light are fine enough: the darkest of the 256
# levels spans twenty.


@cache
def _levels(dtype: np.dtype) -> np.ndarray:
    """Return the linear light of every value of an unsigned type."""
    most = np.iinfo(dtype).max
    return lab.decode(np.arange(most + 1) / most).astype(np.float32)


@cache
def _roots() -> np.ndarray:
    """Return Lab's f of Y in 65536 steps."""
    return lab.f((np.arange(65536) + 0.5) / 65535).astype(np.float32)


@cache
def _codes() -> np.ndarray:
    """Return uint8 sRGB for linear light in CODE_STEPS steps, with a margin at both ends for values out of range."""
    steps = (np.arange(65536) + 0.5 - CODE_MARGIN) / CODE_STEPS
    return (lab.encode(steps) * 255 + 0.5).astype(np.uint8)
