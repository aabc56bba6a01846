"""Edge-aware propagation of colour hints: the residual (hint minus prediction) spreads over a photograph's regions."""

import math

import numpy as np
from PIL import Image
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import splu

from gancolor.color.arrays import Array
from gancolor.color.lab import L_HALF_RANGE

EDGE = 3.0  # standard deviation of the weight by difference of lightness [units of L]
FLOOR = 1e-5  # least weight of a link between neighbours
# Decay length of a correction in a uniform region [pixels]: for generators without a hint input, and for those with
# one, whose residual is small.
FAR, NEAR = 100.0, 30.0
LARGEST = 50_000  # pixels; larger pictures are solved at a fraction of their size, in about 0.1 s


def spread_hints(lightness: Array, chroma: Array, hints: Array, reach: float = FAR) -> Array:
    """Correct predicted chroma by hints.

    The correction is the hint's colour minus the prediction where there are hints. Elsewhere it minimizes the squared
    differences between neighbouring pixels, weighted by the similarity of their lightness, plus its own square, so that
    it fades with the distance from the hints (after Levin 2004, Colorization using Optimization).

    Args:
        lightness: (B, 1, h, w) in [-1, 1].
        chroma: predicted, (B, 2, h, w) in [-1, 1].
        hints: (B, 3, h, w), chroma in [-1, 1] and mask.
        reach: FAR or NEAR.

    Returns:
        Chroma (B, 2, h, w), with the hints' own where they are.
    """
    if not isinstance(chroma, np.ndarray):
        import torch

        lightness, ab, hints = (tensor.cpu().numpy() for tensor in (lightness, chroma, hints))
        return torch.from_numpy(spread_hints(lightness, ab, hints, reach)).to(chroma.device)
    return np.stack([_spread(*one, reach) for one in zip(lightness, chroma, hints, strict=True)])


def _spread(lightness: np.ndarray, chroma: np.ndarray, hints: np.ndarray, reach: float) -> np.ndarray:
    mask = hints[2:] > 0
    if not mask.any():
        return chroma
    residual = np.where(mask, hints[:2] - chroma, 0.0)
    stride = math.ceil((mask.size / LARGEST) ** 0.5)
    if stride == 1:
        correction = _solve(lightness[0], residual, mask[0], reach)
    else:
        small = [_averaged(planes.astype(np.float64), stride) for planes in (lightness, residual, mask)]
        share = small[2]
        known = small[1] / np.maximum(share, 1e-9)
        solved = _solve(small[0][0], known, share[0] > 0, reach / stride)
        size = mask.shape[:0:-1]
        planes = [Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BILINEAR) for plane in solved]
        correction = np.where(mask, residual, np.stack([np.asarray(plane) for plane in planes]))
    return (chroma + correction).clip(-1, 1).astype(np.float32)


def _averaged(planes: np.ndarray, stride: int) -> np.ndarray:
    """Average planes (C, H, W) in cells of `stride` x `stride` pixels; those at the end may be smaller."""
    for axis in (1, 2):
        starts = np.arange(0, planes.shape[axis], stride)
        counts = np.diff(np.append(starts, planes.shape[axis])).reshape([-1 if a == axis else 1 for a in range(3)])
        planes = np.add.reduceat(planes, starts, axis=axis) / counts
    return planes


def _solve(lightness: np.ndarray, known: np.ndarray, given: np.ndarray, reach: float) -> np.ndarray:
    """Return the correction (2, h, w), for lightness (h, w) in [-1, 1], from the known one (2, h, w) at the pixels
    `given` (h, w)."""
    correction, given = known.reshape(2, -1).astype(np.float64), given.ravel()
    free = ~given
    if free.any():
        equations = _smoothness(L_HALF_RANGE * lightness.astype(np.float64), reach)[free]
        sides = equations[:, given] @ correction[:, given].T
        correction[:, free] = -splu(equations[:, free].tocsc(), permc_spec="MMD_AT_PLUS_A").solve(sides).T
    return correction.reshape(known.shape)


def _smoothness(lightness: np.ndarray, reach: float) -> "coo_array":
    """Return the matrix (h w, h w) of the squared differences' derivatives, for L (h, w)."""
    numbers = np.arange(lightness.size).reshape(lightness.shape)
    links = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])]
    first, second = (np.concatenate([link[side].ravel() for link in links]) for side in range(2))
    step = lightness.ravel()[first] - lightness.ravel()[second]
    weight = np.maximum(np.exp(-0.5 * (step / EDGE) ** 2), FLOOR)
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    graph = coo_array((np.concatenate([weight, weight]), ends), shape=(lightness.size, lightness.size)).tocsr()
    return (diags_array(graph.sum(axis=1) + reach**-2) - graph).tocsr()
