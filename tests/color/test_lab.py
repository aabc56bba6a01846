import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from gancolor.color import lab

LIBRARIES = [np.asarray, torch.as_tensor]


def planes(rgb: np.ndarray) -> np.ndarray:
    """(N, 3) -> (3, 1, N)."""
    return rgb.T[:, None].astype(np.float32)


def f_of(rgb: np.ndarray) -> np.ndarray:
    """f of Y."""
    return lab.f(lab.luminance(lab.decode(planes(rgb)))[0])


def roots(f_of_y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """f of X, Y and Z (3, N), by the definition of Lab."""
    return np.stack([f_of_y + a / 500, f_of_y, f_of_y - b / 200]).astype(np.float32)


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    return np.random.default_rng(0).random((4096, 3)).astype(np.float32)


@pytest.mark.parametrize("library", LIBRARIES)
def test_lightness_is_scikit_images(colours: np.ndarray, library) -> None:
    y = lab.luminance(lab.decode(library(planes(colours))))
    assert np.abs(np.asarray(lab.lightness(lab.f(y)))[0] - rgb2lab(colours)[:, 0]).max() < 1e-3


@pytest.mark.parametrize("library", LIBRARIES)
def test_encode_undoes_decode(library) -> None:
    values = library(np.linspace(0, 1, 1001, dtype=np.float32))
    assert np.abs(np.asarray(lab.encode(lab.decode(values)) - values)).max() < 1e-6


@pytest.mark.parametrize("library", LIBRARIES)
def test_inverse_f_undoes_f_down_to_black(library) -> None:
    values = library(np.concatenate([[0, 1e-4, lab.KNEE], np.geomspace(1e-3, 1, 500)]).astype(np.float32))
    assert np.abs(np.asarray(lab.inverse_f(lab.f(values)) - values)).max() < 1e-6


@pytest.mark.parametrize("library", LIBRARIES)
def test_colours_of_srgb_come_back(colours: np.ndarray, library) -> None:
    rgb = lab.encode(lab.to_linear(library(roots(f_of(colours), *rgb2lab(colours).T[1:]))))
    assert np.abs(np.asarray(rgb).T - colours).max() < 1e-3


@pytest.mark.parametrize("library", LIBRARIES)
def test_beyond_the_gamut_lightness_and_hue_are_kept(library) -> None:
    generator = np.random.default_rng(1)
    grey = np.repeat(generator.uniform(0.02, 0.98, (4096, 1)), 3, axis=1)
    angle = generator.uniform(0, 2 * np.pi, 4096)
    f_of_y = f_of(grey)
    given = roots(f_of_y, 100 * np.cos(angle), 100 * np.sin(angle))
    rgb = np.asarray(lab.encode(lab.to_linear(library(given))))
    result = rgb2lab(rgb.T)
    assert np.abs(result[:, 0] - lab.lightness(f_of_y)).max() < 0.1
    chroma = np.hypot(result[:, 1], result[:, 2])
    coloured = chroma > 2
    assert coloured.mean() > 0.95
    turned = np.angle(np.exp(1j * (np.arctan2(result[:, 2], result[:, 1]) - angle)))
    assert np.abs(turned[coloured] * chroma[coloured]).max() < 0.5  # units of Lab
    # No more than it must be: a little more chroma would leave the gamut.
    more = 1.03 * chroma + 0.5
    clipped = lab2rgb(np.stack([result[:, 0], more * np.cos(angle), more * np.sin(angle)], -1))
    moved = np.abs(rgb2lab(clipped) - np.stack([result[:, 0], more * np.cos(angle), more * np.sin(angle)], -1)).max(-1)
    assert (moved[chroma < 99] > 1e-3).mean() > 0.99


def test_black_and_white_stay_what_they_are() -> None:
    y = np.array([0.0, 1.0], np.float32)
    chroma = np.array([50.0, 50.0], np.float32)
    assert np.allclose(lab.encode(lab.to_linear(roots(lab.f(y), chroma, -chroma))), [[0, 1]] * 3, atol=2e-3)
