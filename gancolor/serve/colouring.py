"""Colouring of one upload, from bytes to bytes."""

import warnings
from dataclasses import dataclass, replace

import pyvips

from gancolor.choices import PictureFormat
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.hints import parse_hints
from gancolor.inference.image_files import Picture, read_picture
from gancolor.serve.options import RequestOptions

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
    "uhdrload_buffer": "jpg",  # Ultra HDR
    "pngload_buffer": "png",
    "webpload_buffer": "webp",
    "tiffload_buffer": "tiff",
}


@dataclass(frozen=True)
class Coloured:
    """The file of a coloured photograph, its format, and what was ignored."""

    data: bytes
    format: PictureFormat
    notes: tuple[str, ...]


def colour(colorizer: Colorizer, data: bytes, options: RequestOptions, megapixels: int) -> Coloured:
    """Colour a photograph's file.

    Raises:
        TooManyPixelsError: it has more than so many megapixels.
        InputError: it can't be read or written, or the hints are wrong.
        MemoryError: memory is full.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        picture = _coloured(colorizer, read_picture(data, megapixels), options)
        kind = format_of(data) if options.format == "keep" else options.format
        coloured = picture.encode(f".{kind}", options.quality)
    notes = [str(warning.message) for warning in caught if warning.category is UserWarning]
    if picture.pages > 1:
        notes.append(f"the first of {picture.pages} pages is coloured")
    return Coloured(coloured, kind, tuple(dict.fromkeys(notes)))


def _coloured(colorizer: Colorizer, picture: Picture, options: RequestOptions) -> Picture:
    hints = parse_hints(options.hints, "hints", picture.size) if options.hints is not None else ()
    chosen = replace(
        colorizer, size=options.size or colorizer.size, strength=options.strength,
        upsampling=options.upsampling, flips=options.flips, disclosure=options.disclosure,
    )  # fmt: skip
    return chosen(picture, hints)


def format_of(data: bytes) -> PictureFormat:
    """Return the format that `keep` writes: the upload's own, or png if that can't be written."""
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
    except pyvips.Error:
        return "png"
    loader = image.get("vips-loader")
    avif = loader == "heifload_buffer" and image.get("heif-compression") == "av1"
    return "avif" if avif else FORMATS.get(loader, "png")
