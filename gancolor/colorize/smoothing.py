"""Colour held steady from frame to frame of a video, and how much it flickers."""

from dataclasses import dataclass
from math import hypot

import numpy as np

from gancolor.colorizer import Prediction
from gancolor.errors import InputError
from gancolor.lab import AB_RANGE, L_HALF_RANGE

STEADINESS = 0.8
REACH = 2  # pixels of the small picture that something is looked for around where it was
PLACES = [(down, right) for down in range(2 * REACH + 1) for right in range(2 * REACH + 1)]
WINDOW = 2  # pixels around one that are compared
TOLERANCE = 6.0  # of L: what differs by so much is as likely something else
MOVE = 0.4  # of L: by so much alike a pixel must be for each pixel that it is further away
FOUND = 0.4  # share of the picture that is found again; under it the scene has changed
SAME = 2.0  # of L: flicker is measured where the picture differs by less


@dataclass
class Flicker:
    """Mean change of colour from one frame to the next [ab units], within scenes and where lightness stays the same (by
    less than 2 of 100, over 3 x 3 pixels of the picture that the network sees).

    Attributes:
        predicted: of what the network says.
        steadied: of what is written.
        scenes: found in the video.
    """

    predicted: float = 0.0
    steadied: float = 0.0
    pixels: int = 0
    scenes: int = 0

    def add(self, predicted: float, steadied: float, pixels: int) -> None:
        """Takes in the sums over more pixels."""
        self.pixels += pixels
        if pixels:
            self.predicted += (predicted - pixels * self.predicted) / self.pixels
            self.steadied += (steadied - pixels * self.steadied) / self.pixels

    def __str__(self) -> str:
        scenes = f"{self.scenes} scene" + "s" * (self.scenes != 1)
        return f"flicker {self.steadied:.2f} (without steadying {self.predicted:.2f}) ab units a frame; {scenes}"


class Steady:
    """A recursive mean of the predicted chroma along time, which follows what moves: each pixel looks for itself around
    where it was, by lightness alone, and takes as much of the colour that it had as it is sure to be the same. At a cut
    nothing is found again, and the mean starts anew.

    Args:
        steadiness: share of the colour before in what is surely the same; 0: each frame for itself.
    """

    def __init__(self, steadiness: float = STEADINESS) -> None:
        if not 0 <= steadiness <= 1:
            raise InputError(f"a steadiness of {steadiness} is outside 0 to 1")
        self.steadiness = steadiness
        self.flicker = Flicker()
        self._predicted: Prediction | None = None
        self._steadied: Prediction | None = None

    def __call__(self, frame: Prediction) -> Prediction:
        """The next frame's prediction, steadied."""
        before, steadied = self._steadied, frame
        if before is not None and self._predicted is not None and before.lightness.shape == frame.lightness.shape:
            chroma, sure = follow(before, frame.lightness)
            if sure.mean() < FOUND:
                self.flicker.scenes += 1
            else:
                weight = self.steadiness * sure
                steadied = frame._replace(chroma=frame.chroma + weight * (chroma - frame.chroma))
                self._measure(self._predicted, frame, before, steadied)
        else:
            self.flicker.scenes += 1
        self._predicted, self._steadied = frame, steadied
        return steadied

    def _measure(self, one: Prediction, two: Prediction, steadied_one: Prediction, steadied_two: Prediction) -> None:
        change = _window_mean(_padded(two.lightness[0] - one.lightness[0], 1), 1)
        same = np.abs(change) * L_HALF_RANGE < SAME
        sums = [
            float(AB_RANGE * np.hypot(*(after.chroma - before.chroma))[same].sum())
            for before, after in ((one, two), (steadied_one, steadied_two))
        ]
        self.flicker.add(sums[0], sums[1], int(same.sum()))


def follow(before: Prediction, lightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chroma that each pixel had in the frame before, and how sure it is that it was this one.

    It is looked for where lightness, in a window, is most alike.

    Args:
        lightness: of the frame now, (1, h, w) in [-1, 1].

    Returns:
        chroma (2, h, w), and how sure (h, w) in 0..1.
    """
    height, width = lightness.shape[1:]
    now = _padded(lightness[0], WINDOW)
    then, old_chroma = _padded(before.lightness[0], REACH + WINDOW), _padded(before.chroma, REACH)
    chroma = before.chroma.copy()
    least = np.full((height, width), np.inf, np.float32)
    for down, right in PLACES:
        there = then[down : down + now.shape[0], right : right + now.shape[1]]
        difference = _window_mean(np.abs(now - there), WINDOW) * L_HALF_RANGE
        difference += MOVE * hypot(down - REACH, right - REACH)
        liker = difference < least
        np.copyto(least, difference, where=liker)
        np.copyto(chroma, old_chroma[:, down : down + height, right : right + width], where=liker)
    return chroma, np.exp2(-np.square(least / TOLERANCE))


def _window_mean(planes: np.ndarray, radius: int) -> np.ndarray:
    """The mean over the square around each pixel (..., h, w) that has one: (..., h - 2 radius, w - 2 radius)."""
    size = 2 * radius + 1
    rows = planes[..., : planes.shape[-2] - 2 * radius, :].copy()
    for start in range(1, size):
        rows += planes[..., start : start + rows.shape[-2], :]
    mean = rows[..., : planes.shape[-1] - 2 * radius].copy()
    for start in range(1, size):
        mean += rows[..., start : start + mean.shape[-1]]
    return mean / np.float32(size * size)


def _padded(planes: np.ndarray, margin: int) -> np.ndarray:
    """With its border repeated around it."""
    return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + [(margin, margin)] * 2, mode="edge")
