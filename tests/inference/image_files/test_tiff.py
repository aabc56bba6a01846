"""TIFFs whose tags matter: the kinds of Lab, truncated ones, cameras' raw files."""

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
import tifffile
from made_pictures import scene
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from gancolor.inference.image_files import from_pil, read_picture
from gancolor.utils.errors import InputError

LAB = rgb2lab(scene())
# Kind and depth -> white's code, zero and unit of a and b. https://www.awaresystems.be/imaging/tiff/tifftags/photometricinterpretation.html
CODES = {
    ("cielab", 8): (255, (0, 0), (1, 1)),
    ("cielab", 16): (65535, (0, 0), (256, 256)),
    ("icclab", 8): (255, (128, 128), (1, 1)),
    ("icclab", 16): (65280, (32768, 32768), (256, 256)),
    ("itulab", 8): (255, (128, 96), (255 / 170, 255 / 200)),
}


def tiff(samples: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, **options)
    return stream.getvalue()


def lab_samples(kind: str, bits: int) -> np.ndarray:
    white, zero, unit = CODES[kind, bits]
    codes = np.stack([LAB[..., 0] * white / 100, *(LAB[..., 1 + i] * unit[i] + zero[i] for i in (0, 1))], -1)
    least = -(2 ** (bits - 1)) if kind == "cielab" else 0
    codes[..., 1:] = codes[..., 1:].clip(least, least + 2**bits - 1)
    return np.round(codes).astype(np.int64).astype(f"uint{bits}")


@pytest.mark.parametrize(("kind", "bits"), CODES)
@pytest.mark.parametrize("alpha", [False, True])
def test_lab(kind: str, bits: int, alpha: bool) -> None:
    samples, options = lab_samples(kind, bits), {"photometric": kind}
    if alpha:
        transparency = np.full((60, 90, 1), 2**bits // 3, samples.dtype)
        samples, options = np.concatenate([samples, transparency], -1), {**options, "extrasamples": ["unassalpha"]}
    if kind == "cielab" and not alpha:
        signed = samples.view(f"int{bits}")
        assert (
            read_picture(tiff(signed, photometric=kind)).pixels == read_picture(tiff(samples, **options)).pixels
        ).all()
    for more in ({}, {"byteorder": ">", "compression": "zlib"}, {"bigtiff": True, "planarconfig": "contig"}):
        picture = read_picture(tiff(samples, description="a boat", **options, **more))
        assert picture.pixels.dtype == samples.dtype
        off = np.abs(rgb2lab(picture.pixels / np.iinfo(samples.dtype).max) - LAB)
        assert off[..., 0].max() < 0.5
        assert off[..., 1:].mean() < 1
        assert picture.alpha is None if not alpha else (picture.alpha == transparency).all()
        assert "image-description" in picture.metadata


def test_lab_of_pillow() -> None:
    image = Image.fromarray(scene())
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = from_pil(ImageCms.profileToProfile(image, *profiles, outputMode="LAB"))
    assert np.abs(rgb2lab(picture.pixels) - LAB)[..., 0].mean() < 0.5


@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 7}, {"byteorder": ">"}, {"compression": "zlib"}]
)
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_truncated_files_are_named(options: dict[str, Any], photometric: str) -> None:
    samples = scene(64, 96, "uint16")
    data = tiff(samples if photometric == "rgb" else samples[..., 0], photometric=photometric, **options)
    assert (read_picture(data).pixels == samples[..., : 3 if photometric == "rgb" else 1]).all()
    for length in (len(data) - 1, len(data) // 2):
        with pytest.raises(InputError, match="the picture: truncated"):
            read_picture(data[:length])


def test_raw_files_are_refused() -> None:
    preview = tiff(scene(), photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), False)])
    with pytest.raises(InputError, match="a camera's raw file: develop it"):
        read_picture(preview)


def test_64_bits_are_refused_in_plain_words() -> None:
    with pytest.raises(InputError, match="more than 32 bits: save it with 32 or 16"):
        read_picture(tiff(scene(dtype="float64"), photometric="rgb"))


@pytest.mark.parametrize("compression", ["zstd", "lzma"])
def test_compression_that_libvips_lacks_is_refused_and_not_read_as_black(compression: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(scene()).save(stream, "TIFF", compression=compression)
    with pytest.raises(InputError, match="the picture: not a readable picture"):
        read_picture(stream.getvalue())


def test_planes_that_libvips_misreads_are_refused() -> None:
    grey, alpha = scene()[..., 0], scene()[..., 1]
    data = tiff(np.stack([grey, alpha]), photometric="minisblack", planarconfig="separate", extrasamples=[2])
    with pytest.raises(InputError, match="in separate planes, which libvips misreads: save it without them"):
        read_picture(data)


@pytest.mark.parametrize("layout", [{"tile": (64, 64)}, {"rowsperstrip": 64}])
def test_damage_inside_compressed_pixels_is_refused(layout: dict[str, Any]) -> None:
    data = bytearray(tiff(scene(256, 256), photometric="rgb", compression="zlib", **layout))
    assert read_picture(bytes(data)).size == (256, 256)
    data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
    with pytest.raises(InputError, match="the picture: not a readable picture"):
        read_picture(bytes(data))


def test_tiles_that_are_left_out_are_black() -> None:
    data = bytearray(tiff(np.full((64, 64, 3), 90, np.uint8), photometric="rgb", tile=(32, 32)))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = file.pages[0].tags[name]
            struct.pack_into({3: "<H", 4: "<I"}[tag.dtype], data, tag.valueoffset, 0)
    pixels = read_picture(bytes(data)).pixels
    assert (pixels[:32, :32] == 0).all() and (pixels[32:] == 90).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_of_cmyk_is_kept(dtype: type) -> None:
    samples = np.full((40, 40, 5), 99, dtype)
    samples[..., 4] *= np.arange(40, dtype=dtype) % 3
    picture = read_picture(tiff(samples, photometric="separated", extrasamples=[2]))
    assert picture.alpha is not None and (picture.alpha[..., 0] == samples[..., 4]).all()


def test_tiles_of_a_compression_that_libvips_lacks_are_refused() -> None:
    with pytest.raises(InputError, match="the picture: not a readable picture"):
        read_picture(tiff(scene(64, 64), photometric="rgb", compression="lzma", tile=(32, 32)))


@pytest.mark.parametrize(
    ("colours", "options"),
    [(3, {}), (1, {}), (1, {"compression": "zlib", "tile": (16, 16)}), (3, {"planarconfig": "separate"})],
)
@pytest.mark.parametrize(
    ("extra", "place"), [([0], None), ([2], 0), ([0, 2], 1), ([2, 0], 0), ([0, 0], None), ([0, 0, 2], 2)]
)
def test_only_what_is_declared_as_transparency_becomes_alpha(
    colours: int, options: dict[str, Any], extra: list[int], place: int | None
) -> None:
    pixels = scene()[..., :colours]
    channels = [np.full((60, 90, 1), 40 + 50 * i, np.uint8) for i in range(len(extra))]
    samples = np.concatenate([pixels, *channels], -1)
    planes = np.moveaxis(samples, -1, 0) if options.get("planarconfig") == "separate" else samples
    data = tiff(planes, photometric="rgb" if colours == 3 else "minisblack", extrasamples=extra,
                **{"planarconfig": "contig", **options})  # fmt: skip
    left_out = len(extra) - (place is not None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = read_picture(data)
    assert (picture.pixels == pixels).all()
    assert picture.alpha is None if place is None else (picture.alpha == channels[place]).all()
    assert picture.left_out == left_out
    said = [str(warning.message) for warning in caught]
    counted = f"{left_out} channel" + "s" * (left_out > 1)
    assert said == ([f"the picture: {counted} left out: neither colour nor transparency"] if left_out else [])
