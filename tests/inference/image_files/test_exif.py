"""EXIF of TIFFs. Sources are written, and results read back, with Pillow."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_pictures import scene
from PIL import ExifTags, Image, TiffImagePlugin

from gancolor.inference.image_files import Picture, read_picture
from gancolor.inference.image_files.exif import LONGEST_BLOCK, MAKER_NOTE

RATIONAL = TiffImagePlugin.IFDRational
EXIF, GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
OWN = {270: "a boat", 271: "Epson", 306: "1955:07:01 12:00:00", 315: "Ann", 33432: "Ann's"}
EXPOSURE, ISO, TAKEN, WIDTH, INTEROP, LENS = 0x829A, 0x8827, 0x9003, 0xA002, 0xA005, 0xA434


def tiff(exif: dict[int, Any] | None = None, **options: Any) -> bytes:
    """Return a TIFF whose size is odd, with the tags of `OWN`, EXIF and a place."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in OWN.items():
        tags[tag] = value
    tags[EXIF] = {
        INTEROP: 8,
        TAKEN: "1955:07:02 12:00:00",
        EXPOSURE: RATIONAL(1, 60),
        ISO: 400,
        WIDTH: 9999,
        LENS: "50 mm",
    } | (exif or {})
    tags[GPS] = {1: "N", 3: "E"}
    stream = io.BytesIO()
    Image.fromarray(scene(31, 33)).save(stream, "TIFF", tiffinfo=tags, **options)
    return stream.getvalue()


def exif_of(data: bytes) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(EXIF)), dict(exif.get_ifd(GPS))


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}])
@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp"])
def test_exif_of_a_tiff_reaches_every_format(options: dict[str, Any], suffix: str) -> None:
    picture = read_picture(tiff(**options))
    data = picture.encode(suffix)
    own, exif, place = exif_of(data)
    assert {tag: own.get(tag) for tag in OWN} == OWN
    assert (exif[TAKEN], exif[ISO], exif[EXPOSURE], exif[LENS]) == ("1955:07:02 12:00:00", 400, 1 / 60, "50 mm")
    assert INTEROP not in exif
    assert exif.get(WIDTH) == (None if suffix == ".tif" else 33)
    assert place == {1: "N", 3: "E"}
    if suffix in (".tif", ".png"):
        assert (np.asarray(Image.open(io.BytesIO(data))) == picture.pixels).all()


def test_exif_of_a_jpeg_reaches_a_tiff() -> None:
    jpeg = read_picture(tiff()).encode(".jpg")
    data = read_picture(jpeg).encode(".tif")
    assert exif_of(data)[0].items() >= OWN.items()
    assert exif_of(data)[1][TAKEN] == "1955:07:02 12:00:00"
    assert (read_picture(data).pixels == read_picture(jpeg).pixels).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_stay_as_they_are_in_both_orders(order: str) -> None:
    artist, copyright_ = "Ann Jürgen".encode(), "© Jürgen, 1955".encode()
    tags = [(315, 2, len(artist) + 1, artist + b"\0", True), (33432, 2, len(copyright_) + 1, copyright_ + b"\0", True)]
    stream = io.BytesIO()
    options = {"byteorder": order, "compression": "zlib", "metadata": None}
    tifffile.imwrite(stream, scene(dtype="uint16"), photometric="rgb", extratags=tags, **options)
    picture = read_picture(stream.getvalue())
    for suffix in (".tif", ".jpg"):
        data = picture.encode(suffix)
        assert artist + b"\0" in data and copyright_ + b"\0" in data
    with tifffile.TiffFile(io.BytesIO(picture.encode(".tif"))) as file:
        page = file.pages[0]
        assert page.tags[33432].value == "© Jürgen, 1955"
        assert (page.asarray() == scene(dtype="uint16")).all()
        assert not any(tag.valueoffset % 2 for tag in page.tags if tag.code in (315, 33432))


def test_a_note_that_is_too_long_for_other_formats_is_left_out() -> None:
    data = tiff({MAKER_NOTE: bytes(LONGEST_BLOCK)})
    for suffix in (".jpg", ".tif"):
        exif = exif_of(read_picture(data).encode(suffix))[1]
        assert exif[TAKEN] == "1955:07:02 12:00:00"
        assert MAKER_NOTE not in exif


def test_damaged_exif_is_left_out() -> None:
    whole = tiff()
    place = whole.index(struct.pack("<HHI", EXIF, 4, 1)) + 8
    for target in (0, 3, len(whole) - 1, 2**32 - 1):
        data = whole[:place] + struct.pack("<I", target) + whole[place + 4 :]
        assert (read_picture(data).pixels == scene(31, 33)).all()
        assert read_picture(data).encode(".jpg")


def test_tiff_without_exif_gets_none(tmp_path: Path) -> None:
    Picture(scene()).save(tmp_path / "x.tif")
    assert "exif-data" not in read_picture(tmp_path / "x.tif").metadata
