"""Colouring of one upload, from bytes to bytes."""

import io
import warnings
from dataclasses import dataclass, replace

import pyvips
from PIL import Image

from gancolor.choices import PictureFormat
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.hints import parse_hints
from gancolor.inference.image_files import PILLOWS, Picture, read_picture
from gancolor.serve.limits import MEGA
from gancolor.serve.options import RequestOptions
from gancolor.utils.errors import InputError

MEDIA_TYPES: dict[PictureFormat, str] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
}
# libvips's loader -> format, for those that can be written too. Of libheif's, AVIF can.
FORMATS: dict[str, PictureFormat] = {
    "jpegload_buffer": "jpg",
    "pngload_buffer": "png",
    "webpload_buffer": "webp",
    "tiffload_buffer": "tiff",
}


class TooLargeError(InputError):
    """The photograph has too many pixels."""


@dataclass(frozen=True)
class Coloured:
    """The file of a coloured photograph, its format, and what was passed over."""

    data: bytes
    format: PictureFormat
    notes: tuple[str, ...]


def colour(colorizer: Colorizer, data: bytes, options: RequestOptions, megapixels: int) -> Coloured:
    """Colour a photograph's file.

    Raises:
        TooLargeError: it has more than so many megapixels; nothing is decoded then.
        InputError: it can't be read or written, or the hints are wrong.
        MemoryError: memory is full.
    """
    width, height, own = inspect(data)
    if width * height > megapixels * MEGA:
        raise TooLargeError(f"{width} x {height} pixels are more than {megapixels} megapixels; send a smaller picture")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        picture = _coloured(colorizer, read_picture(data), options)
        kind = own if options.format == "keep" else options.format
        coloured = picture.encode(f".{kind}", options.quality)
    notes = [str(warning.message) for warning in caught if warning.category is UserWarning]
    if picture.pages > 1:
        notes.append(f"the first of {picture.pages} pages is coloured")
    return Coloured(coloured, kind, tuple(dict.fromkeys(notes)))


def _coloured(colorizer: Colorizer, picture: Picture, options: RequestOptions) -> Picture:
    hints = parse_hints(options.hints, "hints", picture.size) if options.hints is not None else ()
    chosen = replace(
        colorizer, size=options.size or colorizer.size, strength=options.strength,
        upsampling=options.upsampling, flips=options.flips,
    )  # fmt: skip
    result: Picture = chosen(picture, hints)
    return result


def inspect(data: bytes) -> tuple[int, int, PictureFormat]:
    """Return a picture's width, height and the format that `keep` writes, by its header.

    Raises:
        InputError: it is not a picture.
    """
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
    except pyvips.Error:
        return *_by_pillow(data), "png"
    loader = image.get("vips-loader")
    avif = loader == "heifload_buffer" and image.get("heif-compression") == "av1"
    return image.width, image.height, "avif" if avif else FORMATS.get(loader, "png")


def _by_pillow(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data), formats=PILLOWS) as image:
            return image.size
    except Image.DecompressionBombError:
        raise TooLargeError("the picture has too many pixels; send a smaller one") from None
    except (OSError, ValueError, SyntaxError):  # Pillow's for damaged files
        raise InputError("the picture: not a readable picture (damaged, or of an unknown format)") from None
