"""Colouring of one upload, from bytes to bytes."""

import warnings
from dataclasses import dataclass, replace

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
# Suffix of the upload's contents -> format that `keep` writes; others become png.
FORMATS: dict[str | None, PictureFormat] = {
    ".jpg": "jpg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".avif": "avif",
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
        TooManyPixelsError: it has more than `megapixels` megapixels.
        InputError: it can't be read or written, or the hints are wrong.
        MemoryError: memory is full.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        picture = _coloured(colorizer, read_picture(data, megapixels), options)
        kind = FORMATS.get(picture.suffix, "png") if options.format == "keep" else options.format
        coloured = picture.encode(f".{kind}", options.quality)
    notes = [str(warning.message) for warning in caught if warning.category is UserWarning]
    if picture.pages > 1:
        notes.append(picture.pages_note)
    return Coloured(coloured, kind, tuple(dict.fromkeys(notes)))


def _coloured(colorizer: Colorizer, picture: Picture, options: RequestOptions) -> Picture:
    hints = parse_hints(options.hints, "hints", picture.size) if options.hints is not None else ()
    chosen = replace(
        colorizer, size=options.size or colorizer.size, strength=options.strength,
        upsampling=options.upsampling, flips=options.flips, disclosure=options.disclosure,
    )  # fmt: skip
    return chosen(picture, hints)
