"""Colours to choose from for a place of a photograph."""

import numpy as np

from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.inference.hints import color_of

BIN = 10.0  # side of the bins in which colours are counted [units of ab]
NEAR = 0.15  # standard deviation of the weight by distance, as a share of the picture's shorter side
ALIKE = 10.0  # standard deviation of the weight by difference of lightness [units of L]
ELSEWHERE = 0.02  # weight of all other pixels
MOST = 5  # maximum number of suggestions from the picture
HUES = ((55.0, 35.0), (30.0, 60.0), (0.0, 60.0), (-35.0, 40.0), (-15.0, -15.0), (10.0, -45.0), (45.0, -30.0))


def suggest_colors(lightness: np.ndarray, chroma: np.ndarray, row: int, column: int) -> list[str]:
    """Return "#rrggbb" colours: the most frequent predicted ones, weighted by nearness and similar lightness; then one
    of each hue.

    Args:
        lightness: (h, w) in [-1, 1].
        chroma: predicted, (2, h, w) in [-1, 1].
    """
    level, ab = L_HALF_RANGE * (lightness + 1), AB_RANGE * chroma
    height, width = level.shape
    row, column = min(row, height - 1), min(column, width - 1)
    rows, columns = np.ogrid[:height, :width]
    distance = ((rows - row) ** 2 + (columns - column) ** 2) / (NEAR * min(height, width)) ** 2
    weight = np.exp(-0.5 * (distance + ((level - level[row, column]) / ALIKE) ** 2)) + ELSEWHERE
    member = np.unique(np.round(ab / BIN).reshape(2, -1).T, axis=0, return_inverse=True)[1].ravel()
    shares = np.bincount(member, weight.ravel())
    means = np.stack([np.bincount(member, (weight * plane).ravel()) / shares for plane in ab], axis=1)
    frequent = means[np.argsort(-shares)[:MOST]]
    return [color_of(float(level[row, column]), a, b) for a, b in (*frequent, *HUES)]
