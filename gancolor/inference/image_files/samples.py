"""Arrays of samples: their ranges, and their way into libvips."""

import math
import warnings

import numpy as np
import pyvips

from gancolor.inference.upsampling import neighbours
from gancolor.utils.words import counted

RANGES = (1, 255, 65535, 2**32 - 1)  # of floats and of 32-bit integers, which have no range of their own
# A range is taken if its double holds nearly all samples: in the next range, they would be black. Ringing of filters,
# specular highlights and hot pixels lie outside, and don't count.
OVERSHOOT, NEARLY_ALL = 2, 0.99
DARK = 1 / 32  # a share of the range; photographs have brighter samples
LOOKED_AT = 2**20  # samples that the range is judged by


def to_16_bits(values: np.ndarray, name: str) -> np.ndarray:
    """Convert floats or integers of unknown range, (H, W, C), to uint16.

    The range is the first of `RANGES` whose double holds nearly all samples. A warning says what is clipped or not
    finite, and that the picture is nearly black.

    Args:
        name: of the picture, for the warning.
    """
    step = math.ceil(math.sqrt(values.size / LOOKED_AT))
    sample = values[::step, ::step].astype(np.float64)
    usual = np.quantile(sample[np.isfinite(sample)], NEARLY_ALL) if np.isfinite(sample).any() else 0.0
    ranges: tuple[int, ...] = RANGES
    if values.dtype.kind in "iu":  # an integer type's own range is the last
        whole = np.iinfo(values.dtype).max
        ranges = (*[most for most in RANGES if most < whole], whole)
    most = next((most for most in ranges if usual <= most * OVERSHOOT), ranges[-1])
    odd, outside = count_odd(values, most)
    words = [f"{counted(odd, 'sample')} not finite, set to black or white"] if odd else []
    words += [f"{outside / values.size:.2g} of the samples lie outside, and are clipped"] if outside else []
    words += ["the picture is nearly black"] if 0 < usual < most * DARK else []
    if words:
        warnings.warn(f"{name}: read as samples of 0 to {most}; {'; '.join(words)}", stacklevel=2)
    return sixteen_bits(values, most)


def count_odd(values: np.ndarray, most: float) -> tuple[int, int]:
    """Return how many samples are not finite, and how many of the others are outside 0..`most`."""
    finite = np.isfinite(values)
    inside = (values >= 0) & (values <= most)
    return values.size - int(finite.sum()), int((finite & ~inside).sum())


def sixteen_bits(values: np.ndarray, most: float) -> np.ndarray:
    """Scale numbers in 0..`most` to uint16; others are clipped, and NaN becomes 0."""
    scaled = np.empty(values.shape, np.uint16)
    for row, line in enumerate(values):  # by rows, because a copy in float64 would take four times the memory
        scaled[row] = np.nan_to_num(line.astype(np.float64), posinf=most).clip(0, most) * (65535 / most) + 0.5
    return scaled


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize pixels (H, W, C), to float32 in the same range: shrink them with antialiasing (a box, then a triangle
    filter), and enlarge them bilinearly."""
    image = from_array(np.ascontiguousarray(pixels))
    low, narrow = min(height, image.height), min(width, image.width)
    image = image.resize(narrow / image.width, vscale=low / image.height, kernel="linear")
    if (image.height, image.width) != (low, narrow):  # libvips rounds the size itself
        image = image.embed(0, 0, narrow, low, extend="copy")
    resized = image.numpy().reshape(low, narrow, -1).astype(np.float32)
    # libvips enlarges, too, but moves the picture by a part of a pixel.
    return _enlarged(_enlarged(resized, height, 0), width, 1)


def _enlarged(pixels: np.ndarray, size: int, axis: int) -> np.ndarray:
    if size == pixels.shape[axis]:
        return pixels
    (first, second), share = neighbours(size, pixels.shape[axis])
    weights = share.reshape(-1, *[1] * (2 - axis))
    return pixels.take(first, axis) * (1 - weights) + pixels.take(second, axis) * weights


def from_array(pixels: np.ndarray) -> pyvips.Image:
    """Convert grey, RGB or CMYK pixels (H, W, C) with or without alpha to libvips's image."""
    height, width, bands = pixels.shape
    kind = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}[pixels.dtype.name]
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, bands, kind)
    deep = kind == "ushort"
    return image.copy(interpretation=("grey16" if deep else "b-w") if bands <= 2 else ("rgb16" if deep else "srgb"))


def to_array(image: pyvips.Image) -> np.ndarray:
    """Decode libvips's image to an array (H, W, C)."""
    return image.numpy().reshape(image.height, image.width, -1)
