"""Several plausible colourings of one photograph, and a map of a generator's uncertainty.

Both need a generator that predicts a distribution over colour bins at each pixel (siggraph17, eccv16). The variants
differ by hints at the most uncertain places, whose colours are the modes of the distribution there.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.inference.hints import Hint, color_of
from gancolor.inference.image_files import Picture
from gancolor.utils.errors import InputError

if TYPE_CHECKING:
    from gancolor.inference.colorizer import Colorizer

PLACES = 4  # maximum number of uncertain places
WINDOW = 0.1  # side of the window over which entropy is averaged, as a share of the picture's shorter side
APART = 0.3  # minimum distance between two places, as a share of the picture's shorter side
DIFFERENT = 25.0  # minimum distance between two modes [units of ab]
LEAST = 0.05  # minimum probability of a mode, as a share of the likeliest bin's


def variants(colorizer: "Colorizer", picture: Picture, number: int) -> list[Picture]:
    """Return up to `number` colourings: the automatic one, then those with the second modes at the most uncertain
    places, then the third ones, and so on. There are fewer if the generator predicts no other plausible colours.

    Raises:
        InputError: the generator has no distribution.
    """
    return [colorizer(picture, hints) for hints in alternatives(colorizer, picture)[:number]]


def alternatives(colorizer: "Colorizer", picture: Picture) -> list[list[Hint]]:
    """Return the hints of all variants; those of the first, the automatic one, are none."""
    seen = colorizer.see(picture)
    probabilities, centres = distribution(colorizer, seen)
    rows, columns = probabilities.shape[-2:]
    found: list[tuple[int, list[Hint]]] = []
    for row, column in _places(entropy(probabilities)):
        area = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
        modes = _modes(probabilities[:, *area].mean(axis=(1, 2)), centres)
        y, x = (row + 0.5) / rows * picture.size[0], (column + 0.5) / columns * picture.size[1]
        small = seen[0, int((row + 0.5) / rows * seen.shape[1]), int((column + 0.5) / columns * seen.shape[2])]
        level = L_HALF_RANGE * float(small + 1)
        # The first mode is what the automatic colouring has, more or less.
        found += [(rank, [Hint(x, y, color_of(level, *mode))]) for rank, mode in enumerate(modes[1:])]
    found.sort(key=lambda entry: entry[0])  # the second modes of all places, then the third ones, ...
    return [[], *(hints for _, hints in found)]


def uncertainty(colorizer: "Colorizer", picture: Picture) -> Picture:
    """Return a grey picture of the photograph's size: black where one colour is certain, white where all bins are
    equally likely.

    It is the distribution's entropy, divided by its largest possible value.

    Raises:
        InputError: the generator has no distribution.
    """
    probabilities, _ = distribution(colorizer, colorizer.see(picture))
    small = Image.fromarray((255 * entropy(probabilities) + 0.5).astype(np.uint8))
    large = small.resize(picture.size[::-1], Image.Resampling.BILINEAR)
    return replace(picture, pixels=np.asarray(large)[..., None], alpha=None)


def check_distribution(colorizer: "Colorizer") -> None:
    """Raise InputError if the colorizer's generator has no distribution."""
    if not colorizer.backend.has_distribution:
        raise InputError(
            "this generator has no distribution of colours; a siggraph17 or eccv16 checkpoint (.safetensors) has one"
        )


def distribution(colorizer: "Colorizer", seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's probabilities (Q, h, w) of the colour bins, and the bins' centres (Q, 2) in units of ab.

    Args:
        seen: the output of `Colorizer.see`.

    Raises:
        InputError: the generator has no distribution.
    """
    check_distribution(colorizer)
    probabilities, centres = colorizer.backend.distribution(seen[None])
    return probabilities[0], AB_RANGE * centres


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy (h, w) of distributions (Q, h, w), as a share of log Q."""
    terms = probabilities * np.log(np.maximum(probabilities, 1e-12))
    return np.clip(-terms.sum(axis=0) / np.log(len(probabilities)), 0, 1)


def _places(unsure: np.ndarray) -> list[tuple[int, int]]:
    """Return the places (row, column) of the highest entropy, averaged over a window, apart from each other."""
    height, width = unsure.shape
    side = max(1, round(WINDOW * min(height, width)) // 2 * 2 + 1)
    padded = np.pad(unsure, side // 2, mode="edge")
    mean = np.lib.stride_tricks.sliding_window_view(padded, (side, side)).mean(axis=(-2, -1))
    rows, columns = np.ogrid[:height, :width]
    places: list[tuple[int, int]] = []
    while len(places) < PLACES and np.isfinite(mean).any():
        row, column = (int(n) for n in np.unravel_index(np.nanargmax(mean), mean.shape))
        places.append((row, column))
        near = (rows - row) ** 2 + (columns - column) ** 2 < (APART * min(height, width)) ** 2
        mean = np.where(near, np.nan, mean)
    return places


def _modes(shares: np.ndarray, centres: np.ndarray) -> list[np.ndarray]:
    """Return the centres (2,) of the most probable bins that are DIFFERENT apart, the likeliest first.

    Args:
        shares: the bins' probabilities (Q,).
        centres: of the bins (Q, 2).
    """
    modes: list[np.ndarray] = []
    for number in np.argsort(-shares):
        if shares[number] < LEAST * shares.max():
            break
        if all(np.linalg.norm(centres[number] - mode) >= DIFFERENT for mode in modes):
            modes.append(centres[number])
    return modes
