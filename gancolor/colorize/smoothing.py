"""Temporal smoothing of a video's predicted colour, and a measure of flicker."""

from dataclasses import dataclass
from math import hypot

import numpy as np

from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.inference.colorizer import ChromaPrediction
from gancolor.utils.errors import InputError
from gancolor.utils.words import counted

SMOOTHING = 0.8  # half of the old colour is gone after three frames; docs/colorizing.md has measurements of others
REACH = 2  # radius of the search in the previous frame, in pixels of the network's input
PLACES = [(down, right) for down in range(2 * REACH + 1) for right in range(2 * REACH + 1)]
WINDOW = 2  # radius of the compared windows, in pixels
TOLERANCE = 6.0  # difference in L at which the certainty of a match is one half
MOVE = 0.4  # difference in L that is added per pixel of displacement, so that equal matches prefer no motion
FOUND = 0.4  # mean certainty of the matches below which the frame counts as a new scene
SAME = 2.0  # change of L below which a pixel counts as unchanged, where flicker is measured


@dataclass
class Flicker:
    """Mean change of colour from one frame to the next [ab units].

    It is measured within scenes, where lightness changes by less than 2 of 100 (mean over 3 x 3 pixels of the network's
    input).

    Attributes:
        predicted: of the network's predictions.
        smoothed: of the smoothed predictions, which are written.
        scenes: number of scenes found in the video.
    """

    predicted: float = 0.0
    smoothed: float = 0.0
    pixels: int = 0
    scenes: int = 0

    def add(self, predicted: float, smoothed: float, pixels: int) -> None:
        """Update the means with the sums over `pixels` more pixels."""
        self.pixels += pixels
        if pixels:
            self.predicted += (predicted - pixels * self.predicted) / self.pixels
            self.smoothed += (smoothed - pixels * self.smoothed) / self.pixels

    def __str__(self) -> str:
        scenes = counted(self.scenes, "scene")
        return f"flicker {self.smoothed:.2f} (without smoothing {self.predicted:.2f}) ab units a frame; {scenes}"


class TemporalSmoother:
    """Exponential moving average of the predicted chroma over time, which follows motion.

    Each pixel is matched to the previous frame by lightness alone, near its own position. The more certain the match,
    the more it takes of the colour there. At a cut, too few pixels match and the mean restarts.

    Args:
        smoothing: weight of the previous colour where the match is certain, 0 to 1. 0: frames are independent.
    """

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        if not 0 <= smoothing <= 1:
            raise InputError(f"a smoothing of {smoothing} is outside 0 to 1")
        self.smoothing = smoothing
        self.flicker = Flicker()
        self._predicted: ChromaPrediction | None = None
        self._smoothed: ChromaPrediction | None = None

    def __call__(self, frame: ChromaPrediction) -> ChromaPrediction:
        """Return the next frame's prediction with smoothed chroma."""
        before, smoothed = self._smoothed, frame
        if before is not None and self._predicted is not None and before.lightness.shape == frame.lightness.shape:
            chroma, sure = follow(before, frame.lightness)
            if sure.mean() < FOUND:
                self.flicker.scenes += 1
            else:
                weight = self.smoothing * sure
                smoothed = frame._replace(chroma=frame.chroma + weight * (chroma - frame.chroma))
                self._measure(self._predicted, frame, before, smoothed)
        else:
            self.flicker.scenes += 1
        self._predicted, self._smoothed = frame, smoothed
        return smoothed

    def _measure(
        self,
        one: ChromaPrediction,
        two: ChromaPrediction,
        smoothed_one: ChromaPrediction,
        smoothed_two: ChromaPrediction,
    ) -> None:
        change = _window_mean(_padded(two.lightness[0] - one.lightness[0], 1), 1)
        same = np.abs(change) * L_HALF_RANGE < SAME
        sums = [
            float(AB_RANGE * np.hypot(*(after.chroma - before.chroma))[same].sum())
            for before, after in ((one, two), (smoothed_one, smoothed_two))
        ]
        self.flicker.add(sums[0], sums[1], int(same.sum()))


def follow(before: ChromaPrediction, lightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match each pixel to the previous frame where lightness, over a window, is most similar.

    Args:
        lightness: of the current frame, (1, h, w) in [-1, 1].

    Returns:
        the chroma of each match (2, h, w), and its certainty (h, w) in 0..1.
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
        closer = difference < least
        np.copyto(least, difference, where=closer)
        np.copyto(chroma, old_chroma[:, down : down + height, right : right + width], where=closer)
    return chroma, np.exp2(-np.square(least / TOLERANCE))


def _window_mean(planes: np.ndarray, radius: int) -> np.ndarray:
    """Average (..., h, w) over the square around each pixel that has a full one: (..., h - 2 radius, w - 2 radius)."""
    size = 2 * radius + 1
    rows = planes[..., : planes.shape[-2] - 2 * radius, :].copy()
    for start in range(1, size):
        rows += planes[..., start : start + rows.shape[-2], :]
    mean = rows[..., : planes.shape[-1] - 2 * radius].copy()
    for start in range(1, size):
        mean += rows[..., start : start + mean.shape[-1]]
    return mean / np.float32(size * size)


def _padded(planes: np.ndarray, margin: int) -> np.ndarray:
    """Pad the last two dimensions by repeating the border."""
    return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + [(margin, margin)] * 2, mode="edge")
