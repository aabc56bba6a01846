"""Colour hints of a user: what they are, where they are drawn, and what `Colorizer` makes of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_generators import made_generator
from made_onnx import made_onnx
from made_pictures import scene
from skimage.color import rgb2lab

from gancolor import Colorizer, Hint
from gancolor.inference.hints import draw_hints, hints_text, parse_hint, read_hints
from gancolor.inference.image_files import Picture
from gancolor.inference.spreading import spread_hints
from gancolor.utils.errors import InputError

RED = "#a03030"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Colorizer:
    """Colorizer by a generator that takes no hints."""
    return Colorizer.load(made_generator(tmp_path_factory.mktemp("generator") / "generator.safetensors"), size=48)


@pytest.fixture(scope="module")
def hinted(tmp_path_factory) -> Colorizer:
    """Colorizer by a generator that takes hints."""
    path = made_generator(tmp_path_factory.mktemp("hinted") / "generator.safetensors", hints=True)
    return Colorizer.load(path, size=48)


# Hints ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", [RED, "rgb(160, 48, 48)", "rgb(160,48,48)"])
def test_a_hints_chroma_is_its_colours_ab(color: str) -> None:
    expected = rgb2lab(np.array([160, 48, 48]) / 255)[1:] / 110
    assert np.abs(Hint(3, 4, color).chroma() - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120,80,#a03030", Hint(120, 80, RED)),
        ("1.5,2,red,7", Hint(1.5, 2, "red", 7)),
        ("1,2,rgb(1, 2, 3)", Hint(1, 2, "rgb(1, 2, 3)")),
        ("1,2,rgb(1,2,3),4.5", Hint(1, 2, "rgb(1,2,3)", 4.5)),
    ],
)
def test_hints_of_the_command_line(text: str, expected: Hint) -> None:
    assert parse_hint(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "3,red", "x,2,red", "1,2", "1,2,reddish", "-1,2,red", "1,2,red,-3", "nan,2,red", "inf,2,red"]
    + ["1,2,rgb(999, 0, 0)", "1,2,rgb(500%, 0%, 0%)", f"1,2,rgb({'9' * 60}, 0, 0)"],
)
def test_wrong_hints_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_hint(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hints", [Hint(1, 2, RED), [(1, 2, RED)], [{"x": 1, "y": 2, "color": RED}], ["1,2,red"]])
def test_what_is_no_list_of_hints_is_refused(plain: Colorizer, hints: Any) -> None:
    with pytest.raises(InputError, match=r"^hints: give a list of gancolor\.Hint"):
        plain(np.zeros((8, 8), np.uint8), hints)


def test_files_of_hints_keep_what_was_written(tmp_path: Path) -> None:
    hints = [Hint(np.int64(1), np.float32(2), RED), Hint(30.5, 4, "blue", 6)]
    path = tmp_path / "photo.jpg.hints.json"
    path.write_text(hints_text(hints, (60, 90)))
    assert json.loads(path.read_text())["hints"][0] == {"x": 1, "y": 2, "color": RED}
    assert read_hints(path, (60, 90)) == hints
    path.write_text(path.read_text(), encoding="utf-8-sig")  # as editors of Windows save it
    assert read_hints(path, (60, 90)) == hints


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "is not a file of hints"),
        ("{", "is not a file of hints"),
        ("[" * 100_000, "is not a file of hints"),
        ('{"width": 90, "height": 60, "hints": [{"x": 1}]}', "is not a file of hints"),
        ('{"width": 90, "height": 60, "hints": [{"x": 1, "y": 2, "color": "no"}]}', "'no' is not a colour"),
        (
            '{"width": 90, "height": 61, "hints": []}',
            "its hints are for 90 x 61 pixels, and the photograph has 90 x 60",
        ),
        (None, "can't be read"),
    ],
)
def test_wrong_files_of_hints_are_refused_in_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_hints(path, (60, 90))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_hints_are_drawn_where_they_are_at_the_working_size() -> None:
    planes = draw_hints([Hint(40, 20, RED, 8), Hint(45, 20, "blue", 4)], (60, 90), (30, 45))
    assert planes.shape == (3, 30, 45) and planes.dtype == np.float32
    assert np.argwhere(planes[2]).min(0).tolist() == [6, 16] and np.argwhere(planes[2]).max(0).tolist() == [13, 23]
    assert np.allclose(planes[:2, 10, 17], Hint(0, 0, RED).chroma())
    assert np.allclose(planes[:2, 10, 22], Hint(0, 0, "blue").chroma())  # the last one counts
    assert not planes[:2, planes[2] == 0].any()


@pytest.mark.parametrize("place", [(0, 0), (89, 59), (89.9, 0.1), (45, 30)])
def test_every_hint_inside_the_photograph_has_at_least_its_own_pixel(place: tuple[float, float]) -> None:
    planes = draw_hints([Hint(*place, RED, 0)], (60, 90), (30, 45))
    assert np.argwhere(planes[2]).tolist() == [[int(place[1] / 2), int(place[0] / 2)]]
    assert draw_hints([Hint(*place, RED)], (60, 90), (30, 45))[2].sum() >= 9


@pytest.mark.parametrize("place", [(8, 6), (8.9, 6.1), (8.5, 6.5)])
def test_a_hint_in_an_enlarged_photograph_is_where_its_pixel_is(place: tuple[float, float]) -> None:
    mask = draw_hints([Hint(*place, RED, 0)], (12, 18), (60, 90))[2]
    assert mask.sum() == 25 and mask[30:35, 40:45].all()


def test_hints_outside_the_photograph_are_refused(plain: Colorizer) -> None:
    for hint in (Hint(90, 3, RED), Hint(3, 60, RED)):
        with pytest.raises(InputError, match=r"a hint at \d+, \d+ lies outside the photograph of 90 x 60 pixels"):
            plain(scene(60, 90), [hint])


# Spreading by a solver --------------------------------------------------------------------------------------------


def two_halves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lightness with an edge in the middle, no chroma, and a hint at the left."""
    lightness = np.full((1, 1, 24, 40), -0.5, np.float32)
    lightness[..., 20:] = 0.5
    hints = np.zeros((1, 3, 24, 40), np.float32)
    hints[:, :, 10:13, 5:8] = np.array([0.6, 0.4, 1.0]).reshape(1, 3, 1, 1)
    return lightness, np.zeros((1, 2, 24, 40), np.float32), hints


def test_a_hint_keeps_its_colour_fills_its_region_and_stops_at_the_edge() -> None:
    lightness, chroma, hints = two_halves()
    found = spread_hints(lightness, chroma, hints)
    assert found.shape == chroma.shape and found.dtype == np.float32
    assert np.allclose(found[0, :, 10:13, 5:8], np.array([0.6, 0.4]).reshape(2, 1, 1))
    assert found[0, 0, :, :20].min() > 0.5  # spread over its own half
    assert np.abs(found[0, 0, :, 21:]).max() < 0.1
    assert np.allclose(found[0, 1] / found[0, 0], 0.4 / 0.6, atol=1e-4)  # one solution for both channels
    row = found[0, 0, 11, 8:19]
    assert (np.diff(row) < 0).all()  # fades with the distance


def test_the_solution_satisfies_the_equations_at_a_free_pixel() -> None:
    """A weighted mean of its four neighbours, pulled to no correction: derived anew, pixel by pixel."""
    from gancolor.inference import spreading

    random = np.random.default_rng(0)
    lightness, hints = random.uniform(-1, 1, (1, 1, 8, 9)).astype(np.float32), np.zeros((1, 3, 8, 9), np.float32)
    hints[0, :, 2, 3] = 0.5, -0.5, 1
    found = spread_hints(lightness, np.zeros((1, 2, 8, 9), np.float32), hints)[0, 0]
    level = 50 * lightness[0, 0].astype(float)
    for y, x in ((5, 5), (0, 0), (2, 4)):
        near = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        near = [(i, j) for i, j in near if 0 <= i < 8 and 0 <= j < 9]
        weights = [
            max(np.exp(-((level[y, x] - level[p]) ** 2) / (2 * spreading.EDGE**2)), spreading.FLOOR) for p in near
        ]
        pulled = sum(w * found[p] for w, p in zip(weights, near, strict=True))
        assert found[y, x] == pytest.approx(pulled / (sum(weights) + spreading.FAR**-2), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("size", [(300, 500), (301, 203)])
def test_large_pictures_are_solved_at_a_fraction_of_their_size(size: tuple[int, int], monkeypatch) -> None:
    from gancolor.inference import spreading

    lightness = np.full((1, 1, *size), -0.5, np.float32)
    lightness[..., size[1] // 2 :] = 0.5
    hints = np.zeros((1, 3, *size), np.float32)
    hints[:, :, 60:67, 40:47] = np.array([0.6, 0.4, 1.0]).reshape(1, 3, 1, 1)
    chroma = np.zeros((1, 2, *size), np.float32)
    found = spread_hints(lightness, chroma, hints)
    assert np.allclose(found[0, :, 60:67, 40:47], np.array([0.6, 0.4]).reshape(2, 1, 1))
    monkeypatch.setattr(spreading, "LARGEST", 10**9)
    exact = spread_hints(lightness, chroma, hints)
    assert np.abs(found - exact).mean() < 0.01
    far = np.abs(np.arange(size[1]) - size[1] // 2) > 4  # from the edge, which is blurred by the fraction
    assert np.abs(found - exact)[..., far].max() < 0.06


def test_without_hints_nothing_changes_and_tensors_work_too() -> None:
    lightness, chroma, hints = two_halves()
    chroma += 0.1
    assert np.array_equal(spread_hints(lightness, chroma, hints * 0), chroma)
    expected = spread_hints(lightness, chroma, hints)
    found = spread_hints(*map(torch.from_numpy, (lightness, chroma, hints)))
    assert torch.equal(found, torch.from_numpy(expected))
    hints[:, 2] = 1  # every pixel is given
    assert np.allclose(spread_hints(lightness, chroma, hints), hints[:, :2], atol=1e-6)


# Colorizer --------------------------------------------------------------------------------------------------------


def ab(picture: np.ndarray, y: int, x: int) -> np.ndarray:
    """Return a place's mean ab."""
    return rgb2lab(picture)[y - 2 : y + 3, x - 2 : x + 3, 1:].mean(axis=(0, 1))


def test_a_generator_without_hints_takes_them_too(plain: Colorizer) -> None:
    automatic, found = plain(scene()), plain(scene(), [Hint(70, 45, RED, 5)])
    wanted = Hint(0, 0, RED).chroma() * 110
    assert np.linalg.norm(ab(found, 45, 70) - wanted) < 12 < np.linalg.norm(ab(automatic, 45, 70) - wanted)
    assert np.abs(rgb2lab(found)[..., 0] - rgb2lab(scene())[..., 0]).max() < 0.5  # the photograph's lightness
    assert np.array_equal(plain(scene(), []), automatic)


def test_a_generator_with_hints_is_given_them(hinted: Colorizer) -> None:
    given = []
    backend = hinted.backend

    class Spy:
        about, takes_hints = backend.about, True

        def __call__(self, lightness, hints=None):
            given.append(hints)
            return backend(lightness, hints)

    spied = replace(hinted, backend=Spy(), flips=True)
    spied(scene(), [Hint(70, 45, RED)])
    assert np.array_equal(given[0][0], draw_hints([Hint(70, 45, RED)], (60, 90), given[0].shape[-2:]))
    assert np.array_equal(given[1], given[0][..., ::-1])  # the mirrored photograph has mirrored hints
    spied(scene())
    assert given[-1] is None


def test_every_input_type_takes_hints(hinted: Colorizer, plain: Colorizer) -> None:
    hints = [Hint(20, 30, RED), Hint(60, 10, "blue", 4)]
    for colorizer in (hinted, plain):
        expected = colorizer(scene(), hints)
        assert not np.array_equal(expected, colorizer(scene()))
        tensor = torch.from_numpy(scene()).permute(2, 0, 1)
        assert np.array_equal(colorizer(scene(), iter(hints)), expected)
        assert np.array_equal(colorizer(tensor, hints).permute(1, 2, 0).numpy(), expected)
        assert np.array_equal(colorizer(Picture(scene()), hints).pixels, expected)
        on_device = colorizer._on_device(tensor[None], hints)[0].permute(1, 2, 0).numpy()
        assert np.abs(on_device.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("several", [[scene(), scene()], np.stack([scene()] * 2), torch.zeros(2, 3, 20, 20)])
def test_hints_for_several_photographs_are_refused(plain: Colorizer, several) -> None:
    with pytest.raises(InputError, match="hints belong to one photograph"):
        plain(several, [Hint(1, 1, RED)])


def test_hints_survive_a_halved_working_size(hinted: Colorizer) -> None:
    backend = hinted.backend

    class Small:
        about, takes_hints = backend.about, True
        seen: list = []  # noqa: RUF012 - a test's record

        def __call__(self, lightness, hints=None):
            if lightness.shape[-1] > 40:
                raise MemoryError
            self.seen.append(hints)
            return backend(lightness, hints)

    with pytest.warns(UserWarning, match="half the working size"):
        replace(hinted, backend=Small())(scene(), [Hint(45, 30, RED, 5)])
    (hints,) = Small.seen
    given = hints[0, 2] == 1
    assert given.any() and set(np.unique(hints[0, 2])) == {0, 1}
    assert np.allclose(hints[0, :2, given], Hint(0, 0, RED).chroma(), atol=1e-6)


def test_onnx_with_hints_is_given_them(tmp_path: Path) -> None:
    backend = Colorizer.load(made_onnx(tmp_path / "g.onnx", (0.1, 0.0), (0.2, 0.4), hints=True)).backend
    assert backend.takes_hints
    lightness, hints = np.zeros((1, 1, 20, 30), np.float32), np.zeros((1, 3, 20, 30), np.float32)
    hints[:, :2, 5:9] = -0.3
    automatic, hinted = backend(lightness), backend(lightness, hints)
    assert np.allclose(automatic[:, 0], 0.2) and np.allclose(hinted - automatic, hints[:, :2])
    assert torch.equal(backend(torch.zeros(1, 1, 20, 30), torch.from_numpy(hints)), torch.from_numpy(hinted))


def test_onnx_without_hints_spreads_them(tmp_path: Path) -> None:
    colorizer = Colorizer.load(made_onnx(tmp_path / "g.onnx", (0.1, 0.0), (0.2, 0.4)))
    assert not colorizer.backend.takes_hints
    assert not np.array_equal(colorizer(scene(), [Hint(20, 30, "blue")]), colorizer(scene()))
