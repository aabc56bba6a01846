import numpy as np
import pytest
from made_files import clip
from made_pictures import scene
from skimage.color import rgb2lab

from gancolor.colorize.smoothing import TemporalSmoother, follow
from gancolor.inference.colorizer import ChromaPrediction


def predicted(pixels: np.ndarray) -> ChromaPrediction:
    """A colour picture as if the network had said so."""
    lab = rgb2lab(pixels).astype(np.float32).transpose(2, 0, 1)
    return ChromaPrediction(lab[:1] / 50 - 1, lab[1:] / 110)


def restless(frames: list[np.ndarray], amount: float = 0.05) -> list[ChromaPrediction]:
    """Predictions whose colour differs from frame to frame as a whole, as networks' do."""
    random = np.random.default_rng(1)
    chroma = predicted(scene(48, 64)).chroma
    return [
        ChromaPrediction(predicted(frame).lightness, chroma + random.normal(0, amount, (2, 1, 1)).astype(np.float32))
        for frame in frames
    ]


@pytest.mark.parametrize("move", [(0, 0), (1, -2), (-2, 2)])
def test_colour_follows_what_moves(move: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    before = ChromaPrediction(*(random.uniform(-1, 1, (n, 30, 40)).astype(np.float32) for n in (1, 2)))
    after = ChromaPrediction(*(np.roll(planes, move, (1, 2)) for planes in before))
    chroma, sure = follow(before, after.lightness)
    inside = (slice(None), slice(6, -6), slice(6, -6))
    assert (chroma[inside] == after.chroma[inside]).all()
    assert (sure[inside[1:]] > 0.95).all()


def test_what_is_something_else_is_not_the_same() -> None:
    random = np.random.default_rng(0)
    before = ChromaPrediction(*(random.uniform(-1, 1, (n, 30, 40)).astype(np.float32) for n in (1, 2)))
    lightness = before.lightness.copy()
    lightness[:, 10:20, 10:20] = 1
    _, sure = follow(before, lightness)
    assert sure[12:18, 12:18].max() < 0.01
    assert sure[:6].min() > 0.99


def test_what_changes_has_its_own_colour_at_once() -> None:
    before = predicted(scene(48, 64))
    lightness, chroma = before.lightness.copy(), before.chroma.copy()
    lightness[:, 10:30, 20:40], chroma[:, 10:30, 20:40] = 1, -0.5
    smoother = TemporalSmoother(1.0)
    smoother(before)
    after = smoother(ChromaPrediction(lightness, chroma))
    assert smoother.flicker.scenes == 1
    assert np.abs(after.chroma - chroma)[:, 12:28, 22:38].max() < 0.01


def test_a_still_picture_is_left_as_it_is() -> None:
    smoother, frame = TemporalSmoother(), predicted(scene(30, 40))
    for _ in range(3):
        assert (smoother(frame).chroma == frame.chroma).all()
    assert (smoother.flicker.predicted, smoother.flicker.smoothed, smoother.flicker.scenes) == (0, 0, 1)


def test_no_steadiness_changes_nothing() -> None:
    smoother = TemporalSmoother(0)
    for frame in restless(clip(4)):
        assert (smoother(frame).chroma == frame.chroma).all()
    assert smoother.flicker.predicted == smoother.flicker.smoothed > 1


def test_flicker_is_the_mean_change_of_colour() -> None:
    lightness = np.zeros((1, 20, 30), np.float32)
    lightness[:, :, 15:] = 0.5
    chroma = np.zeros((2, 20, 30), np.float32)
    smoother = TemporalSmoother(0)
    smoother(ChromaPrediction(lightness, chroma))
    changed = chroma.copy()
    changed[0, :, :15], changed[1, :, :15] = 3 / 110, 4 / 110  # 5 units of ab on the left
    changed[:, :, 15:] = 1  # and much where it also turns lighter by 5 of 100
    lightness = lightness.copy()
    lightness[:, :, 15:] += 0.1
    smoother(ChromaPrediction(lightness, changed))
    assert smoother.flicker.predicted == pytest.approx(5)


def test_smoothing_takes_flicker_away_in_a_pan_with_noise() -> None:
    smoother = TemporalSmoother(0.8)
    frames = restless(clip(30))
    results = [smoother(frame) for frame in frames]
    assert smoother.flicker.smoothed < 0.4 * smoother.flicker.predicted
    assert smoother.flicker.predicted > 3
    # and the colour stays what it is on average
    means = [np.mean([frame.chroma.mean((1, 2)) for frame in some], axis=0) for some in (frames, results)]
    assert np.abs(means[0] - means[1]).max() < 0.02


def test_a_cut_is_not_smeared() -> None:
    smoother = TemporalSmoother(1.0)
    one, other = predicted(scene(48, 64)), predicted(scene(48, 64)[::-1, ::-1] // 2)
    smoother(one)
    assert (smoother(other).chroma == other.chroma).all()
    assert smoother.flicker.scenes == 2
    assert smoother.flicker.predicted == 0  # the change at a cut is no flicker


def test_frames_of_another_size_begin_anew() -> None:
    smoother = TemporalSmoother()
    smoother(predicted(scene(30, 40)))
    frame = predicted(scene(40, 30))
    assert (smoother(frame).chroma == frame.chroma).all()
