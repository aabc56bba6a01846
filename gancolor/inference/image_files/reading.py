"""Reading of photographs from files and from Pillow images."""

import io
import os
import threading
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image, UnidentifiedImageError

from gancolor.inference.image_files.color import to_srgb
from gancolor.inference.image_files.exif import with_block
from gancolor.inference.image_files.formats import DOCUMENT, LOADERS, PILLOWS, SUFFIXES, UNKNOWN, advice, unreadable
from gancolor.inference.image_files.heif import decode_hevc, is_hevc
from gancolor.inference.image_files.metadata import ORIENTATION, kept_metadata
from gancolor.inference.image_files.picture import Picture, one_line
from gancolor.inference.image_files.samples import from_array, to_16_bits, to_array
from gancolor.inference.image_files.texts import texts_of
from gancolor.inference.image_files.tiff import CIELAB, Tags, lab_to_srgb
from gancolor.utils.errors import InputError, shown
from gancolor.utils.words import counted

MOST_MEGAPIXELS = 500  # of a photograph: more is a mistake, or an attack on memory
_PILLOWS_LIMIT = threading.Lock()  # held while `Image.MAX_IMAGE_PIXELS` is changed


class TooManyPixelsError(InputError):
    """The photograph is too large. None of it has been decoded."""


class UnknownFormatError(InputError):
    """The file is not a picture, or of a format that is not known at all."""


def read_picture(source: str | Path | bytes, megapixels: int = MOST_MEGAPIXELS) -> Picture:
    """Read the first picture of a file, or of a file's bytes, as upright sRGB.

    The EXIF orientation is applied, and the profile converted to sRGB (colours outside sRGB are clipped). Floats and
    32-bit integers have no fixed range: they are read as sRGB in 0..1, 0..255, 0..65535 or 0..4294967295, the first
    that holds nearly all of them; a warning names those that are clipped.

    Raises:
        TooManyPixelsError: it has more than `megapixels` megapixels.
        InputError: the file is missing, not a picture, or damaged.
    """
    name = "the picture" if isinstance(source, bytes) else shown(source)
    try:
        return _read(source, name, megapixels)
    except InputError as error:
        raise type(error)(f"{name}: {error}") from None
    except pyvips.Error as error:
        raise InputError(f"{name}: not a readable picture ({one_line(error)})") from None


def decoded_bytes(path: Path) -> int:
    """Return the bytes that a picture takes when decoded, by its header; the file's size if libvips can't read it; 0 if
    it is gone."""
    with suppress(pyvips.Error):
        image = _open(path)
        return int(image.width * image.height * image.bands * (1 if image.format in ("uchar", "char") else 2))
    with suppress(OSError):
        return path.stat().st_size
    return 0


def from_pil(image: Image.Image) -> Picture:
    """Convert a Pillow image of any mode; its profile and EXIF orientation are applied as in `read_picture`.

    Raises:
        InputError: the image is empty, closed, or cannot be decoded.
    """
    try:
        return _from_pil(image, "the picture")
    # Pillow decodes lazily: a damaged file fails only here.
    except (OSError, SyntaxError, ValueError, pyvips.Error) as error:
        raise InputError(f"the picture can't be read ({str(error).splitlines()[0]})") from None


def _read(source: str | Path | bytes, name: str, megapixels: int) -> Picture:
    """Read a file. The messages of errors don't name it."""
    if not isinstance(source, bytes):
        if not os.path.lexists(source):  # before the others, which raise OSError for a name that is too long
            raise InputError("no such file")
        if not Path(source).is_file():
            raise InputError("a folder" if Path(source).is_dir() else "no such file")
        try:
            Path(source).open("rb").close()
        except OSError as error:
            raise InputError(error.strerror) from None
    tags = Tags(source)
    if tags.problem:
        raise InputError(tags.problem)
    if tags.lab == CIELAB:
        source = tags.as_icclab(source if isinstance(source, bytes) else Path(source).read_bytes())
    try:
        image = _open(source, fail_on="warning" if tags.tiled else "error")  # libvips only warns of damaged tiles
    except pyvips.Error as error:
        if not error.message.startswith("unable to load"):  # libvips has a loader for it
            raise
        return _by_pillow(source, name, megapixels)
    if not image.get("vips-loader").startswith(LOADERS):
        raise InputError(f"not a readable picture ({advice(DOCUMENT)})")
    _check_size(image.width, image.height, megapixels)
    if is_hevc(image):
        return _picture(decode_hevc(image, source), name)
    if tags.iptc:
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, "iptc-data", tags.iptc)
    if tags.exif:
        image = with_block(image, tags.exif)
    suffix = SUFFIXES.get(image.get("vips-loader").partition("load")[0])
    known = tags.without_unknown(image)
    if left_out := image.bands - known.bands:
        warnings.warn(f"{name}: {counted(left_out, 'channel')} left out: neither colour nor transparency", stacklevel=3)
    picture = _picture(known, name, tags.lab)
    return replace(picture, suffix=suffix, texts=texts_of(source, suffix), left_out=left_out)


def _check_size(width: int, height: int, megapixels: int) -> None:
    if width * height > megapixels * 10**6:
        raise TooManyPixelsError(f"{width} x {height} pixels are more than {megapixels} megapixels")


def _open(source: str | Path | bytes, fail_on: str = "error") -> pyvips.Image:
    """Open a file. Libvips gets it as a source, because it takes brackets in a name for options."""
    if isinstance(source, bytes):
        bytes_of = pyvips.Source.new_from_memory(source)
    else:
        bytes_of = pyvips.Source.new_from_file(os.fsencode(source))
    return pyvips.Image.new_from_source(bytes_of, "", access="sequential", fail_on=fail_on)


def _by_pillow(source: str | Path | bytes, name: str, megapixels: int) -> Picture:
    """Read a format that this build of libvips does not support."""
    try:
        with _open_by_pillow(source) as image:
            _check_size(*image.size, megapixels)
            return _from_pil(image, name)
    except UnidentifiedImageError:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            reason = unreadable(file.read(32))
    except TooManyPixelsError:
        raise
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's for damaged files
        reason = str(error).splitlines()[0]
    kind = UnknownFormatError if reason.startswith(UNKNOWN) else InputError
    raise kind(f"not a readable picture ({reason})")


def _open_by_pillow(source: str | Path | bytes) -> Image.Image:
    """Read a file's header, whatever Pillow's own limit of pixels."""
    with _PILLOWS_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=PILLOWS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _from_pil(image: Image.Image, name: str) -> Picture:
    image.load()
    pixels = _pillows_pixels(image, name)
    if not pixels.size:
        raise InputError("it has no pixels")
    vips = from_array(pixels).copy(**({"interpretation": "cmyk"} if image.mode == "CMYK" else {}))
    if profile := image.info.get("icc_profile"):
        vips.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    if (frames := getattr(image, "n_frames", 1)) > 1:
        vips.set_type(pyvips.GValue.gint_type, "n-pages", frames)
    if orientation := image.getexif().get(ORIENTATION):
        vips.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return _picture(vips, name, CIELAB if image.mode == "LAB" else None)


def _pillows_pixels(image: Image.Image, name: str) -> np.ndarray:
    """Return (H, W, C) as uint8 or uint16: grey, RGB, CMYK or CIELAB, with alpha if there is any."""
    if image.mode in ("I", "F"):
        return to_16_bits(np.asarray(image)[..., None], name)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode in ("PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _picture(image: pyvips.Image, name: str, lab: int | None = None) -> Picture:
    """Convert an image to upright sRGB.

    Args:
        lab: photometric interpretation of a TIFF's samples of Lab.
    """
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    metadata = kept_metadata(image, name)
    if image.get_typeof("orientation") and image.get("orientation") != 1:
        image = image.copy_memory().autorot()
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    if lab:
        image = lab_to_srgb(to_array(image), lab)
    else:
        if image.format not in ("uchar", "ushort") and image.interpretation != "lab":
            image = from_array(to_16_bits(to_array(image), name)).copy()
            if profile:
                image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        image = to_srgb(image, profile)
    pixels = to_array(image)
    channels = 3 if pixels.shape[-1] >= 3 else 1
    alpha = pixels[..., channels : channels + 1] if pixels.shape[-1] > channels else None
    if alpha is not None and (alpha == np.iinfo(alpha.dtype).max).all() and not image.hasalpha():
        alpha = None
    return Picture(np.ascontiguousarray(pixels[..., :channels]), alpha, metadata, profile is not None, pages)
