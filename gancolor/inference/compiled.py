"""Joining of lightness and chroma in one pass over the pixels, compiled by Numba (`pip install 'gancolor[fast]'`).

It computes the same as `recombine` does with NumPy, which takes one operation after another over strips. Loading it
takes half a second, so it pays from a dozen photographs on. The first time of all, it is compiled, which takes some
seconds; Numba then keeps it on disk.
"""

from functools import cache

import numpy as np
from numba import njit

from gancolor.color import lab
from gancolor.inference.upsampling import Enlarged

STEPS = 65535  # of linear light in the tables of Lab's f and of sRGB's codes, which are interpolated
F_KNEE, SLOPE, LINE, SPILL = (np.float32(value) for value in (lab.F_KNEE, lab.SLOPE, 16 / 116, lab.SPILL))
ZERO, HALF, ONE, LAST = (np.float32(value) for value in (0, 0.5, 1, STEPS))
Y_RED, Y_GREEN, Y_BLUE = lab.RGB_TO_XYZ[1].astype(np.float32)
TO_RGB = lab.XYZ_TO_RGB.astype(np.float32)

compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"})


def recombine_rows(pixels: np.ndarray, chroma: Enlarged, start: int, stop: int, coloured: np.ndarray) -> None:
    """Write the rows `start` to `stop` - 1 of `coloured`.

    Args:
        pixels: (H, W, 1) grey or (H, W, 3) sRGB; uint8 or uint16.
        coloured: sRGB (H, W, 3) of the same type.
    """
    levels, roots, codes = _tables(int(np.iinfo(pixels.dtype).max))
    _join(pixels, chroma.planes, *chroma.rows, chroma.share, levels, roots, codes, start, stop, coloured)


@cache
def _tables(most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the linear light of each code, 0 to `most`; Lab's f of luminance; and rounded codes of linear light."""
    steps = np.arange(STEPS + 1) / STEPS
    tables = lab.decode(np.arange(most + 1) / most), lab.f(steps), lab.encode(steps) * most + 0.5
    return tuple(table.astype(np.float32) for table in tables)


@compiled
def _join(
    pixels: np.ndarray, planes: np.ndarray, above: np.ndarray, below: np.ndarray, share: np.ndarray,
    levels: np.ndarray, roots: np.ndarray, codes: np.ndarray, start: int, stop: int, coloured: np.ndarray,
) -> None:  # fmt: skip
    grey = pixels.shape[2] == 1
    for row in range(start, stop):
        upper, lower, part = above[row], below[row], share[row]
        for column in range(pixels.shape[1]):
            y = levels[pixels[row, column, 0]]
            if not grey:
                y = Y_RED * y + Y_GREEN * levels[pixels[row, column, 1]] + Y_BLUE * levels[pixels[row, column, 2]]
            f_y = _interpolated(roots, y)
            slope_x = _between(planes[0, upper, column], planes[0, lower, column], part)
            offset_x = _between(planes[1, upper, column], planes[1, lower, column], part)
            slope_z = _between(planes[2, upper, column], planes[2, lower, column], part)
            offset_z = _between(planes[3, upper, column], planes[3, lower, column], part)
            red, green, blue = _in_gamut(slope_x * f_y + offset_x, f_y, slope_z * f_y + offset_z)
            coloured[row, column, 0] = _interpolated(codes, red)
            coloured[row, column, 1] = _interpolated(codes, green)
            coloured[row, column, 2] = _interpolated(codes, blue)


@compiled
def _between(first: np.float32, second: np.float32, share: np.float32) -> np.float32:
    return first + share * (second - first)


@compiled
def _interpolated(table: np.ndarray, place: np.float32) -> np.float32:
    """Return the table's value for 0..1."""
    place = place * LAST
    if not place > ZERO:  # also what is not a number
        return table[0]
    if place >= LAST:
        return table[STEPS]
    step = int(place)
    return _between(table[step], table[step + 1], place - np.float32(step))


@compiled
def _in_gamut(f_x: np.float32, f_y: np.float32, f_z: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    """Convert f of X, Y and Z to linear sRGB, as `lab.to_linear` does."""
    red, green, blue = _linear(f_x, f_y, f_z)
    beyond = _excess(red, green, blue)
    if not beyond > SPILL:
        return red, green, blue
    low, high = ZERO, ONE
    inside = min(_excess(*_linear(f_y, f_y, f_y)), ZERO)
    for _ in range(lab.STEPS):
        share = low + (high - low) * inside / (inside - beyond)
        excess = _excess(*_linear(_between(f_y, f_x, share), f_y, _between(f_y, f_z, share)))
        if excess <= ZERO:
            low, inside, beyond = share, excess, beyond * HALF
        else:
            high, inside, beyond = share, inside * HALF, excess
    share = low + (high - low) * inside / (inside - beyond)
    return _linear(_between(f_y, f_x, share), f_y, _between(f_y, f_z, share))


@compiled
def _linear(f_x: np.float32, f_y: np.float32, f_z: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    x, y, z = _inverse_f(f_x), _inverse_f(f_y), _inverse_f(f_z)
    return (
        TO_RGB[0, 0] * x + TO_RGB[0, 1] * y + TO_RGB[0, 2] * z,
        TO_RGB[1, 0] * x + TO_RGB[1, 1] * y + TO_RGB[1, 2] * z,
        TO_RGB[2, 0] * x + TO_RGB[2, 1] * y + TO_RGB[2, 2] * z,
    )


@compiled
def _inverse_f(value: np.float32) -> np.float32:
    return value * value * value if value > F_KNEE else (value - LINE) / SLOPE


@compiled
def _excess(red: np.float32, green: np.float32, blue: np.float32) -> np.float32:
    return max(abs(red - HALF), abs(green - HALF), abs(blue - HALF)) - HALF
