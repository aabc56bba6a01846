from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_pictures import colourfulness, scene
from PIL import Image

from gancolor.demo.systems import PAGE_SIDE, DemoOptions, Systems, download_name, system_names
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.image_files import Picture, read_picture
from gancolor.utils.errors import InputError


class Orange:
    """Backend that predicts one colour, and counts its calls."""

    def __init__(self) -> None:
        self.about, self.takes_hints, self.has_distribution = {"data": {"size": 32}}, False, False
        self.asked = 0

    def __call__(self, lightness: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.concatenate([0.2 + 0 * lightness, 0.4 + 0 * lightness], axis=1)


@pytest.fixture
def network() -> Orange:
    return Orange()


@pytest.fixture
def systems(network: Orange) -> Systems:
    return Systems({"orange": Colorizer(network, 32)})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Picture(scene()).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_grey_colour_and_original_have_one_size(systems: Systems, file: Path) -> None:
    grey, original = systems.before(file)
    after = systems.after(file, "orange", DemoOptions())
    assert grey.size == original.size == after.size == (60, 90)
    assert colourfulness(grey.pixels) < 0.1
    assert colourfulness(after.pixels) > 20
    assert np.array_equal(original.pixels, scene())


def test_large_photograph_is_shown_small_and_downloaded_at_full_size(systems: Systems, tmp_path: Path) -> None:
    file = tmp_path / "deep.tif"
    alpha = np.full((400, 2 * PAGE_SIDE, 1), 65535, np.uint16)
    Picture(scene(400, 2 * PAGE_SIDE, "uint16"), alpha, profiled=True).save(file)
    for shown in (systems.before(file)[0], systems.after(file, "orange", DemoOptions())):
        assert shown.size == (200, PAGE_SIDE) and shown.pixels.dtype == shown.alpha.dtype == np.uint8
    finished = systems.finished(file, "orange", DemoOptions())
    assert finished.size == (400, 2 * PAGE_SIDE) and finished.pixels.dtype == np.uint16 and finished.profiled


def test_download_equals_the_colorizers_result(systems: Systems, network: Orange, file: Path) -> None:
    finished = systems.finished(file, "orange", DemoOptions(64, 0.7, "bilinear", True))
    expected = Colorizer(network, 64, strength=0.7, upsampling="bilinear", flips=True)(file)
    assert np.array_equal(finished.pixels, expected.pixels)


def test_changing_strength_or_upsampling_reuses_the_prediction(
    systems: Systems, network: Orange, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = systems.after(file, "orange", DemoOptions())
    monkeypatch.delattr("gancolor.demo.systems.read_picture")  # and the file is not read again
    half = systems.after(file, "orange", DemoOptions(strength=0.5))
    none = systems.after(file, "orange", DemoOptions(strength=0))
    systems.after(file, "orange", DemoOptions(upsampling="bilinear"))
    systems.finished(file, "orange", DemoOptions(strength=0.3))
    assert network.asked == 1
    assert colourfulness(full.pixels) > colourfulness(half.pixels) > 5 > 0.1 > colourfulness(none.pixels)
    assert np.array_equal(none.pixels, systems.before(file)[0].pixels)
    systems.after(file, "orange", DemoOptions(size=64))
    systems.after(file, "orange", DemoOptions(flips=True))
    assert network.asked == 4


@pytest.mark.parametrize("kind", ["grey", "grey in three channels"])
def test_grey_photograph_shows_no_original(systems: Systems, tmp_path: Path, kind: str) -> None:
    pixels = scene()[..., :1]
    Picture(pixels if kind == "grey" else pixels.repeat(3, -1)).save(tmp_path / "grey.png")
    grey, original = systems.before(tmp_path / "grey.png")
    assert original is None
    assert np.abs(grey.pixels[..., :1].astype(int) - pixels).max() <= 1


def test_error_for_a_non_photograph_does_not_show_its_path(systems: Systems, file: Path) -> None:
    folder = file.parent
    whole = file.read_bytes()
    for name, content in (("cut.png", whole[: len(whole) // 2]), ("notes.jpg", b"notes"), ("empty.png", b"")):
        (folder / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            systems.before(folder / name)
        assert str(caught.value).startswith(f"{name}: ") and str(folder) not in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^gone\.png is no longer kept here; upload it again$"):
        systems.before(folder / "gone.png")


def test_photographs_with_too_many_pixels_are_not_decoded(file: Path) -> None:
    small = Systems({}, megapixels=0)
    for path in (file, file.with_name("x.bmp")):
        Image.new("RGB", (90, 60)).save(path)
        with pytest.raises(InputError, match=rf"^{path.name}: 90 x 60 pixels are more than 0 megapixels$"):
            small.before(path)


def test_refused_photograph_can_be_replaced(systems: Systems, file: Path) -> None:
    bad = file.with_name("bad.png")
    bad.write_bytes(b"")
    with pytest.raises(InputError):
        systems.after(bad, "orange", DemoOptions())
    bad.write_bytes(file.read_bytes())
    assert systems.after(bad, "orange", DemoOptions()).size == (60, 90)


def test_options_out_of_range_are_refused(systems: Systems, file: Path) -> None:
    for options in (DemoOptions(strength=2.5), replace(DemoOptions(), upsampling="cubic")):  # type: ignore[arg-type]
        with pytest.raises(InputError):
            systems.after(file, "orange", options)
    for size in (-3, 100, 4096):
        with pytest.raises(InputError, match=f"^{size} is not one of this page"):
            DemoOptions(size=size)


def test_system_names_are_unique(tmp_path: Path) -> None:
    for name in ("one", "two", "deep/one"):
        (tmp_path / name).mkdir(parents=True)
    paths = ["one", "one/generator.safetensors", "two/best.safetensors", "sepia.onnx", "deep/one", "generator.onnx"]
    names = system_names([tmp_path / path for path in paths])
    assert names == ["one", "one (2)", "two", "sepia", "one (3)", tmp_path.name]


@pytest.mark.parametrize(
    ("file", "name", "kind", "expected"),
    [
        ("scene.PNG", "run", "", "scene_run.png"),
        ("scene.tif", "run", ".jpg", "scene_run.jpg"),
        ("scene.gif", "run", "", "scene_run.png"),
        ("scene", "one (2)", "", "scene_one_2.png"),
        ("été à Nîmes.webp", "run", "", "été_à_Nîmes_run.webp"),
        ("..\\..\\x;rm -rf <b>.jpg", "../run", "", "x_rm_-rf_b_run.jpg"),
        ("...", "...", ".png", "photograph_colour.png"),
        ("x" * 300 + ".avif", "y" * 300, "", "x" * 80 + "_" + "y" * 40 + ".avif"),
    ],
)
def test_downloads_have_safe_names(file: str, name: str, kind: str, expected: str) -> None:
    assert download_name(Path(file), name, kind) == expected


def test_only_the_last_photograph_stays_in_memory(
    systems: Systems, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr("gancolor.demo.systems.read_picture", lambda path, _: read.append(path) or read_picture(path))
    other = file.with_name("other.png")
    other.write_bytes(file.read_bytes())
    for path in (file, file, other, file):
        systems.finished(path, "orange", DemoOptions())
    assert read == [file, other, file]
