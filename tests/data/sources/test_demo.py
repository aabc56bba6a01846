"""The demo's scenes: reproducible, the same at any size, and colourful enough to learn from."""

import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from gancolor.data.sources.demo import CLASSES, draw_scene, scene_label

SIZE = 64
COUNT = 100


@pytest.fixture(scope="module")
def scenes() -> np.ndarray:
    return np.stack([draw_scene(0, index, SIZE) for index in range(COUNT)])


def of_class(scenes: np.ndarray, name: str) -> np.ndarray:
    """The scenes of a class, (n, size, size, 3) in 0..1."""
    return scenes[CLASSES.index(name) :: len(CLASSES)] / 255.0


def colourfulness(picture: np.ndarray) -> float:
    """Hasler and Suesstrunk's measure of an sRGB picture in 0..255."""
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def differ(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a.astype(np.float64) - b).mean())


@pytest.mark.parametrize("size", [16, 50, 64, 256])
def test_a_scene_is_an_rgb_picture_of_the_size_asked_for(size: int) -> None:
    for index in range(len(CLASSES)):
        scene = draw_scene(0, index, size)
        assert scene.shape == (size, size, 3) and scene.dtype == np.uint8
        assert scene.flags.c_contiguous and scene.flags.writeable


def test_a_scene_is_the_same_every_time_in_any_order(scenes: np.ndarray) -> None:
    for index in (9, 3, 41, 0, 17):
        np.testing.assert_array_equal(draw_scene(0, index, SIZE), scenes[index])


@pytest.mark.parametrize("large", [128, 256])
def test_a_scene_has_the_same_composition_at_any_size(scenes: np.ndarray, large: int) -> None:
    differences = []
    for index in range(20):
        reduced = np.asarray(Image.fromarray(draw_scene(0, index, large)).reduce(large // SIZE))
        differences.append(differ(reduced, scenes[index]))
        # Fine texture and the grain differ; another composition would differ by 30 levels and more
        assert differences[-1] < 10, f"scene {index}"
    assert np.mean(differences) < 6


def test_exposure_does_not_depend_on_the_size() -> None:
    for index in range(20):
        means = [draw_scene(0, index, size).mean() for size in (64, 128)]
        assert means[0] == pytest.approx(means[1], abs=1.5)


def test_labels_are_balanced_indices_into_the_classes() -> None:
    assert CLASSES == ("forest", "house", "sea", "sky", "sunset")
    counts = np.bincount([scene_label(index) for index in range(100)])
    assert counts.tolist() == [100 // len(CLASSES)] * len(CLASSES)


def test_scenes_of_one_class_differ_from_each_other(scenes: np.ndarray) -> None:
    for label in range(len(CLASSES)):
        same = scenes[label :: len(CLASSES)]
        assert min(differ(same[i], same[j]) for i in range(len(same)) for j in range(i)) > 8


def test_seeds_give_different_scenes(scenes: np.ndarray) -> None:
    for index in range(10):
        assert differ(draw_scene(1, index, SIZE), scenes[index]) > 8


def test_scenes_are_as_colourful_as_photographs(scenes: np.ndarray) -> None:
    assert 35 < np.mean([colourfulness(scene) for scene in scenes]) < 55


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_colourful(scenes: np.ndarray, name: str) -> None:
    assert np.mean([colourfulness(scene * 255) for scene in of_class(scenes, name)]) > 25


def test_each_class_has_its_hue(scenes: np.ndarray) -> None:
    red, green, blue = of_class(scenes, "forest").mean((0, 1, 2))
    assert green > red > blue
    houses = of_class(scenes, "house")
    top, bottom = houses[:, :8].mean((0, 1, 2)), houses[:, 56:].mean((0, 1, 2))
    assert top[2] > top[0] + 0.1, "the sky of houses is blue"
    assert bottom[1] > bottom[0] > bottom[2], "their lawn is green"
    red, green, blue = of_class(scenes, "sea")[:, 36:44].mean((0, 1, 2))
    assert blue > red + 0.1 and green > red + 0.1, "the sea is blue-green"
    red, green, blue = of_class(scenes, "sky")[:, :32].mean((0, 1, 2))
    assert blue > green > red
    sunsets = of_class(scenes, "sunset")
    top, glow = sunsets[:, :6].mean((0, 1, 2)), sunsets[:, 28:36].mean((0, 1, 2))
    assert top[2] > top[0] > top[1], "the sky above a sunset is violet"
    assert glow[0] > glow[1] + 0.1 and glow[1] > glow[2], "and orange at the horizon"


def test_grey_pictures_are_a_baseline_worth_beating(scenes: np.ndarray) -> None:
    psnr = []
    for scene in scenes[:50]:
        lab = rgb2lab(scene)
        lab[..., 1:] = 0
        psnr.append(-10 * np.log10(np.mean((lab2rgb(lab) - scene / 255) ** 2)))
    assert 19 < np.mean(psnr) < 22
