import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from gancolor.inference.upsampling import RADIUS, SMOOTHNESS, Enlarged, _slopes, check_upsampling
from gancolor.utils.errors import InputError


def small(seed: int = 0, shape: tuple[int, int] = (12, 17)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return (
        generator.normal(0, 30, (2, *shape)).astype(np.float32),
        generator.uniform(0, 100, (1, *shape)).astype(np.float32),
    )


def whole(enlarged: Enlarged, lightness: np.ndarray, rows: int = 7) -> np.ndarray:
    height = lightness.shape[-2]
    return np.concatenate(
        [ab(enlarged, y, min(y + rows, height), lightness[..., y : y + rows, :]) for y in range(0, height, rows)],
        axis=-2,
    )


def ab(enlarged: Enlarged, start: int, stop: int, lightness: np.ndarray) -> np.ndarray:
    """Lab's a and b (..., 2, rows, W) of a strip."""
    x, y, z = np.moveaxis(np.asarray(enlarged.strip(start, stop, (lightness + 16) / 116)), -3, 0)
    return np.stack([500 * (x - y), 200 * (y - z)], axis=-3)


@pytest.mark.parametrize("size", [(12, 17), (40, 51), (131, 77), (12, 30)])
def test_bilinear_strips_match_torch(size: tuple[int, int]) -> None:
    chroma, lightness = small()
    expected = interpolate(torch.from_numpy(chroma)[None], size, mode="bilinear", align_corners=False)[0].numpy()
    for rows in (1, 7, size[0]):
        enlarged = whole(Enlarged(chroma, lightness, *size, "bilinear"), np.zeros(size, np.float32), rows)
        assert np.abs(enlarged - expected).max() < 2e-3


@pytest.mark.parametrize("size", [(5, 17), (12, 4), (5, 40), (1, 1)])
def test_where_the_photograph_is_smaller_chroma_is_averaged(size: tuple[int, int]) -> None:
    chroma, lightness = small()
    averaged = adaptive_mean(chroma, min(size[0], 12), min(size[1], 17))
    expected = interpolate(torch.from_numpy(averaged)[None], size, mode="bilinear", align_corners=False)[0].numpy()
    enlarged = whole(Enlarged(chroma, lightness, *size, "bilinear"), np.zeros(size, np.float32))
    assert np.abs(enlarged - expected).max() < 2e-3


def adaptive_mean(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average planes to height x width: repeat each pixel so that every mean is over whole copies."""
    copies = planes.repeat(height, axis=-2).repeat(width, axis=-1)
    rows = copies.reshape(len(planes), height, planes.shape[-2], width, planes.shape[-1])
    return rows.mean(axis=(2, 4))


def test_guided_upsampling_at_equal_size_changes_nothing() -> None:
    chroma, lightness = small()
    enlarged = whole(Enlarged(chroma, lightness, 12, 17, "guided"), lightness[0])
    assert np.abs(enlarged - chroma).max() < 2e-3


@pytest.mark.parametrize("shape", [(12, 17), (2, 3), (1, 1)])
def test_slopes_are_those_of_a_fit_in_each_window(shape: tuple[int, int]) -> None:
    """Also at borders, where windows are cut off: equation 5 of the guided filter, pixel by pixel."""
    chroma, lightness = small(shape=shape)
    slopes = _slopes(chroma, lightness)
    for y, x in np.ndindex(shape):
        window = (slice(max(y - RADIUS, 0), y + RADIUS + 1), slice(max(x - RADIUS, 0), x + RADIUS + 1))
        own = lightness[0][window]
        for plane in range(2):
            covariance = (own * chroma[plane][window]).mean() - own.mean() * chroma[plane][window].mean()
            assert slopes[plane, y, x] == pytest.approx(covariance / (own.var() + SMOOTHNESS), abs=1e-4)


def test_guided_upsampling_follows_the_photographs_edge() -> None:
    """The edge between a red and a blue half lies within a pixel of the small picture."""
    edge = 21  # of 64 columns, which is 5.25 of 16
    lightness = np.where(np.arange(64) < edge, 30.0, 80.0) * np.ones((64, 1))
    truth = np.where(lightness < 50, 40.0, -40.0)
    shrunk = lambda plane: plane.reshape(16, 4, 16, 4).mean((1, 3))[None].astype(np.float32)  # noqa: E731
    errors = {}
    for name in ("guided", "bilinear"):
        chroma = np.concatenate([shrunk(truth), shrunk(truth)])
        enlarged = whole(Enlarged(chroma, shrunk(lightness), 64, 64, name), lightness.astype(np.float32))
        errors[name] = np.abs(enlarged[0] - truth).mean()
    assert errors["guided"] < 0.35 * errors["bilinear"]


@pytest.mark.parametrize("name", ["guided", "bilinear"])
def test_batches_and_tensors_give_the_same(name: str) -> None:
    chroma, lightness = small()
    full = np.random.default_rng(2).uniform(0, 100, (30, 40)).astype(np.float32)
    one = whole(Enlarged(chroma, lightness, 30, 40, name), full)
    batch = [torch.from_numpy(np.stack([array, array])) for array in (chroma, lightness, full)]
    strip = ab(Enlarged(*batch[:2], 30, 40, name), 3, 20, batch[2][:, 3:20])
    assert np.abs(strip[1] - one[:, 3:20]).max() < 2e-3


def test_unknown_upsampling_is_refused() -> None:
    with pytest.raises(InputError, match="choose from guided, bilinear; did you mean bilinear"):
        check_upsampling("bilinaer")
