import errno
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from made_pictures import SRGB_PROFILE, pil, scene
from PIL import ExifTags, Image, ImageCms

from gancolor.inference.image_files import SAVERS, Picture, decoded_bytes, from_pil, read_picture, resize
from gancolor.inference.image_files.color import to_srgb
from gancolor.utils.errors import InputError

SOFT = {".jpg": 6, ".jpeg": 6, ".webp": 8, ".avif": 8}  # allowed mean error of lossy formats, in levels


@pytest.mark.parametrize("suffix", SAVERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_written_files_can_be_read(tmp_path: Path, suffix: str, channels: int, alpha: bool, dtype: str) -> None:
    pixels = scene(dtype=dtype)[..., :channels]
    transparency = scene(dtype=dtype)[..., 2:] if alpha and suffix not in (".jpg", ".jpeg") else None
    Picture(pixels, transparency).save(tmp_path / f"x{suffix}", quality=98)
    found = read_picture(tmp_path / f"x{suffix}")
    deep = dtype == "uint16" and suffix not in SOFT
    assert found.pixels.dtype == (np.uint16 if deep else np.uint8)
    scale = 255 if found.pixels.dtype == np.uint8 and dtype == "uint16" else 1
    off = np.abs(found.pixels.astype(float) * (257 if scale == 255 else 1) - pixels.astype(float)).mean()
    assert off <= SOFT.get(suffix, 0) * (257 if dtype == "uint16" else 1)
    assert (found.alpha is None) == (transparency is None)
    if transparency is not None and suffix in (".png", ".tif", ".tiff"):
        assert (found.alpha == transparency).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"])
def test_every_mode_of_pillows_becomes_srgb(mode: str) -> None:
    image = pil()
    image = image.convert("RGBA").convert("P") if mode == "PA" else image
    picture = from_pil(image.convert(mode) if mode != "LAB" else ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"))  # fmt: skip
    assert picture.size == (60, 90)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[-1] == (1 if mode in ("1", "L", "LA") else 3)
    assert (picture.alpha is not None) == (mode in ("LA", "RGBA", "PA"))
    expected = scene() if picture.pixels.shape[-1] == 3 else np.asarray(image.convert("L"))[..., None]
    limit = {"1": 128, "P": 20, "PA": 20, "CMYK": 60, "LAB": 6}.get(mode, 3)
    assert np.abs(picture.pixels.astype(float) - expected).mean() < limit


@pytest.mark.parametrize("most", [1, 255, 65535])
@pytest.mark.parametrize("mode", ["I", "F", "RGB"])
def test_floats_and_integers_get_the_first_range_that_fits(tmp_path: Path, mode: str, most: int) -> None:
    if mode == "I" and most == 1:
        return
    grey = np.linspace(0.1, 0.9, 5400).reshape(60, 90) * most
    values = grey.astype("int32" if mode == "I" else "float32")
    if mode == "RGB":
        image = pyvips.Image.new_from_memory(np.repeat(values[..., None], 3, -1).tobytes(), 90, 60, 3, "float")
        image.copy(interpretation="srgb").tiffsave(str(tmp_path / "x.tif"))
        found = [read_picture(tmp_path / "x.tif")]
    else:
        Image.fromarray(values).save(tmp_path / "x.tif")
        found = [read_picture(tmp_path / "x.tif"), from_pil(Image.fromarray(values))]
    for picture in found:
        assert picture.pixels.dtype == np.uint16
        assert np.abs(picture.pixels[..., 0] / 65535 - grey / most).max() < 1.1 / most + 1e-3


def test_16_bit_grey_pillow_images_apply_profile_and_orientation(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 5400).reshape(60, 90).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(tmp_path / "x.png", exif=exif)
    by_file, by_pillow = read_picture(tmp_path / "x.png"), from_pil(Image.open(tmp_path / "x.png"))
    assert by_pillow.size == (90, 60)
    assert (by_file.pixels == by_pillow.pixels).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_16_bit_grey_pillow_images_keep_their_depth(mode: str) -> None:
    values = np.linspace(0, 65535, 5400).reshape(60, 90).astype(np.uint16)
    picture = from_pil(Image.fromarray(values.astype({"I;16": "uint16", "I": "int32", "F": "float32"}[mode])))
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels[..., 0].astype(int) - values).max() <= 1


def test_palette_transparency_is_alpha(tmp_path: Path) -> None:
    image = pil().quantize(16)
    image.save(tmp_path / "x.png", transparency=0)
    hidden = np.asarray(image) == 0
    for picture in (read_picture(tmp_path / "x.png"), from_pil(Image.open(tmp_path / "x.png"))):
        assert ((picture.alpha[..., 0] == 0) == hidden).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path: Path, orientation: int) -> None:
    upright = pil(64, 96)
    turn = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])
    stored = upright
    for way in turn:
        stored = stored.transpose(Image.Transpose(way))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a boat"
    stored.save(tmp_path / "x.png", exif=exif)
    for picture in (read_picture(tmp_path / "x.png"), from_pil(Image.open(tmp_path / "x.png"))):
        assert (picture.pixels == np.asarray(upright)).all()
    read_picture(tmp_path / "x.png").save(tmp_path / "y.jpg")
    result = Image.open(tmp_path / "y.jpg")
    assert result.size == upright.size
    assert result.getexif().get(0x0112, 1) == 1
    assert result.getexif()[0x010E] == "a boat"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_resolution_is_kept(tmp_path: Path, suffix: str) -> None:
    pil().save(tmp_path / f"x{suffix}", dpi=(300, 300))
    read_picture(tmp_path / f"x{suffix}").save(tmp_path / f"y{suffix}")
    assert np.allclose([float(value) for value in Image.open(tmp_path / f"y{suffix}").info["dpi"]], 300, atol=0.1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_no_resolution_is_invented_and_the_colour_space_is_srgb(tmp_path: Path, suffix: str) -> None:
    pil().save(tmp_path / f"x{suffix}")
    for picture in (read_picture(tmp_path / f"x{suffix}"), Picture(scene())):
        picture.save(tmp_path / f"y{suffix}")
        result = Image.open(tmp_path / f"y{suffix}")
        exif = result.getexif()
        assert exif.get(ExifTags.Base.XResolution) == exif.get(ExifTags.Base.YResolution) == pytest.approx(72, abs=0.1)
        if suffix != ".tif":  # which has no EXIF
            assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] == 1


def test_descriptions_of_tiff_are_kept(tmp_path: Path) -> None:
    pil().save(tmp_path / "x.tif", tiffinfo={270: "a boat"})
    read_picture(tmp_path / "x.tif").save(tmp_path / "y.tif")
    assert Image.open(tmp_path / "y.tif").tag_v2[270] == "a boat"


def test_metadata_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Zeiss"
    pil().save(tmp_path / "x.jpg", exif=exif, dpi=(300, 300), icc_profile=SRGB_PROFILE, quality=95)
    image = pyvips.Image.new_from_file(str(tmp_path / "x.jpg"))
    image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    image.jpegsave(str(tmp_path / "y.jpg"))
    read_picture(tmp_path / "y.jpg").save(tmp_path / "z.jpg")
    result = Image.open(tmp_path / "z.jpg")
    assert result.getexif()[0x010F] == "Zeiss"
    assert result.info["dpi"] == (300, 300)
    assert b"xmpmeta" in result.info["xmp"]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_a_profile_is_applied_in_8_and_16_bits(tmp_path: Path) -> None:
    """With libvips's P3 profile, pure red is not sRGB's pure red."""
    p3 = pyvips.Operation.call("profile_load", "p3")
    for dtype, most in (("uint8", 255), ("uint16", 65535)):
        pixels = np.full((8, 8, 3), 0, dtype)
        pixels[..., 1] = most // 2
        image = pyvips.Image.new_from_memory(pixels.data, 8, 8, 3, "uchar" if dtype == "uint8" else "ushort")
        image = image.copy(interpretation="srgb" if dtype == "uint8" else "rgb16")
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", p3)
        image.pngsave(str(tmp_path / "x.png"))
        picture = read_picture(tmp_path / "x.png")
        assert picture.pixels.dtype == dtype
        assert picture.profiled
        assert picture.pixels[0, 0, 1] > pixels[0, 0, 1]  # sRGB needs more green to be as green
        if dtype == "uint8":
            from_it = from_pil(Image.open(tmp_path / "x.png"))
            assert np.abs(from_it.pixels.astype(int) - picture.pixels).max() <= 1


def test_profile_is_judged_by_its_effect_not_its_name(tmp_path: Path) -> None:
    """The profile is named sRGB but has another curve."""
    p3 = pyvips.Operation.call("profile_load", "p3")
    pil().save(tmp_path / "x.png", icc_profile=p3 + b"sRGB")
    assert np.abs(read_picture(tmp_path / "x.png").pixels.astype(int) - scene()).max() > 3
    pil().save(tmp_path / "y.png", icc_profile=SRGB_PROFILE)
    assert (read_picture(tmp_path / "y.png").pixels == scene()).all()


def test_large_profiles_are_not_held_in_memory() -> None:
    profile = pyvips.Operation.call("profile_load", "p3") + bytes(10**6)
    image = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    references = sys.getrefcount(profile)
    to_srgb(image, profile)
    assert sys.getrefcount(profile) == references


def test_profile_that_does_not_fit_is_ignored(tmp_path: Path) -> None:
    cmyk = pyvips.Operation.call("profile_load", "cmyk")
    image = pyvips.Image.new_from_memory(scene().tobytes(), 90, 60, 3, "uchar").copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", cmyk)
    image.pngsave(str(tmp_path / "x.png"))
    assert np.abs(read_picture(tmp_path / "x.png").pixels.astype(int) - scene()).mean() < 3


def test_cmyk_jpegs_as_photoshop_writes_them(tmp_path: Path) -> None:
    pil().convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    picture = read_picture(tmp_path / "x.jpg")
    assert picture.pixels.shape == (60, 90, 3)
    assert np.corrcoef(picture.pixels.ravel(), scene().ravel())[0, 1] > 0.9  # plain CMYK, not inverted


@pytest.mark.parametrize("suffix", ["gif", "bmp", "ppm", "tga"])
def test_other_formats_are_read(tmp_path: Path, suffix: str) -> None:
    pil().save(tmp_path / f"x.{suffix}")
    for source in (tmp_path / f"x.{suffix}", (tmp_path / f"x.{suffix}").read_bytes()):
        assert np.abs(read_picture(source).pixels.astype(int) - scene()).mean() < (20 if suffix == "gif" else 1)


def test_the_first_frame_of_an_avif_sequence_is_read() -> None:
    stream = io.BytesIO()
    pil().save(stream, "AVIF", save_all=True, append_images=[pil()], quality=95)
    picture = read_picture(stream.getvalue())
    assert picture.pages == 2
    assert np.abs(picture.pixels.astype(int) - scene()).mean() < 5


def test_16_to_8_bits_is_rounded() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    image = np.asarray(Picture(np.repeat(values, 3, axis=-1)).pil())[..., 0]
    assert (image == np.round(values[..., 0] / 257)).all()


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(999))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_unreadable_picture_gives_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    pil(200, 200).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    (tmp_path / "page.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (tmp_path / "bomb.png").write_bytes(bomb(40000, 40000))
    unreadable = "not a readable picture"
    cases = {"text.jpg": unreadable, "empty.png": unreadable, "cut.jpg": unreadable, "page.svg": "not a",
             "bomb.png": "500 megapixels", "none.jpg": "no such file", ".": "a folder"}  # fmt: skip
    for name, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(InputError, match=r"^the picture: not a readable picture"):
        read_picture(b"no picture")


def test_pillows_own_limit_of_pixels_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pil().save(tmp_path / "x.bmp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert (read_picture(tmp_path / "x.bmp").pixels == scene()).all() and Image.MAX_IMAGE_PIXELS == 1000


def test_bad_pillow_images_give_a_one_line_error(tmp_path: Path) -> None:
    pil(200, 200).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    for image in (Image.open(tmp_path / "cut.jpg"), Image.new("RGB", (0, 5))):
        with pytest.raises(InputError, match="the picture") as caught:
            from_pil(image)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("quality", [0, 101])
def test_invalid_quality_is_refused(quality: int) -> None:
    with pytest.raises(InputError, match=f"a quality of {quality}"):
        Picture(scene()).encode(".jpg", quality)


def test_floats_are_written_in_16_bits(tmp_path: Path) -> None:
    picture = Picture(scene(dtype="float32"))
    picture.save(tmp_path / "x.png")
    assert np.abs(read_picture(tmp_path / "x.png").pixels - 65535 * scene(dtype="float32")).max() <= 1
    assert np.abs(np.asarray(picture.pil()) - 255 * scene(dtype="float32")).max() <= 1


def test_unsupported_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no format '.jpgg'; choose from .*did you mean .jpg"):
        Picture(scene()).save(tmp_path / "x.jpgg")
    with pytest.raises(InputError, match=r"70000 x 1 can't be written as .jpg"):
        Picture(np.zeros((1, 70000, 3), np.uint8)).save(tmp_path / "x.jpg")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import resource, numpy, signal
from gancolor.inference.image_files import Picture
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
noise = numpy.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=numpy.uint8)
try:
    Picture(noise).save({str(tmp_path / "x.png")!r})
except OSError as error:
    raise SystemExit(error.errno)
"""
    status = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert status == errno.EFBIG
    assert not list(tmp_path.iterdir())


def test_shrinking_averages_to_the_exact_size() -> None:
    pixels = np.zeros((301, 457, 1), np.uint8)
    pixels[:, ::2] = 200
    small = resize(pixels, 37, 61)
    assert small.shape == (37, 61, 1)
    assert small.dtype == np.float32
    assert np.abs(small - 100).max() < 15
    smooth = scene(300, 450, "float32")
    for channel, plane in enumerate(np.moveaxis(smooth, -1, 0)):
        reference = np.asarray(Image.fromarray(plane).resize((45, 30), Image.Resampling.BILINEAR))
        assert np.abs(resize(smooth, 30, 45)[..., channel] - reference).mean() < 0.01


@pytest.mark.parametrize(("height", "width"), [(90, 131), (40, 200), (100, 20), (33, 60)])
def test_enlarging_is_bilinear_and_keeps_the_place(height: int, width: int) -> None:
    pixels = scene(33, 47, "float32")
    found = resize(pixels, height, width)
    for channel, plane in enumerate(np.moveaxis(pixels, -1, 0)):
        reference = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        difference = np.abs(found[..., channel] - reference)
        assert difference.mean() < 0.01
        assert difference.max() < 1e-3 or width < 47  # there, libvips shrinks it, by another filter


def test_large_photographs_take_little_extra_memory(tmp_path: Path) -> None:
    """Reading and writing need only the photograph and its file in memory."""
    code = f"""
import os, resource, numpy
from gancolor.inference.image_files import Picture, read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = read_picture({str(tmp_path / "x.jpg")!r})
assert picture.pixels.nbytes > 29e7
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / picture.pixels.nbytes)
"""
    pyvips.Image.black(10000, 10000, bands=3).copy(interpretation="srgb").jpegsave(str(tmp_path / "x.jpg"))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 2.2


@pytest.mark.parametrize(
    "name",
    ["scan [2].jpg", "scan[2]", "IMG 1 [b&w]", "[page=9].tif", "x.png[0]", "-x", "a:b", "x%03d", "*", "new\nline"],
)
def test_any_file_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder [1]").mkdir()
    path = tmp_path / "folder [1]" / name
    path.write_bytes(Picture(scene()).encode(".png"))
    assert (read_picture(path).pixels == scene()).all()
    assert decoded_bytes(path) == scene().nbytes
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="not a readable picture") as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"%PDF-1.7", "a document, not a photograph; convert it"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "a document, not a photograph"),
        (b"\0\0\0\x20ftypisom", "a video; `gancolor colorize` colours it"),
        (b"\x1aE\xdf\xa3", "a video"),
        (b"\xff\x0a", "JPEG XL; convert it to TIFF, PNG or JPEG"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"v/1\x01\2\0\0\0", "OpenEXR"),
        (b"FUJIFILMCCD-RAW ", "a camera's raw file"),
        (b"\x89PNG\r\n", "damaged or incomplete"),
        (b"a note", r"no picture, or of an unknown format; convert it to TIFF, PNG or JPEG\)$"),
        (b"", "empty"),
    ],
)
def test_what_is_no_photograph_is_named(start: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_picture(start)


def latin_1_name(folder: Path, name: bytes) -> Path:
    """Create a file of this name, where the file system has such names."""
    path = folder / os.fsdecode(name)
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system has no such names")
    return path


def test_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = latin_1_name(tmp_path, b"caf\xe9.png")
    path.write_bytes(Picture(scene()).encode(".png"))
    assert (read_picture(path).pixels == scene()).all()


def test_errors_that_are_not_utf8_take_one_line_and_spoil_no_other_picture(tmp_path: Path) -> None:
    path = latin_1_name(tmp_path, b"caf\xe9.avif")
    Picture(scene()).save(tmp_path / "x.avif")
    for size in (60, 100, 1000):  # libvips names the file in its errors
        path.write_bytes((tmp_path / "x.avif").read_bytes()[:size])
        assert decoded_bytes(path) in (size, scene().nbytes)
        with pytest.raises(InputError, match="not a readable picture") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)
        assert np.abs(read_picture(tmp_path / "x.avif").pixels.astype(int) - scene()).mean() < 8


def test_bytes_are_read_as_files_are(tmp_path: Path) -> None:
    Picture(scene()).save(tmp_path / "x.png")
    assert (read_picture((tmp_path / "x.png").read_bytes()).pixels == scene()).all()


def test_file_that_may_not_be_read_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Picture(scene()).save(tmp_path / "x.png")

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, who may read everything
    with pytest.raises(InputError, match=r"^\S+x\.png: Permission denied$"):
        read_picture(tmp_path / "x.png")
