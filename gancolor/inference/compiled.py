"""Joining of lightness and chroma row by row, compiled by Numba (`pip install 'gancolor[fast]'`).

It computes the same as `recombine` does with NumPy, which takes one operation after another over whole strips. Loading
it takes half a second. The first time of all, it is compiled, which takes some seconds; Numba then keeps it on disk.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from gancolor.color import lab

F_KNEE, SLOPE, LINE, SPILL = (
    np.float32(value) for value in (lab.F_KNEE, 1 / lab.SLOPE, lab.OFFSET / lab.LIGHTNESS, lab.SPILL)
)
ZERO, HALF, ONE, LAST = (np.float32(value) for value in (0, 0.5, 1, 65535))
Y_RED, Y_GREEN, Y_BLUE = lab.RGB_TO_XYZ[1].astype(np.float32)
TO_RGB = lab.XYZ_TO_RGB.astype(np.float32)

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "nsz"}}
compiled = njit(**OPTIONS)


def kept(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function, and keep it on disk if that is possible."""
    try:
        kernel = njit(**OPTIONS, cache=True)(function)
    except RuntimeError:  # there is no folder that may be written
        return compiled(function)

    def call(*arguments: Any) -> None:
        try:
            kernel(*arguments)
        except OSError:  # the disk is full; it is compiled, but not kept
            kernel(*arguments)

    return call


@kept
def recombine_rows(
    pixels: np.ndarray, planes: np.ndarray, neighbours: np.ndarray, share: np.ndarray,
    levels: np.ndarray, roots: np.ndarray, codes: np.ndarray, steps: np.float32, margin: np.float32,
    start: int, stop: int, coloured: np.ndarray,
) -> None:  # fmt: skip
    """Write the rows `start` to `stop` - 1 of `coloured`.

    Args:
        pixels: (H, W, 1) grey or (H, W, 3) sRGB, uint8.
        planes, neighbours, share: of `Enlarged`.
        levels: linear light of each value of `pixels`.
        roots: Lab's f of luminance in 65536 steps.
        codes: sRGB of linear light, which is at `steps` x light + `margin`.
        coloured: sRGB (H, W, 3), uint8.
    """
    width = pixels.shape[1]
    f_x, f_y, f_z = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    light = np.empty((3, width), np.float32)
    places = np.empty((3, width), np.uint16)
    # One short loop after another, so that those without tables run several pixels at a time.
    for row in range(start, stop):
        above, below, part = neighbours[0, row], neighbours[1, row], share[row]
        if pixels.shape[2] == 3:
            for column in range(width):
                red, green, blue = pixels[row, column, 0], pixels[row, column, 1], pixels[row, column, 2]
                y = Y_RED * levels[red] + Y_GREEN * levels[green] + Y_BLUE * levels[blue]
                f_y[column] = roots[np.uint16(min(y * LAST, LAST))]
        else:
            for column in range(width):
                f_y[column] = roots[np.uint16(min(levels[pixels[row, column, 0]] * LAST, LAST))]
        for column in range(width):
            slope_x = _between(planes[0, above, column], planes[0, below, column], part)
            offset_x = _between(planes[1, above, column], planes[1, below, column], part)
            f_x[column] = slope_x * f_y[column] + offset_x
            slope_z = _between(planes[2, above, column], planes[2, below, column], part)
            offset_z = _between(planes[3, above, column], planes[3, below, column], part)
            f_z[column] = slope_z * f_y[column] + offset_z
        spilled = 0
        for column in range(width):
            red, green, blue = _linear(f_x[column], f_y[column], f_z[column])
            light[0, column], light[1, column], light[2, column] = red, green, blue
            spilled += _excess(red, green, blue) > SPILL  # the largest excess would have to be found one by one
        if spilled:
            for column in range(width):
                if _excess(light[0, column], light[1, column], light[2, column]) > SPILL:
                    light[:, column] = _in_gamut(f_x[column], f_y[column], f_z[column])
        for channel in range(3):
            for column in range(width):
                place = light[channel, column] * steps + margin
                place = place if place > ZERO else ZERO  # also what is no number
                places[channel, column] = np.uint16(place if place < LAST else LAST)
        for column in range(width):
            coloured[row, column, 0] = codes[places[0, column]]
            coloured[row, column, 1] = codes[places[1, column]]
            coloured[row, column, 2] = codes[places[2, column]]


@compiled
def _between(first: np.float32, second: np.float32, share: np.float32) -> np.float32:
    return first + share * (second - first)


@compiled
def _inverse_f(value: np.float32) -> np.float32:
    return value * value * value if value > F_KNEE else SLOPE * (value - LINE)


@compiled
def _linear(f_x: np.float32, f_y: np.float32, f_z: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    x, y, z = _inverse_f(f_x), _inverse_f(f_y), _inverse_f(f_z)
    return (
        TO_RGB[0, 0] * x + TO_RGB[0, 1] * y + TO_RGB[0, 2] * z,
        TO_RGB[1, 0] * x + TO_RGB[1, 1] * y + TO_RGB[1, 2] * z,
        TO_RGB[2, 0] * x + TO_RGB[2, 1] * y + TO_RGB[2, 2] * z,
    )


@compiled
def _excess(red: np.float32, green: np.float32, blue: np.float32) -> np.float32:
    red, green, blue = abs(red - HALF), abs(green - HALF), abs(blue - HALF)
    most = red if red > green else green
    return (most if most > blue else blue) - HALF


@compiled
def _in_gamut(f_x: np.float32, f_y: np.float32, f_z: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    """Reduce the chroma of one pixel as `lab.to_linear` does."""
    low, high = ZERO, ONE
    inside = min(_excess(*_linear(f_y, f_y, f_y)), ZERO)
    beyond = _excess(*_linear(f_x, f_y, f_z))
    for _ in range(lab.STEPS):
        share = low + (high - low) * inside / (inside - beyond)
        excess = _excess(*_linear(_between(f_y, f_x, share), f_y, _between(f_y, f_z, share)))
        if excess <= ZERO:
            low, inside, beyond = share, excess, beyond * HALF
        else:
            high, inside, beyond = share, inside * HALF, excess
    share = low + (high - low) * inside / (inside - beyond)
    return _linear(_between(f_y, f_x, share), f_y, _between(f_y, f_z, share))
