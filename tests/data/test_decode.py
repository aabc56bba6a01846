import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import pyvips
import torch
from PIL import Image, ImageCms
from torchvision.io import decode_image

from gancolor.choices import PICTURE_SUFFIXES
from gancolor.data import decode as module
from gancolor.data.decode import UndecodableError, UnreadableError, decode, fit_square, upright_size

WIDTH, HEIGHT = 48, 32
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    ".apng": "PNG",
    ".mpo": "MPO",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
    ".jpe": "JPEG",
    ".dib": "DIB",
    **dict.fromkeys((".tga", ".icb", ".vda", ".vst"), "TGA"),
    ".pcx": "PCX",
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000"),
}
BY_AN_EXTRA = {".heic", ".heif", ".hif"}  # pillow-heif, which tests/inference/image_files covers
MARKER = (220, 30, 30)
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))


def corner():
    """Blue with a red upper left corner."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (20, 20, 200))
    image.paste(MARKER, (0, 0, 16, 16))
    return image


def noise(width=WIDTH, height=HEIGHT):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind, **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x112] = orientation
    return data


def profile(primaries, curve=2.2):
    """A minimal ICC profile of a display with these primaries (XYZ, adapted to D50) and a gamma curve."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)}
    for letter, xyz in zip("rgb", primaries, strict=True):
        fixed = struct.pack(">3i", *(round(value * 65536) for value in xyz))
        tags[f"{letter}XYZ".encode()] = b"XYZ \0\0\0\0" + fixed
        tags[f"{letter}TRC".encode()] = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(curve * 256), 0)
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    whole = table + body
    white = struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I4xI", 128 + len(whole), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    return header.ljust(68, b"\0") + white + bytes(48) + whole


def png_header(width, height):
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return start + struct.pack(">I", 9) + b"IDAT"


@pytest.fixture
def decoded(tmp_path):
    """Decodes bytes as a file."""

    def run(data, **options):
        path = tmp_path / "picture.bin"
        path.write_bytes(data)
        return decode(path, **options)

    return run


@pytest.fixture
def pillow_unused(monkeypatch):
    """Pillow may open files, but not decode them."""

    def refuse(*_):
        raise AssertionError("decoded by Pillow")

    monkeypatch.setattr(module, "_flatten", refuse)


def color(picture):
    return picture.float().mean((1, 2)).round().int().tolist()


def test_every_suffix_is_decoded(tmp_path):
    assert set(FORMATS) | BY_AN_EXTRA == PICTURE_SUFFIXES
    modes = {".pgm": "L", ".pbm": "1"}
    for suffix, kind in FORMATS.items():
        path, image = tmp_path / f"picture{suffix}", corner().convert(modes.get(suffix, "RGB"), dither=0)
        image.save(path, kind)
        picture = decode(path)
        assert picture.dtype == torch.uint8 and picture.shape == (3, HEIGHT, WIDTH)
        off = picture[:, 4, 4].int() - torch.tensor(image.convert("RGB").getpixel((4, 4)))
        assert off.abs().max() <= 12, suffix
        assert upright_size(path) == (HEIGHT, WIDTH), suffix


def test_what_only_colouring_could_read_is_decoded(decoded):
    """Pillow does not open TIFFs of three floats, and JPEG 2000 has transparency and 16 bits too."""
    floats = np.asarray(corner(), np.float32) / 255
    tiff = pyvips.Image.new_from_memory(floats.data, WIDTH, HEIGHT, 3, "float").tiffsave_buffer()
    assert torch.equal(decoded(tiff), decoded(encoded(corner(), "PNG")))
    clear = corner().convert("RGBA")
    clear.putalpha(0)
    assert decoded(encoded(clear, "JPEG2000")).min() == 255
    deep = Image.fromarray(np.full((HEIGHT, WIDTH), 51400, np.uint16))
    assert color(decoded(encoded(deep, "JPEG2000"))) == [200, 200, 200]


def test_pixel_limit_applies_to_rarer_formats(decoded):
    with pytest.raises(UndecodableError, match="over the limit of 100"):
        decoded(encoded(corner(), "TGA"), max_pixels=100)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"exif": exif(1)}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.usefixtures("pillow_unused")
@pytest.mark.filterwarnings("ignore:.*TorchVision are deprecated:DeprecationWarning")
def test_ordinary_jpegs_are_torchvisions(decoded, options, mode):
    data = encoded(noise().convert(mode), "JPEG", **options)
    expected = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode="RGB")
    assert torch.equal(decoded(data), expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_lossless_formats_are_exact(decoded, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    expected = torch.from_numpy(np.array(noise())).permute(2, 0, 1)
    assert torch.equal(decoded(encoded(noise(), kind, **options)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(decoded, kind, orientation):
    # where an upright picture's upper left corner lies, by what the orientation says of its rows and columns
    corners = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
    image = corner().convert("CMYK") if kind == "CMYK" else corner()
    data = encoded(image, kind.replace("CMYK", "JPEG"), exif=exif(orientation))
    picture = decoded(data)
    assert picture.shape == ((3, HEIGHT, WIDTH) if orientation < 5 else (3, WIDTH, HEIGHT))
    assert upright_size(BytesIO(data)) == picture.shape[1:]
    for y in (0, 1):
        for x in (0, 1):
            is_red = bool(picture[0, -5 if y else 4, -5 if x else 4] > 120)
            assert is_red == ((y, x) == corners[orientation])


def test_orientation_of_either_byte_order_and_behind_xmp(decoded):
    data = exif(6)
    data.endian = ">"
    big_endian = encoded(corner(), "JPEG", exif=data)
    assert decoded(big_endian).shape == (3, WIDTH, HEIGHT)
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    behind = big_endian[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + big_endian[2:]
    assert decoded(behind).shape == (3, WIDTH, HEIGHT)


def test_damaged_exif_is_ignored_without_a_word(decoded):
    entries = struct.pack("<HHHIIHHII", 2, 0x10F, 2, 500, 9999, 0x11A, 5, 9, 9999)
    for broken in (b"II*\0\x08\0\0\0" + entries, b"II*\0\x08\0\0\0\x05", b"XX"):
        data = encoded(corner(), "JPEG", exif=b"Exif\0\0" + broken)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            assert decoded(data).shape == (3, HEIGHT, WIDTH)
        assert not heard
        if broken.startswith(b"II"):
            with pytest.warns(UserWarning, match="Corrupt EXIF|larger than file|Truncated File"):
                Image.open(BytesIO(data)).getexif()  # it is such a file


def test_cmyk_red_is_red(decoded):
    image = Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        red, green, blue = color(decoded(encoded(image, kind)))
        assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_not_clipped(decoded, kind):
    levels = np.array([0, 127, 129, 257, 32768, 40000, 65406, 65535], np.uint16)
    image = Image.fromarray(np.tile(levels, (4, 1)))
    expected = [0, 0, 1, 1, 128, 156, 254, 255]
    picture = decoded(encoded(image, kind))
    assert picture.shape == (3, 4, 8)
    assert (picture == torch.tensor(expected)).all()


@pytest.mark.parametrize("peak", [1, 255, 65535])
def test_float_tiff(decoded, peak):
    values = np.linspace(0, peak, 16, dtype=np.float32)
    picture = decoded(encoded(Image.fromarray(np.tile(values, (4, 1))), "TIFF"))
    assert picture[1, 2].tolist() == list(range(0, 256, 17))


@pytest.mark.parametrize("bad", [float("nan"), -1.0, 1.0001, 1e6])
def test_one_float_out_of_range_is_clipped_with_a_word(decoded, bad):
    values = np.full((20, 20), 0.5, np.float32)
    values[2, 2] = bad
    with pytest.warns(UserWarning, match=r"picture\.bin: read as samples of 0 to 1; "):
        picture = decoded(encoded(Image.fromarray(values), "TIFF"))
    assert picture[:, 4, 4].tolist() == [128] * 3
    assert picture[0, 2, 2] in (0, 255)


def test_dark_integers_stay_dark(decoded):
    values = np.full((20, 20), 100, np.uint16)
    for kind in ("TIFF", "PNG"):
        assert decoded(encoded(Image.fromarray(values), kind)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_white(decoded, kind):
    image = Image.new("RGBA", (WIDTH, HEIGHT), (200, 100, 0, 0))
    image.paste((200, 100, 0, 255), (0, 0, 16, HEIGHT))
    image.paste((200, 100, 0, 51), (16, 0, 32, HEIGHT))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = decoded(encoded(image, kind, **options))
    assert picture[:, 5, 5].tolist() == [200, 100, 0]
    assert picture[:, 5, 20].tolist() == [244, 224, 204]
    assert picture[:, 5, 40].tolist() == [255, 255, 255]


def test_grey_alpha_and_transparent_colours(decoded):
    assert color(decoded(encoded(Image.new("LA", (8, 8), (0, 102)), "PNG"))) == [153, 153, 153]
    picture = decoded(encoded(corner(), "PNG", transparency=MARKER))
    assert picture[:, 4, 4].tolist() == [255, 255, 255] and picture[:, 20, 20].tolist() == [20, 20, 200]
    palette = corner().quantize(4)
    picture = decoded(encoded(palette, "GIF", transparency=palette.getpixel((4, 4))))
    assert picture[:, 4, 4].tolist() == [255, 255, 255] and picture[:, 20, 20].tolist() == [20, 20, 200]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = decoded(encoded(palette, "PNG", transparency=bytes([0, 0, 0, 0])))
    assert color(picture) == [255, 255, 255]


def test_palette_and_one_bit(decoded):
    assert decoded(encoded(corner().quantize(4), "PNG"))[:, 4, 4].tolist() == list(MARKER)
    bits = Image.new("1", (WIDTH, HEIGHT))
    bits.paste(1, (0, 0, 16, 16))
    for kind in ("PNG", "TIFF", "BMP"):
        picture = decoded(encoded(bits, kind))
        assert picture[:, 4, 4].tolist() == [255] * 3 and picture[:, 20, 20].tolist() == [0] * 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_first_frame(decoded, kind):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), name) for name in ("red", "lime", "blue")]
    picture = decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert (np.array(color(picture)) - (255, 0, 0) <= 3).all() and picture[0].min() > 250


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_display_p3_becomes_srgb(decoded, kind):
    image = Image.new("RGB", (WIDTH, HEIGHT), (200, 60, 60))
    options = {"lossless": True} if kind == "WEBP" else {}
    red, green, blue = color(decoded(encoded(image, kind, icc_profile=profile(P3), **options)))
    assert 212 <= red <= 222 and 35 <= green <= 50 and 48 <= blue <= 58
    grey = encoded(Image.new("RGB", (8, 8), (128, 128, 128)), "PNG", icc_profile=profile(P3))
    assert all(abs(value - 128) <= 1 for value in color(decoded(grey)))


@pytest.mark.usefixtures("pillow_unused")
def test_srgb_and_broken_profiles_change_nothing(decoded):
    plain = decoded(encoded(noise(), "JPEG"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (srgb, b"nonsense" * 40, profile(P3)[:200]):
        assert torch.equal(decoded(encoded(noise(), "JPEG", icc_profile=data)), plain)


def test_rgb_profile_in_a_grey_file_is_ignored(decoded):
    for kind in ("JPEG", "PNG"):
        data = encoded(Image.new("L", (8, 8), 77), kind, icc_profile=profile(P3, curve=1.0))
        assert color(decoded(data)) == [77, 77, 77]


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF"])
def test_truncated_files_are_refused_at_every_length(decoded, kind):
    options = {"progressive": True} if kind == "progressive" else {}
    data = encoded(noise(), kind.replace("progressive", "JPEG"), **options)
    whole = decoded(data)
    ends = range(len(data)) if kind == "JPEG" else range(0, len(data), 41)
    for end in ends:
        try:
            picture = decoded(data[:end])
        except UndecodableError:
            continue
        assert torch.equal(picture, whole), end  # nothing but an end mark is missing


def test_truncated_jpeg_says_so(decoded):
    data = encoded(noise(), "JPEG")
    for end in (len(data) // 2, len(data) - 2, len(data) - 1):
        with pytest.raises(UndecodableError, match=r"^truncated$"):
            decoded(data[:end])
    thumbnail = b"Exif\0\0" + exif(1).tobytes()[6:] + b"\xff\xd8\xff\xd9"  # with an end mark of its own
    for whole in (data, encoded(noise(), "JPEG", exif=thumbnail)):
        with pytest.raises(UndecodableError, match=r"^truncated$"):
            decoded(whole[: len(whole) // 2] + bytes(2 * len(whole)))  # a download of preset length


def test_trailing_junk_is_no_truncation(decoded):
    for data in (encoded(noise(), "JPEG"), encoded(noise(), "PNG")):
        assert torch.equal(decoded(data + b"junk" * 100), decoded(data))


@pytest.mark.parametrize("options", [{}, {"exif": exif(6)}])
def test_pillow_is_asked_where_torchvision_fails_or_is_gone(decoded, options, monkeypatch):
    def refuse(*_):
        raise RuntimeError("unsupported")

    data = encoded(noise(), "JPEG", **options)
    expected = decoded(data)
    for replacement in (refuse, None):
        monkeypatch.setattr(module, "_jpeg_decoder", lambda replacement=replacement: replacement)
        assert torch.equal(decoded(data), expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"Some text.\n" * 9, "not a picture"),
        (b"\xff", "not a picture"),
        (b"%!PS-Adobe-3.0", "a document"),
        (b"\xff\xd8", "truncated"),
    ],
)
def test_what_is_no_picture(decoded, data, reason):
    with pytest.raises(UndecodableError, match=reason):
        decoded(data)


def test_what_is_no_file(tmp_path, monkeypatch):
    for path, reason in ((tmp_path, "not a file"), (tmp_path / "none.jpg", "no such file")):
        with pytest.raises(UndecodableError, match=reason):
            decode(path)

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(), "PNG"))
    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UndecodableError, match=r"^permission denied$"):
        decode(path)


def test_pixel_limit_is_checked_before_decoding(decoded, monkeypatch):
    with pytest.raises(UndecodableError, match=r"^8000 x 90000 pixels, over the limit of 178956970$"):
        decoded(png_header(8000, 90000))
    jpeg = bytearray(encoded(noise(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 50000)
    monkeypatch.setattr(module, "_jpeg_decoder", lambda: lambda _: pytest.fail("decoded"))
    with pytest.raises(UndecodableError, match=r"^50000 x 60000 pixels, over the limit"):
        decoded(bytes(jpeg))
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP"):
        with pytest.raises(UndecodableError, match=r"^48 x 32 pixels, over the limit of 1535$"):
            decoded(encoded(noise(), kind), max_pixels=1535)
        monkeypatch.undo()
        assert decoded(encoded(noise(), kind), max_pixels=1536).shape == (3, HEIGHT, WIDTH)


def test_large_pictures_under_the_limit_raise_no_warning(decoded):
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UndecodableError, match="truncated"):  # and so not refused for its size
            decoded(png_header(10000, 10000))
    assert before == Image.MAX_IMAGE_PIXELS


def test_warning_filters_are_left_as_they_were(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(), "PNG"))
    before = list(warnings.filters)
    start = threading.Barrier(4)

    def work(_):
        start.wait()
        for _ in range(50):
            decode(path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert list(warnings.filters) == before


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_damaged_files_raise_nothing_else(decoded, kind):
    rng = np.random.default_rng(1)
    image = noise(24, 16)
    options = {"exif": exif(6), "icc_profile": profile(P3)} if kind in ("JPEG", "PNG", "TIFF") else {}
    data = encoded(image, kind, **options)
    refused = []
    for trial in range(150):
        damaged = np.frombuffer(data, np.uint8).copy()
        reach = len(damaged) if trial % 2 else min(len(damaged), 120)  # headers matter most
        damaged[rng.integers(2, reach, 4)] = rng.integers(0, 256, 4)
        try:
            picture = decoded(damaged.tobytes(), max_pixels=1_000_000)
        except UndecodableError as error:
            refused.append(str(error))
        else:
            assert picture.dtype == torch.uint8 and picture.dim() == 3 and picture.shape[0] == 3
    assert refused and all(0 < len(reason) < 120 and "\n" not in reason for reason in refused)


def test_fit_square_takes_the_centre():
    picture = torch.zeros(3, 60, 200, dtype=torch.uint8)
    picture[:, :, 70:130] = torch.tensor([10, 120, 240], dtype=torch.uint8)[:, None, None]
    picture[:, :, :70] = 255
    for wide in (picture, picture.transpose(1, 2)):
        for size in (15, 60, 90):
            square = fit_square(wide, size)
            assert square.shape == (3, size, size) and square.dtype == torch.uint8
            assert (square == torch.tensor([10, 120, 240])[:, None, None]).all()


def test_fit_square_is_antialiased():
    stripes = torch.zeros(3, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::4] = 255
    assert (fit_square(stripes, 8)[:, :, 1:-1].int() - 64).abs().max() <= 3


def test_fit_square_returns_its_size_unchanged_and_no_view_of_others():
    picture = torch.from_numpy(np.array(noise(32, 32))).permute(2, 0, 1)
    assert torch.equal(fit_square(picture, 32), picture) and fit_square(picture, 32).is_contiguous()
    wide = torch.from_numpy(np.array(noise(320, 32))).permute(2, 0, 1)
    square = fit_square(wide, 32)
    assert torch.equal(square, wide[:, :, 144:176]) and square.is_contiguous()
    assert square.untyped_storage().nbytes() == 3 * 32 * 32


def test_fit_square_of_extreme_shapes():
    for shape in ((3, 3, 400_000), (3, 400_000, 3), (3, 1, 1)):
        picture = torch.full(shape, 9, dtype=torch.uint8)
        assert (fit_square(picture, 64) == 9).all()


@pytest.mark.parametrize(("error", "kind"), [(OSError(13, "Permission denied"), UnreadableError),
                                             (MemoryError(), UndecodableError)])  # fmt: skip
def test_only_what_may_be_readable_later_is_called_unreadable(tmp_path, monkeypatch, error, kind):
    """A photograph that is too large for the memory while others are decoded would be read again at every start."""
    (tmp_path / "x.jpg").touch()

    def fail(*_):
        raise error

    monkeypatch.setattr(module, "_decode_stream", fail)
    with pytest.raises(UndecodableError) as caught:
        decode(tmp_path / "x.jpg")
    assert type(caught.value) is kind
