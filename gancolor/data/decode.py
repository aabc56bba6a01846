"""Decoding of picture files to upright sRGB tensors, whatever the file format, and fitting to squares."""

import logging
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from gancolor.utils.errors import InputError, shown

Fit = Literal["crop", "squash"]  # how a photograph becomes a square

# Pillow's names of the file formats that are decoded here. `read_picture` decodes others.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
MAX_PIXELS = 178_956_970  # Pillow's own limit, against decompression bombs: half a gigabyte of RGB

# JPEG segments that don't need Pillow: frame headers, tables, JFIF, comments and APP3 to APP14, but not APP1 and APP2
# (EXIF, XMP and colour profiles).
_PLAIN_SEGMENTS = frozenset([0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, *range(0xE3, 0xEF), 0xFE])
_UNKNOWN = "not a picture, or of an unknown format"
_DECODERS = ("ignore", None, Warning, re.compile(r"(PIL|torchvision)\."), 0)  # an entry of warnings.filters

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else errors that it logs and raises are also printed


class UndecodableError(ValueError):
    """A file can't be decoded. The message is a short reason, without the file's name."""


class UnreadableError(UndecodableError):
    """A file can't be decoded now, for a reason that may pass: it can't be read, or the memory is full."""


def decode(path: Path, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode a picture file. The file format is recognized by the contents, not by the suffix.

    EXIF orientations are applied, colour profiles converted to sRGB (broken ones ignored), transparent pictures
    composited on white, and 16-bit samples reduced to 8 bits. Of an animation, the first frame is decoded. Other
    formats (HEIC, JPEG 2000, TGA, ...) are decoded as for colouring.

    Args:
        max_pixels: reject a file whose header states more, before decoding, or in rarer formats after it. (Pillow's own
            limit, the default here, always applies to WebP and to parts of GIF and TIFF files.)

    Returns:
        uint8 (3, height, width) sRGB, often a view of (height, width, 3) memory.

    Raises:
        UndecodableError: the file can't be read (UnreadableError), is not a picture, is damaged or truncated, or has
            too many pixels.
    """
    try:
        if not path.is_file():  # opening a pipe would block
            raise UndecodableError("not a file" if path.exists() else "no such file")
        with path.open("rb") as stream, _quiet():
            return _decode_stream(stream, max_pixels)
    except UndecodableError:
        raise
    except Exception as error:  # decoders raise almost any exception on damaged files
        temporary = isinstance(error, OSError) and error.strerror
        raise (UnreadableError if temporary else UndecodableError)(_reason(error)) from error


def decode_bytes(data: bytes, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode the contents of a picture file; see `decode`."""
    try:
        with _quiet():
            return _decode_stream(BufferedReader(BytesIO(data)), max_pixels)
    except UndecodableError:
        raise
    except Exception as error:
        raise UndecodableError(_reason(error)) from error


def upright_size(path: Path | BytesIO) -> tuple[int, int]:
    """Read the height and width [pixels] of a picture file, or its contents, from the header (rarer formats are
    decoded); EXIF orientations are applied.

    Raises:
        UndecodableError: the file is not a picture, or can't be read.
    """
    try:
        with _quiet(), Image.open(path, formats=_FORMATS) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            width, height = image.size
            if image.format == "TIFF":  # whose size Pillow states after turning them
                tags = cast(Any, image).tag_v2
                width, height = (tags[tag] for tag in (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength))
            return (width, height) if turned else (height, width)
    except UnidentifiedImageError:
        data = path.getvalue() if isinstance(path, BytesIO) else path.read_bytes()
        height, width = _decode_rarer(data, MAX_PIXELS, _UNKNOWN).shape[1:]
        return height, width
    except Exception as error:
        raise UndecodableError(_reason(error)) from error


def fit_square(picture: Tensor, size: int, fit: Fit = "crop") -> Tensor:
    """Resize the centre square of a uint8 (3, height, width) picture, or with "squash" all of it (bilinear,
    antialiased).

    Returns:
        uint8 (3, size, size), contiguous, never a view of a larger picture.
    """
    height, width = picture.shape[-2:]
    if height == width == size:
        return picture.contiguous()
    if fit == "squash":
        return _resize(picture, size)
    # Crop before resizing: enlarging the short side of 4000 x 3 pixels first would fill the memory.
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[:, top : top + side, left : left + side]
    if side == size:
        # Not a view, which would keep the whole picture in memory.
        return square.clone(memory_format=torch.contiguous_format)
    return _resize(square, size)


def _resize(picture: Tensor, size: int) -> Tensor:
    return F.interpolate(picture[None], (size, size), mode="bilinear", antialias=True)[0].contiguous()


# Inference reads files with libvips (inference/image_files), which keeps bit depth, alpha and metadata. Training
# does not, because that would change its photographs and which files it rejects. libvips converts CMYK without a
# profile by a printing press's profile (pure red becomes R = 232, not 255). RGB JPEGs and PNGs would look the same, but
# JPEGs with EXIF would take three times as long (366 instead of 1,105 photographs of 400 x 300 per second and core,
# resized to 128 x 128), and PNGs as long as now (277 and 271).
def _decode_stream(stream: BufferedReader, max_pixels: int) -> Tensor:
    start = stream.peek(16)[:16]
    jpeg = bytearray(stream.read() if start[:2] == b"\xff\xd8" else b"")  # torch warns about read-only bytes
    size, scan = _survey_jpeg(jpeg)
    if jpeg and jpeg.rfind(b"\xff\xd9", scan) < 0:  # no end marker: the decoder would fill in missing pixels
        raise UndecodableError("truncated")
    # Plain JPEGs bypass Pillow: to open a small file with it takes a fifth of the time of decoding it.
    decode_jpeg = _jpeg_decoder() if jpeg else None
    try:
        image: Any = None if size and decode_jpeg else _open(stream, start)
    except (SyntaxError, UndecodableError) as error:
        if isinstance(error, SyntaxError) and start[:2] not in (b"II", b"MM"):  # but Pillow does not read every TIFF
            raise
        stream.seek(0)
        name = getattr(stream, "name", None)
        return _decode_rarer(Path(name) if isinstance(name, str) else stream.read(), max_pixels, _reason(error))
    width, height = size or image.size
    if width * height > max_pixels:
        raise UndecodableError(f"{width} x {height} pixels, over the limit of {max_pixels}")
    profile = image.info.get("icc_profile", b"") if image else b""
    # Pillow decodes PNG: torchvision is a tenth faster, but prints libpng's warnings and drops transparency.
    fit = image is None or (jpeg and image.mode in ("RGB", "L") and _to_srgb(profile, image.mode) is None)
    if fit and decode_jpeg:
        try:
            picture = decode_jpeg(torch.frombuffer(jpeg, dtype=torch.uint8))
            return _upright(picture, image) if image else picture
        except RuntimeError:
            image = image or _open(stream, start)  # Pillow reads some of these, or reports why it can't
    image.load()
    flat = _flatten(image, str(getattr(stream, "name", "a picture")))
    transform = _to_srgb(profile, flat.mode)
    rgb = np.array(ImageCms.applyTransform(flat, transform) if transform else flat.convert("RGB"))
    return _upright(torch.from_numpy(rgb).permute(2, 0, 1), image)


@lru_cache(maxsize=1)
def _jpeg_decoder() -> Callable[[Tensor], Tensor] | None:
    """Return torchvision's JPEG decoder, set to return RGB, or None if torchvision has none (deprecated since 0.29).
    Pillow's decoder returns the same pixels, but is slower.

    It is imported here, because torchvision takes longer to import than torch, and a run whose photographs are already
    decoded does not need it.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:
        return None
    return partial(decode_jpeg, mode=ImageReadMode.RGB)


def _survey_jpeg(data: bytearray) -> tuple[tuple[int, int] | None, int]:
    """Return (width, height) of an 8-bit grey or colour JPEG without EXIF, XMP or profile, else None; and the offset
    where the scan begins."""
    size, plain, at = None, True, 2
    while at + 10 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):
            bits, height, width, parts = struct.unpack_from(">BHHB", data, at + 4)
            size = (width, height) if bits == 8 and parts in (1, 3) else None
        plain = plain and marker in _PLAIN_SEGMENTS
        at += 1 if marker == 0xFF else 2 + length  # 0xFF: padding
    return size if plain else None, at


def _open(stream: BufferedReader, start: bytes) -> Any:
    """Open a picture without Image.open, which has its own limit on pixels and hides why it rejects a file."""
    Image.init()
    for factory, accept in (Image.OPEN[name] for name in _FORMATS if name in Image.OPEN):
        if accept and accept(start) is True:
            stream.seek(0)
            return factory(stream, "")
    raise UndecodableError(_UNKNOWN if start else "empty")


def _decode_rarer(source: Path | bytes, max_pixels: int, reason: str) -> Tensor:
    """Decode a file that Pillow could not open for this reason, as for colouring."""
    # It imports libvips, which most data sets don't need.
    from gancolor.inference.image_files.reading import UnknownFormatError, read_picture

    try:
        image = read_picture(source).pil()
    except UnknownFormatError:
        raise UndecodableError(reason) from None
    except InputError as error:
        other = str(error).removeprefix("the picture: ").removeprefix(f"{shown(source)}: ")
        raise UndecodableError(other if reason == _UNKNOWN else reason) from None
    if image.width * image.height > max_pixels:
        raise UndecodableError(f"{image.width} x {image.height} pixels, over the limit of {max_pixels}")
    return torch.from_numpy(np.array(_flatten(image, "a picture").convert("RGB"))).permute(2, 0, 1)


def _upright(picture: Tensor, image: Image.Image) -> Tensor:
    """Apply the EXIF orientation (torchvision's own code misses one that follows XMP data)."""
    orientation = 1
    with suppress(Exception):  # damaged EXIF is no reason to reject the picture
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in (5, 6, 7, 8):
        picture = picture.transpose(1, 2)
    mirrored = [dim for dim, turns in ((1, (3, 4, 7, 8)), (2, (2, 3, 6, 7))) if orientation in turns]
    return picture.flip(mirrored) if mirrored else picture


def _flatten(image: Image.Image, name: str) -> Image.Image:
    """Convert to mode L, RGB or CMYK, in the colour space of the image's profile. `name`: for warnings."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):  # of unknown range
            from gancolor.inference.image_files.samples import to_16_bits  # imports libvips

            values = to_16_bits(values[..., None], name)[..., 0]
        return Image.fromarray(np.rint(values.astype(np.float32) / 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> Any:
    """Return the transform from a colour profile to sRGB; None if the profile is missing, broken, made for other modes,
    or sRGB itself."""
    try:
        how = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        colors = BytesIO(profile), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(*colors, mode, "RGB", *how)
        levels = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1).reshape(18, -1, 3)
        probe = Image.fromarray(levels).convert(mode)
        seen = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int)
    except Exception:
        return None
    # Many sRGB profiles exist: they are recognized by what they do, not by their names.
    return transform if np.abs(seen - np.asarray(probe.convert("RGB"))).max() > 2 else None


def _reason(error: Exception) -> str:
    if isinstance(error, UndecodableError):
        return str(error)
    if isinstance(error, (MemoryError, Image.DecompressionBombError)):
        return "too large"
    if isinstance(error, OSError) and error.strerror:  # from the operating system
        return error.strerror.lower()
    text = " ".join(str(error).split())
    return "truncated" if "truncated" in text.lower() else f"damaged ({text[:80] or type(error).__name__})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Pillow's warnings, and torchvision's that its decoders are deprecated. (When threads overlap,
    warnings.catch_warnings would restore the wrong filters.)"""
    filters = cast(list[tuple], warnings.filters)
    filters.insert(0, _DECODERS)
    try:
        yield
    finally:
        with suppress(ValueError):
            filters.remove(_DECODERS)
