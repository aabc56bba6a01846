"""Brings chroma that was predicted on a small picture up to the photograph's size, a strip of rows at a time."""

from typing import Literal, get_args

import numpy as np
from array_api_compat import array_namespace, device

from gancolor.errors import InputError, near
from gancolor.lab import Array

Upsampling = Literal["guided", "bilinear"]
# Measured with the true chroma of photographs at 64 and 128: 7 % less error than bilinear; larger windows give less.
RADIUS = 1  # pixels of the small picture around one that its line is fitted to
SMOOTHNESS = 50.0  # added to the variance of L: edges of seven units and more are followed


class Enlarged:
    """Chroma at the photograph's size, computed where it is asked for.

    `guided` follows the fast guided filter (He and Sun 2015, arXiv:1505.00996): in a window around each pixel of the
    small picture chroma is fitted as a line in lightness, and the line, not the chroma, is enlarged; so colour ends
    where the photograph's own edge is. Unlike the filter it smooths nothing: what the line leaves of the chroma is
    kept. `bilinear` enlarges the chroma.

    Args:
        chroma: (..., 2, h, w) of the small picture, any unit.
        lightness: (..., 1, h, w) of the small picture, L in 0..100.
        height, width: the photograph's [pixels].
    """

    def __init__(self, chroma: Array, lightness: Array, height: int, width: int, upsampling: Upsampling) -> None:
        xp = array_namespace(chroma)
        self.guided = upsampling == "guided"
        planes = xp.concat(_lines(chroma, lightness), axis=-3) if self.guided else chroma
        columns, share = _neighbours(width, chroma.shape[-1])
        left, right = (xp.take(planes, xp.asarray(c, device=device(planes)), axis=-1) for c in columns)
        self.planes = left + xp.asarray(share, device=device(planes)) * (right - left)
        self.rows, self.share = _neighbours(height, chroma.shape[-2])

    def strip(self, start: int, stop: int, lightness: Array) -> tuple[Array, Array]:
        """The two channels, (..., rows, W) each, of the rows from `start` to before `stop`, whose lightness
        L (..., rows, W) is given."""
        xp = array_namespace(self.planes)
        first, last = int(self.rows[0, start]), int(self.rows[1, stop - 1])
        weights = np.zeros((stop - start, last + 1 - first), np.float32)
        place, share = np.arange(stop - start), self.share[start:stop]
        weights[place, self.rows[0, start:stop] - first] = 1 - share
        weights[place, self.rows[1, start:stop] - first] += share
        planes = xp.asarray(weights, device=device(self.planes)) @ self.planes[..., first : last + 1, :]
        if not self.guided:
            return planes[..., 0, :, :], planes[..., 1, :, :]
        slope_a, slope_b, offset_a, offset_b = (planes[..., number, :, :] for number in range(4))
        return slope_a * lightness + offset_a, slope_b * lightness + offset_b


def check_upsampling(name: str) -> Upsampling:
    """Raises InputError: no such way."""
    if name not in get_args(Upsampling):
        raise InputError(
            f"no upsampling {name!r}; choose from {', '.join(get_args(Upsampling))}{near(name, get_args(Upsampling))}"
        )
    return name  # type: ignore[return-value]


def _lines(chroma: Array, lightness: Array) -> tuple[Array, Array]:
    """Slopes and offsets (..., 2, h, w) of chroma as a line in lightness: the slope by least squares in a window around
    each pixel (the guided filter's, equation 5), the line through the pixel itself."""
    mean_l, mean_c = _window_mean(lightness), _window_mean(chroma)
    variance = _window_mean(lightness * lightness) - mean_l * mean_l
    slope = (_window_mean(lightness * chroma) - mean_l * mean_c) / (variance + SMOOTHNESS)
    return slope, chroma - slope * lightness


def _window_mean(planes: Array) -> Array:
    """The mean over a square window around each pixel, of what of it lies within the picture."""
    xp = array_namespace(planes)
    for axis in (-2, -1):
        size = planes.shape[axis]
        band = np.abs(np.arange(size)[:, None] - np.arange(size)) <= RADIUS
        weights = xp.asarray((band / band.sum(1, keepdims=True)).astype(np.float32), device=device(planes))
        planes = weights @ planes if axis == -2 else planes @ weights.T
    return planes


def _neighbours(size: int, small: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `size` pixels the two of `small` between whose centres its centre lies (2, size), and the second's
    share (size,)."""
    place = np.clip((np.arange(size) + 0.5) * small / size - 0.5, 0, small - 1)
    first = np.floor(place).astype(np.int64)
    return np.stack([first, np.minimum(first + 1, small - 1)]), (place - first).astype(np.float32)
