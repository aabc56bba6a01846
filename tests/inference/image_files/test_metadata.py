"""What was made from the pixels of the original is not in the coloured file. Files are read back with Pillow."""

import io
import re
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
from made_pictures import pil, scene
from PIL import ExifTags, Image, PngImagePlugin

from gancolor.inference.conversions import as_given
from gancolor.inference.image_files import Picture, from_pil, read_picture
from gancolor.inference.image_files.disclosure import disclosed_xmp
from gancolor.inference.image_files.metadata import PHOTOSHOP, clean_photoshop, clean_xmp

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:dd="http://ns.google.com/photos/dd/1.0/image/" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" crs:ConvertToGrayscale="True" dd:Data="PREVIEW"
 tiff:Orientation="6" tiff:Make="Zeiss" hdrgm:Version="1.0">
<dc:title>Bär</dc:title><xmp:Thumbnails><rdf:Alt><rdf:li>PREVIEW</rdf:li></rdf:Alt></xmp:Thumbnails>
<Container:Directory><rdf:Seq/></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
SUBJECT_AREA = 0x9214
TIFFS_XMP, TIFFS_IPTC = 700, 33723  # tags
JPEG = pil(20, 30, "L")
AUTHOR = b"\x1c\x02\x50\0\x04by A"
PREVIEW = b"\x1c\x02\xca\x80\x04\0\0\0\x07PREVIEW"  # with its length's length
IPTC = b"\x1c\x02\x82\0\x021W" + PREVIEW + AUTHOR


def jpeg_bytes() -> bytes:
    stream = io.BytesIO()
    JPEG.save(stream, "JPEG")
    return stream.getvalue()


def resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A grey JPEG on its side, with previews wherever there may be some."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Zeiss", 6
    exif[ExifTags.Base.ImageWidth] = 90
    detail = exif.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.MakerNote] = b"NOTE" + jpeg_bytes()
    detail[ExifTags.Base.ColorSpace], detail[ExifTags.Base.ExifImageWidth] = 65535, 90
    detail[ExifTags.Base.ExifImageHeight], detail[SUBJECT_AREA] = 60, (9, 9)
    detail[ExifTags.Base.LensModel] = "Tessar"
    pil(60, 90, "L").save(tmp_path / "plain.jpg", exif=exif)
    image = pyvips.Image.new_from_file(str(tmp_path / "plain.jpg")).copy()
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", jpeg_bytes())
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd1-Compression", "6")
    image.set_type(pyvips.GValue.blob_type, "xmp-data", XMP.encode())
    image.set_type(
        pyvips.GValue.blob_type, "iptc-data", PHOTOSHOP + resource(0x040C, jpeg_bytes()) + resource(0x0404, IPTC)
    )
    image.jpegsave(str(tmp_path / "x.jpg"))
    made = (tmp_path / "x.jpg").read_bytes()
    assert made.count(b"\xff\xd8\xff") == 4  # the photograph and three previews
    return tmp_path / "x.jpg"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_previews_are_dropped_and_sizes_are_right(photograph: Path, suffix: str) -> None:
    picture = read_picture(photograph)
    assert picture.size == (90, 60)
    path = photograph.with_name(f"result{suffix}")
    replace(picture, pixels=scene(90, 60)).save(path)
    data = path.read_bytes()
    assert data.count(b"\xff\xd8\xff") == (suffix == ".jpg")
    exif = Image.open(path).getexif()
    detail = exif.get_ifd(ExifTags.IFD.Exif)
    assert exif[ExifTags.Base.Make] == "Zeiss"
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert ExifTags.Base.ImageWidth not in exif
    assert exif.get_ifd(ExifTags.IFD.IFD1) == {}
    assert detail[ExifTags.Base.LensModel] == "Tessar"
    assert detail[ExifTags.Base.ColorSpace] == 1
    assert (detail[ExifTags.Base.ExifImageWidth], detail[ExifTags.Base.ExifImageHeight]) == (60, 90)
    assert not {ExifTags.Base.MakerNote, SUBJECT_AREA} & detail.keys()
    if suffix != ".avif":  # in which Pillow looks for no XMP
        xmp = Image.open(path).info["xmp"].decode()
        assert "Bär" in xmp and 'tiff:Make="Zeiss"' in xmp
        assert not [word for word in ("PREVIEW", "hdrgm", "Container", "Orientation", "Grayscale") if word in xmp]
    if suffix == ".jpg":
        assert Image.open(path).info["photoshop"] == {0x0404: AUTHOR}


def test_texts_of_png_stay_in_any_language(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Größe", "3 µm")  # Pillow writes Latin-1, as the standard asks
    text.add_itxt("Title", "Ωmega", "el", "Τίτλος", zip=True)
    text.add_text("Comment", "a boat " * 99, zip=True)
    text.add_itxt("XML:com.adobe.xmp", XMP)
    text.add_text("Raw profile type exif", "PREVIEW", zip=True)  # ImageMagick writes EXIF with its thumbnail there too
    pil().save(tmp_path / "x.png", pnginfo=text)
    picture = read_picture(tmp_path / "x.png")
    picture.save(tmp_path / "y.png")
    found = Image.open(tmp_path / "y.png").text
    assert "Bär" in found.pop("XML:com.adobe.xmp")
    assert found == {"Größe": "3 µm", "Title": "Ωmega", "Comment": "a boat " * 99}
    assert (found["Title"].lang, found["Title"].tkey) == ("el", "Τίτλος")
    picture.save(tmp_path / "y.jpg")
    assert b"mega" not in (tmp_path / "y.jpg").read_bytes()


def test_texts_at_the_end_of_a_png_stay_and_damaged_ones_do_not() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "first")
    text.add(b"tEXt", b"b\0last", after_idat=True)
    stream = io.BytesIO()
    pil().save(stream, "PNG", pnginfo=text)
    for content, left in ((b"first", {"b": "last"}), (b"last", {"a": "first"}), (b"", {"a": "first", "b": "last"})):
        damaged = stream.getvalue().replace(content, content[:-1] + b"X") if content else stream.getvalue()
        assert Image.open(io.BytesIO(read_picture(damaged).encode(".png"))).text == left


def test_comments_of_jpeg_stay(photograph: Path) -> None:
    data = photograph.read_bytes()
    for comment in ("ein Bär".encode(), "ein Bär".encode("latin-1")):
        said = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
        picture = read_picture(data[:2] + said + data[2:])
        result = Image.open(io.BytesIO(picture.encode(".jpeg")))
        assert result.info["comment"] == comment
        assert result.getexif()[ExifTags.Base.Make] == "Zeiss"
        assert said not in picture.encode(".png")


def test_a_cameras_note_without_a_preview_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"NOTE: f/8"
    pil().save(tmp_path / "x.jpg", exif=exif)
    read_picture(tmp_path / "x.jpg").save(tmp_path / "y.jpg")
    found = Image.open(tmp_path / "y.jpg").getexif().get_ifd(ExifTags.IFD.Exif)
    assert found[ExifTags.Base.MakerNote] == b"NOTE: f/8"


def test_exif_of_pillow_images(photograph: Path) -> None:
    given = Image.open(photograph)
    exif = as_given(given, Picture(scene(90, 60))).getexif()
    detail = exif.get_ifd(ExifTags.IFD.Exif)
    assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation], detail[ExifTags.Base.ColorSpace]) == (
        "Zeiss",
        1,
        1,
    )
    assert (detail[ExifTags.Base.ExifImageWidth], detail[ExifTags.Base.ExifImageHeight]) == (60, 90)
    assert ExifTags.Base.MakerNote not in detail and exif.get_ifd(ExifTags.IFD.IFD1) == {}
    assert given.getexif()[ExifTags.Base.Orientation] == 6


def test_further_pictures_of_a_jpeg_are_dropped(tmp_path: Path) -> None:
    """Cameras append a large preview, and telephones a gain map, by the Multi-Picture Format."""
    pil().save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[JPEG])
    read_picture(tmp_path / "x.jpg").save(tmp_path / "y.jpg")
    result = Image.open(tmp_path / "y.jpg")
    assert result.format == "JPEG" and b"MPF" not in (tmp_path / "y.jpg").read_bytes()


def test_xmp_is_kept_as_it_is_if_nothing_is_to_be_dropped() -> None:
    of_pixels = r"xmlns:(hdrgm|Container|dd|crs)=\S+|(tiff:Or|hdrgm:|dd:|crs:)\S+?(?=[\s>])|<xmp:Th.*Directory>"
    plain = re.sub(f"(?s){of_pixels}", "", XMP)
    assert clean_xmp(plain.encode()) == plain.encode()
    assert clean_xmp(b"<x:xmpmeta") == b""


@pytest.mark.parametrize("depth", [150, 900, 4000])
def test_xmp_that_is_nested_too_deeply_is_dropped(depth: int) -> None:
    data = b"<a>" * depth + b"</a>" * depth
    assert clean_xmp(data) == b""
    assert b"gancolor" in disclosed_xmp(data, "red")


def test_a_document_type_could_multiply_elements_and_is_dropped() -> None:
    entities = '<!ENTITY a "<b/>"><!ENTITY c "' + "&a;" * 100 + '"><!ENTITY d "' + "&c;" * 100 + '">'
    data = f"<!DOCTYPE a [{entities}]><a>{'&d;' * 3}</a>"
    assert clean_xmp(data.encode()) == clean_xmp(data.encode("utf-16")) == b""


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        (TIFFS_XMP, XMP.encode().replace(b"<dc:title>", b"<dc:title/>" * 25_000 + b"<dc:title>")),
        (TIFFS_XMP, XMP.encode().replace(b"<dc:title>", b"<dc:title>" + b"x" * 10**6)),
        (TIFFS_IPTC, b"\x1c\x02\x50\0\0" * 250_000),
    ],
)
def test_large_metadata_that_would_take_minutes_is_left_out(tag: int, data: bytes) -> None:
    stream = io.BytesIO()
    JPEG.save(stream, "TIFF", tiffinfo={tag: data})
    with pytest.warns(UserWarning, match="the picture: its (XMP|IPTC) is left out, because it is too large"):
        picture = read_picture(stream.getvalue())
    assert not {"xmp-data", "iptc-data"} & picture.metadata.keys()
    assert len(disclosed_xmp(data, "red")) < 2000


def test_much_iptc_is_read_at_once() -> None:
    data, start = PREVIEW + b"\x1c\x02\x50\0\0" * 200_000, time.process_time()
    assert clean_photoshop(data) == data.removeprefix(PREVIEW)
    assert time.process_time() - start < 5  # 50 s if each data set was copied with all before it


def test_iptc_that_a_jpeg_has_no_room_for_is_left_out_with_a_warning() -> None:
    stream, iptc = io.BytesIO(), AUTHOR * 9000
    JPEG.save(stream, "TIFF", tiffinfo={TIFFS_IPTC: iptc})
    picture = read_picture(stream.getvalue())
    assert read_picture(picture.encode(".tif")).metadata["iptc-data"][1].startswith(iptc)
    with pytest.warns(UserWarning, match="its IPTC is left out, because a JPEG holds 65,000 bytes of it"):
        assert "iptc-data" not in read_picture(picture.encode(".jpg")).metadata


@pytest.mark.parametrize("source", ["JPEG", "TIFF", "TIFF of LONG"])
def test_iptc_stays_whole_between_jpeg_and_tiff(source: str) -> None:
    """Photoshop and others write a TIFF's as numbers of 32 bits; their bytes are IPTC's, in any byte order."""
    iptc = AUTHOR + b"\x1c\x02\x78\0\x14a farm near the town."
    iptc += bytes(-len(iptc) % 4)
    stream = io.BytesIO()
    if source == "JPEG":
        image = pyvips.Image.new_from_array(np.asarray(JPEG)).copy(interpretation="srgb")
        image.set_type(pyvips.GValue.blob_type, "iptc-data", PHOTOSHOP + resource(0x0404, iptc))
        data = image.jpegsave_buffer()
    else:
        JPEG.save(stream, "TIFF", tiffinfo={TIFFS_IPTC: iptc})
        data, entry = stream.getvalue(), struct.pack("<HHI", TIFFS_IPTC, 7, len(iptc))
        assert entry in data
        if source == "TIFF of LONG":
            data = data.replace(entry, struct.pack("<HHI", TIFFS_IPTC, 4, len(iptc) // 4))
    picture = read_picture(data)
    for _ in range(2):  # and from its own result
        assert PHOTOSHOP + resource(0x0404, iptc) in picture.encode(".jpg")
        written = picture.encode(".tif")
        with Image.open(io.BytesIO(written)) as image:
            assert image.tag_v2[TIFFS_IPTC] == iptc
        picture = read_picture(written)


@pytest.mark.parametrize("end", range(20))
def test_damaged_resources_of_photoshop_are_dropped(end: int) -> None:
    data = PHOTOSHOP + resource(0x0404, b"by A")
    assert clean_photoshop(data[: len(PHOTOSHOP) + end]) in (b"", data, data[: len(PHOTOSHOP) + end])
    assert clean_photoshop(b"\x1c\x02") == b"\x1c\x02"


def test_a_gain_map_is_dropped_and_its_picture_is_read(tmp_path: Path) -> None:
    """An Ultra HDR JPEG, as telephones write: an ordinary picture with a map of how to brighten it."""
    bright = pyvips.Image.new_from_memory(scene().tobytes(), 90, 60, 3, "uchar").copy(interpretation="srgb")
    bright.colourspace("scrgb").uhdrsave(str(tmp_path / "x.jpg"))
    picture = read_picture(tmp_path / "x.jpg")
    ordinary = from_pil(Image.open(tmp_path / "x.jpg"))  # Pillow ignores the map
    assert np.abs(picture.pixels.astype(int) - ordinary.pixels).mean() < 1
    assert picture.pixels.max() < 250  # tone-mapped for ordinary screens
    picture.save(tmp_path / "y.jpg")
    assert (tmp_path / "x.jpg").read_bytes().count(b"\xff\xd8\xff") == 2
    assert (tmp_path / "y.jpg").read_bytes().count(b"\xff\xd8\xff") == 1
    assert b"hdrgm" not in (tmp_path / "y.jpg").read_bytes()
