"""Resizing of predicted chroma from the generator's input to the photograph, a strip of rows at a time."""

from typing import get_args

import numpy as np

from gancolor.choices import ChromaUpsampling
from gancolor.color import lab
from gancolor.color.arrays import Array, array_namespace, device
from gancolor.utils.errors import InputError, near

# Measured (benchmarks/colorize.py): 5 to 7 % closer to the ground truth than bilinear; larger windows gain less.
RADIUS = 1  # radius of the windows in which chroma is fitted to lightness [pixels of the small picture]
SMOOTHNESS = 50.0  # epsilon, added to the variance of L: colour follows edges of about sqrt(50) = 7 units of L or more


class Enlarged:
    """Chroma at the photograph's size, computed on demand.

    `guided` follows the fast guided filter (He and Sun 2015, arXiv:1505.00996): in a window around each pixel of the
    small picture, chroma is fitted as a linear function of lightness, and the function, not the chroma, is upsampled.
    So colour ends at the photograph's own edges. Unlike the filter, it smooths nothing: the residual of the fit is
    kept. `bilinear` upsamples the chroma itself.

    Where the small picture has more pixels than the photograph, which was enlarged for the generator, it is first
    averaged down, so that memory is bounded by the photograph's pixels.

    Args:
        chroma: ab (..., 2, h, w) of the small picture, in Lab's units.
        lightness: (..., 1, h, w) of the small picture, L in 0..100.
        height, width: the photograph's [pixels].
    """

    def __init__(self, chroma: Array, lightness: Array, height: int, width: int, upsampling: ChromaUpsampling) -> None:
        xp = array_namespace(chroma)
        chroma, lightness = _averaged(chroma, height, width), _averaged(lightness, height, width)
        slopes = _slopes(chroma, lightness) if upsampling == "guided" else xp.zeros_like(chroma)
        offsets = chroma - slopes * lightness
        # a = slope L + offset becomes f(X) = (1 + 116 slope / 500) f(Y) + ..., and b becomes f(Z), in one step.
        scale = xp.asarray([[[1 / lab.A]], [[-1 / lab.B]]], dtype=xp.float32, device=device(chroma))
        slopes, offsets = 1 + lab.LIGHTNESS * scale * slopes, scale * (offsets - lab.OFFSET * slopes)
        planes = xp.concat(
            [slopes[..., :1, :, :], offsets[..., :1, :, :], slopes[..., 1:, :, :], offsets[..., 1:, :, :]], axis=-3
        )
        columns, share = neighbours(width, chroma.shape[-1])
        left, right = (xp.take(planes, xp.asarray(c, device=device(planes)), axis=-1) for c in columns)
        right -= left  # in place: these planes are as wide as the photograph
        right *= xp.asarray(share, device=device(planes))
        right += left
        self.planes = right
        self.rows, self.share = neighbours(height, chroma.shape[-2])

    def strip(self, start: int, stop: int, f_of_y: Array) -> Array:
        """Return Lab's f of X, Y and Z, (..., 3, rows, W), for the rows `start` to `stop` - 1, given their f of Y
        (..., rows, W)."""
        xp = array_namespace(self.planes)
        first, last = int(self.rows[0, start]), int(self.rows[1, stop - 1])
        weights = np.zeros((stop - start, last + 1 - first), np.float32)
        place, share = np.arange(stop - start), self.share[start:stop]
        weights[place, self.rows[0, start:stop] - first] = 1 - share
        weights[place, self.rows[1, start:stop] - first] += share
        planes = xp.asarray(weights, device=device(self.planes)) @ self.planes[..., first : last + 1, :]
        x, offset_x, z, offset_z = (planes[..., number, :, :] for number in range(4))
        x *= f_of_y
        x += offset_x
        z *= f_of_y
        z += offset_z
        offset_x[...] = f_of_y  # overwrites an offset that is no longer needed, between f(X) and f(Z)
        return planes[..., :3, :, :]


def check_upsampling(name: str) -> ChromaUpsampling:
    """Check the name of an upsampling method, and return it. Raises InputError."""
    known = get_args(ChromaUpsampling)
    if name not in known:
        raise InputError(f"no upsampling {name!r}; choose from {', '.join(known)}{near(name, known)}")
    return name  # type: ignore[return-value]


def _averaged(planes: Array, height: int, width: int) -> Array:
    """Shrink planes (..., h, w) by averaging, along each side that is longer than height or width."""
    xp = array_namespace(planes)
    if planes.shape[-2] > height:
        planes = xp.asarray(_shares(planes.shape[-2], height), device=device(planes)) @ planes
    if planes.shape[-1] > width:
        planes = planes @ xp.asarray(_shares(planes.shape[-1], width).T, device=device(planes))
    return planes


def _shares(large: int, small: int) -> np.ndarray:
    """Return the share (small, large) of each of `large` pixels in each of `small` ones that cover the same line."""
    edges = np.arange(small + 1) * (large / small)
    first, last = edges[:-1, None], edges[1:, None]
    place = np.arange(large)
    overlap = np.clip(np.minimum(last, place + 1) - np.maximum(first, place), 0, None)
    return (overlap * (small / large)).astype(np.float32)


def _slopes(chroma: Array, lightness: Array) -> Array:
    """Fit chroma as a linear function of lightness, by least squares in a window around each pixel (guided filter,
    equation 5). Return the slopes (..., 2, h, w)."""
    xp = array_namespace(chroma)
    means = _window_mean(xp.concat([lightness, lightness * lightness, chroma, lightness * chroma], axis=-3))
    mean_l, mean_l2, mean_c, mean_lc = (means[..., a:b, :, :] for a, b in ((0, 1), (1, 2), (2, 4), (4, 6)))
    return (mean_lc - mean_l * mean_c) / (mean_l2 - mean_l * mean_l + SMOOTHNESS)


def _window_mean(planes: Array) -> Array:
    """Return the mean over a square window around each pixel; windows are cut off at the picture's border."""
    xp = array_namespace(planes)
    height, width = planes.shape[-2:]
    sums = xp.asarray(planes, copy=True)
    for shift in range(1, min(RADIUS, height - 1) + 1):
        sums[..., shift:, :] += planes[..., :-shift, :]
        sums[..., :-shift, :] += planes[..., shift:, :]
    means = xp.asarray(sums, copy=True)
    for shift in range(1, min(RADIUS, width - 1) + 1):
        means[..., shift:] += sums[..., :-shift]
        means[..., :-shift] += sums[..., shift:]
    means *= xp.asarray(1 / (_counts(height)[:, None] * _counts(width)), dtype=xp.float32, device=device(planes))
    return means


def _counts(size: int) -> np.ndarray:
    """Return the number of pixels in the window around each pixel of a line."""
    place = np.arange(size)
    return np.minimum(place, RADIUS) + np.minimum(place[::-1], RADIUS) + 1


def neighbours(size: int, small: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `size` pixels, return the two of `small` pixels whose centres enclose its centre (2, size), and the
    weight of the second (size,)."""
    place = np.clip((np.arange(size) + 0.5) * small / size - 0.5, 0, small - 1)
    first = np.floor(place).astype(np.int64)
    return np.stack([first, np.minimum(first + 1, small - 1)]), (place - first).astype(np.float32)
