"""Joining of a photograph's own lightness with predicted chroma, in float32 at full resolution.

It works on one strip of rows at a time, so that 100 megapixels take little more memory than the photograph itself.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from gancolor.color import lab
from gancolor.color.arrays import Array, array_namespace, device
from gancolor.inference.upsampling import Enlarged
from gancolor.utils.cores import cores

STRIP = 2**17  # pixels: larger strips exceed a core's cache, smaller ones make threads wait for the interpreter lock
MOST_ROWS = 4096  # of a strip of a narrow photograph: `Enlarged.strip` has weights for each row of the small picture
CODE_STEPS, CODE_MARGIN = 65000.0, 200.0  # entries of `_codes` per unit of linear light, and for values below 0
TENSOR_STRIP = 2**24  # pixels of a batch per strip on an accelerator


def can_compile() -> bool:
    """Return whether Numba is installed, which `recombine(compiled=True)` needs."""
    return find_spec("numba") is not None


def recombine(pixels: np.ndarray, chroma: Enlarged, *, compiled: bool = False) -> np.ndarray:
    """Join the lightness of `pixels` with `chroma`. Returns sRGB (H, W, 3) of `pixels`' type.

    Args:
        pixels: (H, W, 1) grey or (H, W, 3) sRGB; uint8, uint16, or float in [0, 1].
        chroma: ab in Lab's units.
        compiled: by Numba, for uint8: at least twice as fast, and equal to within one code.
    """
    height, width, _ = pixels.shape
    coloured = np.empty((height, width, 3), pixels.dtype)

    def colour(start: int) -> None:
        stop = min(start + rows, height)
        if compiled and pixels.dtype == np.uint8:
            from gancolor.inference.compiled import recombine_rows  # loads Numba

            recombine_rows(
                pixels, chroma.planes, chroma.rows, chroma.share, _levels(255), _roots(), _codes(),
                np.float32(CODE_STEPS), np.float32(CODE_MARGIN), start, stop, coloured,
            )  # fmt: skip
            return
        roots = chroma.strip(start, stop, _root_of_luminance(pixels[start:stop]))
        codes = _encode(lab.to_linear(roots.reshape(3, -1)), pixels.dtype)
        for channel in range(3):  # three times as fast as all at once
            coloured[start:stop, :, channel] = codes[channel].reshape(-1, width)

    rows = max(1, min(STRIP // width, MOST_ROWS))
    # NumPy releases the interpreter lock while it computes, so threads run in parallel.
    list(_threads().map(colour, range(0, height, rows)))
    return coloured


def recombine_batch(pictures: Array, chroma: Enlarged) -> Array:
    """Join a batch as `recombine` does, on its device, in any array library.

    Args:
        pictures: (B, 1, H, W) grey or (B, 3, H, W) sRGB; uint8, or float in [0, 1].
        chroma: ab in Lab's units.

    Returns:
        sRGB (B, 3, H, W), uint8 or float32.
    """
    xp = array_namespace(pictures)
    count, channels, height, width = pictures.shape
    rows = max(1, min(TENSOR_STRIP // (count * width), MOST_ROWS))
    strips = []
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        linear = _decode(pictures[:, :, start:stop])
        y = lab.luminance(linear) if channels == 3 else linear[:, 0]
        roots = chroma.strip(start, stop, _root(y, pictures.dtype))
        codes = _encode(lab.to_linear(xp.reshape(xp.moveaxis(roots, 1, 0), (3, -1))), pictures.dtype)
        strips.append(xp.reshape(codes, (3, count, stop - start, width)))
    return xp.moveaxis(xp.concat(strips, axis=-2), 0, 1)


def _root_of_luminance(pixels: np.ndarray) -> np.ndarray:
    """Return Lab's f(Y), (rows, W), of pixels (rows, W, 1 or 3)."""
    linear = _decode(pixels)
    y = linear @ lab.RGB_TO_XYZ[1].astype(np.float32) if pixels.shape[-1] == 3 else linear[..., 0]
    return _root(y, pixels.dtype)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(cores()))


# `recombine` and `recombine_batch` share the functions below, which take any library's arrays, so their results agree.


def _decode(pixels: Array) -> Array:
    """Convert a picture to linear light, float32."""
    xp = array_namespace(pixels)
    if xp.isdtype(pixels.dtype, "unsigned integer"):
        return _look_up(_levels(xp.iinfo(pixels.dtype).max), pixels)
    return lab.decode(xp.astype(pixels, xp.float32, copy=False))


def _root(y: Array, dtype: Any) -> Array:
    """Return Lab's f of a picture's luminance."""
    return _look_up(_roots(), y * 65535) if dtype == array_namespace(y).uint8 else lab.f(y)


def _encode(linear: Array, dtype: Any) -> Array:
    """Convert linear sRGB to a picture's type; integers are rounded."""
    xp = array_namespace(linear)
    if dtype == xp.uint8:
        linear *= CODE_STEPS
        linear += CODE_MARGIN
        return _look_up(_codes(), linear)
    return xp.astype(lab.encode(linear) * 65535 + 0.5, dtype) if dtype == xp.uint16 else lab.encode(linear)


# Lookup tables take a fifth of the time of powers. 65536 steps of linear light are fine enough: the darkest of the 256
# levels spans twenty.


def _look_up(table: np.ndarray, places: Array) -> Array:
    """Return the table's values at places of any shape, rounded down and clipped to the table."""
    if isinstance(places, np.ndarray):
        return table.take(places if places.dtype.kind == "u" else places.astype(np.uint16), mode="clip")
    xp = array_namespace(places)
    flat = xp.clip(xp.astype(xp.reshape(places, (-1,)), xp.int64), 0, len(table) - 1)
    return xp.reshape(xp.take(xp.asarray(table, device=device(places)), flat), places.shape)


@cache
def _levels(most: int) -> np.ndarray:
    """Return the linear light of every value, 0 to `most`, of an unsigned type."""
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
