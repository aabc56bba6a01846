"""Colours that the page suggests for a place."""

import numpy as np
from skimage.color import rgb2lab

from gancolor.demo.suggestions import HUES, MOST, suggest_colors


def lab_of(color: str) -> np.ndarray:
    return rgb2lab(np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """Blue above, green below, with a small red square in the green; all of one lightness, L = 50."""
    chroma = np.zeros((2, 60, 80), np.float32)
    chroma[:, :30] = np.array([0.0, -0.3]).reshape(2, 1, 1)
    chroma[:, 30:] = np.array([-0.3, 0.3]).reshape(2, 1, 1)
    chroma[:, 40:44, 10:14] = np.array([0.4, 0.3]).reshape(2, 1, 1)
    return np.zeros((60, 80), np.float32), chroma


def test_the_most_frequent_colour_near_the_place_is_first():
    above, below = (lab_of(suggest_colors(*picture(), row, 40)[0]) for row in (5, 55))
    assert np.abs(above - [50, 0, -33]).max() < 3
    assert np.abs(below - [50, -33, 33]).max() < 3


def test_all_colours_of_the_picture_and_one_of_each_hue_are_suggested():
    found = suggest_colors(*picture(), 55, 12)
    assert len(found) == 3 + len(HUES) and len(suggest_colors(*picture(), 5, 40)) <= MOST + len(HUES)
    reds = [color for color in found[:3] if np.abs(lab_of(color)[1:] - [44, 33]).max() < 3]
    assert len(reds) == 1
    for color, (a, b) in zip(found[3:], HUES, strict=True):
        angle = np.arctan2(*lab_of(color)[:0:-1]) - np.arctan2(b, a)
        assert abs(np.sin(angle)) < 0.2 and np.cos(angle) > 0  # the hue is kept where the chroma is reduced


def test_suggestions_have_the_places_lightness_within_limits():
    lightness, chroma = picture()
    for level, expected in ((-1.0, 35), (0.3, 65), (1.0, 80)):
        colors = suggest_colors(lightness + level, chroma, 55, 12)
        assert all(abs(lab_of(color)[0] - expected) < 1.5 for color in colors)


def test_places_at_the_border_count_as_the_last_pixel():
    assert suggest_colors(*picture(), 60, 80) == suggest_colors(*picture(), 59, 79)
