"""HEIC by pillow-heif, upright, with its depth, profile, alpha and metadata; AVIF without it."""

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips
from made_pictures import pil, scene
from PIL import ExifTags, Image

from gancolor.inference.image_files import Picture, read_picture
from gancolor.utils.errors import InputError


def heic(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=95, chroma=444, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_heic_is_read(tmp_path: Path, mode: str) -> None:
    (tmp_path / "x [1].heic").write_bytes(heic(pil(mode=mode)))
    for source in (tmp_path / "x [1].heic", (tmp_path / "x [1].heic").read_bytes()):
        picture = read_picture(source)
        expected = np.asarray(pil(mode="L"))[..., None] if mode == "L" else scene()
        assert picture.pixels.shape == expected.shape
        assert np.abs(picture.pixels.astype(int) - expected).mean() < 3
        assert (picture.alpha is not None) == (mode == "RGBA")


def test_heic_is_turned_once_and_keeps_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "Zeiss"
    picture = read_picture(heic(pil(), exif=exif.tobytes()))
    upright = pil().transpose(Image.Transpose.ROTATE_270)
    assert np.abs(picture.pixels.astype(int) - np.asarray(upright)).mean() < 3
    picture.save(tmp_path / "y.jpg")
    written = Image.open(tmp_path / "y.jpg")
    assert written.size == upright.size
    assert (written.getexif()[ExifTags.Base.Make], written.getexif().get(ExifTags.Base.Orientation, 1)) == ("Zeiss", 1)


def test_heic_of_10_bits_becomes_16() -> None:
    stream = io.BytesIO()
    pillow_heif.encode("RGB;16", (90, 60), scene(dtype="uint16").tobytes(), stream, quality=95, chroma=444)
    picture = read_picture(stream.getvalue())
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels.astype(int) - scene(dtype="uint16")).mean() < 3 * 257
    assert len(np.unique(picture.pixels)) > 300


def test_the_profile_of_heic_is_applied() -> None:
    image = pil()
    image.info["icc_profile"] = pyvips.Operation.call("profile_load", "p3")
    picture = read_picture(heic(image))
    assert picture.profiled
    assert (np.asarray(image, int) - picture.pixels)[..., 0].min() < -5  # P3's red is beyond sRGB's


def test_of_several_pictures_the_primary_one_is_read() -> None:
    file = pillow_heif.from_pillow(pil(32, 32, "L"))
    file.add_from_pillow(pil())
    stream = io.BytesIO()
    file.save(stream, primary_index=1, quality=95)
    picture = read_picture(stream.getvalue())
    assert (picture.size, picture.pages) == ((60, 90), 2)


def test_without_a_decoder_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.heic").write_bytes(heic(pil()))
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"^.*x\.heic: .*pip install 'gancolor\[heif\]', or convert it") as caught:
        read_picture(tmp_path / "x.heic")
    assert "\n" not in str(caught.value)
    avif = Picture(scene()).encode(".avif")
    assert np.abs(read_picture(avif).pixels.astype(int) - scene()).mean() < 5


def test_damaged_heic_gives_a_one_line_error() -> None:
    whole = heic(pil(200, 200))
    for data in (whole[: len(whole) // 2], whole[:300]):
        with pytest.raises(InputError, match=r"^the picture: not a readable picture \(") as caught:
            read_picture(data)
        assert "\n" not in str(caught.value)
