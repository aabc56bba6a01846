"""Several colourings of one photograph, and the generator's uncertainty."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_generators import made_generator
from made_pictures import scene

from gancolor import Colorizer
from gancolor.inference.image_files import Picture
from gancolor.inference.variants import alternatives, entropy, uncertainty, variants
from gancolor.utils.errors import InputError

CENTRES = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, -0.5], [0.02, 0.0]])


class Undecided:
    """Backend that is sure of grey at the left, and undecided between grey, red and blue at the right."""

    takes_hints, has_distribution, about = False, True, {}

    def __init__(self) -> None:
        self.hints = None

    def __call__(self, lightness):
        return np.concatenate([0 * lightness, 0 * lightness], axis=1)

    def distribution(self, lightness):
        batch, _, height, width = lightness.shape
        shares = np.zeros((batch, 4, height // 4, width // 4), np.float32)
        shares[:, 0] = 1
        shares[..., width // 8 :] = np.array([0.4, 0.3, 0.2, 0.1]).reshape(4, 1, 1)
        return shares, CENTRES


@pytest.fixture
def colorizer() -> Colorizer:
    return Colorizer(Undecided(), 48)


@pytest.fixture
def picture() -> Picture:
    return Picture(np.full((60, 90, 3), 120, np.uint8))


def test_variants_are_the_automatic_one_and_other_modes_where_the_generator_is_unsure(colorizer, picture) -> None:
    hints = alternatives(colorizer, picture)
    assert hints[0] == []
    firsts = [each for (each,) in hints[1:]]
    assert all(hint.x > 40 for hint in firsts)  # at the right
    chroma = [hint.chroma() * 110 for hint in firsts]
    half = len(firsts) // 2  # the second modes of all places, then the third ones
    assert all(a > 45 and abs(b) < 8 for a, b in chroma[:half])
    assert all(abs(a) < 8 and b < -35 for a, b in chroma[half:])
    made = variants(colorizer, picture, 3)
    assert len(made) == 3 and np.array_equal(made[0].pixels, colorizer(picture).pixels)
    x, y = int(firsts[0].x), int(firsts[0].y)
    assert made[1].pixels[y, x, 0] > made[1].pixels[y, x, 1:].max() + 40


def test_there_are_fewer_variants_if_the_generator_is_sure(picture) -> None:
    class Sure(Undecided):
        def distribution(self, lightness):
            shares, centres = super().distribution(lightness)
            return np.repeat(shares[..., :1], shares.shape[-1], axis=-1), centres

    assert len(variants(Colorizer(Sure(), 48), picture, 5)) == 1


def test_doubt_is_the_entropy_at_the_photographs_size(colorizer, picture) -> None:
    found = uncertainty(colorizer, replace(picture, alpha=np.zeros((60, 90, 1), np.uint8)))
    assert found.pixels.shape == (60, 90, 1) and found.alpha is None
    expected = -sum(p * np.log(p) for p in (0.4, 0.3, 0.2, 0.1)) / np.log(4) * 255
    assert found.pixels[:, :35].max() == 0 and np.abs(found.pixels[:, 60:].astype(int) - expected).max() <= 1


def test_entropy_runs_from_sure_to_all_alike() -> None:
    shares = np.array([[1.0, 0.0], [0.5, 0.5]]).T.reshape(2, 1, 2)
    assert np.allclose(entropy(shares), [[0, 1]])


@pytest.mark.parametrize("arch", ["siggraph17", "eccv16"])
def test_architectures_that_classify_have_a_distribution(tmp_path: Path, arch: str) -> None:
    colorizer = Colorizer.load(made_generator(tmp_path / "g.safetensors", arch=arch), size=48)
    photo = Picture(scene())
    made = variants(colorizer, photo, 4)
    assert 1 <= len(made) <= 4 and all(one.size == photo.size for one in made)
    assert uncertainty(colorizer, photo).pixels.mean() > 0


def test_others_have_none(tmp_path: Path) -> None:
    colorizer = Colorizer.load(made_generator(tmp_path / "g.safetensors"), size=48)
    for ask in (lambda: variants(colorizer, Picture(scene()), 2), lambda: uncertainty(colorizer, Picture(scene()))):
        with pytest.raises(InputError, match="no distribution of colours; a siggraph17 or eccv16 checkpoint"):
            ask()
