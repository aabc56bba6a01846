"""Photographs as they come: files of many kinds and depths, Pillow's pictures and arrays, as sRGB pixels and what is to
be kept beside them. libvips reads and writes (16 bits, profiles, metadata); nothing here knows of networks."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image, UnidentifiedImageError

from gancolor.errors import InputError, near
from gancolor.files import write_atomically

# Suffix -> libvips's saver.
FORMATS = {
    ".jpg": "jpegsave",
    ".jpeg": "jpegsave",
    ".png": "pngsave",
    ".tif": "tiffsave",
    ".tiff": "tiffsave",
    ".webp": "webpsave",
    ".avif": "heifsave",
}
QUALITY = 95
MOST_PIXELS = 500_000_000  # of a photograph: more is a mistake, or an attack on memory
# Loaders of pictures; not those of documents and programs' own formats, which libvips has as well.
LOADERS = ("jpeg", "png", "tiff", "webp", "heif", "gif", "ppm")
PILLOWS = ("BMP", "DIB", "JPEG2000", "PCX", "PPM", "TGA")  # formats read by Pillow
KEPT = ("exif-", "xmp-", "iptc-", "image-description", "png-comment-", "resolution-unit")
RESOLUTION = ("xres", "yres")  # [pixels a millimetre], which libvips keeps apart

ORIENTATION = 0x0112  # EXIF's tag

pyvips.cache_set_max(0)  # of operations: every photograph is read once


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph, upright.

    Attributes:
        pixels: sRGB (H, W, 3), or (H, W, 1) of a grey one: uint8, uint16, or float32 in [0, 1], which is written in 16
            bits.
        alpha: (H, W, 1) of the pixels' type, where there is transparency.
        metadata: EXIF, XMP, IPTC and resolution by libvips's names: (type, value).
        profiled: whether a colour profile came with it, so that one has to go with the result.
        pages: of the file, or frames; this is the first.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Mapping[str, tuple[int, Any]] = field(default_factory=dict, repr=False)
    profiled: bool = False
    pages: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def with_pixels(self, pixels: np.ndarray) -> "Picture":
        """Other pixels, with what is kept beside them."""
        return replace(self, pixels=pixels)

    def save(self, path: str | Path, quality: int = QUALITY) -> None:
        """Writes a file of the format that the name's ending says, whole or not at all.

        Args:
            quality: of formats with losses, 1 to 100; TIFF and PNG have none.

        Raises:
            InputError: a format that is not written, a picture too large for it, or no such quality.
            OSError: the file can't be written.
        """
        path = Path(path)
        data = self.encode(path.suffix, quality)
        write_atomically(path, lambda beside: beside.write_bytes(data))

    def encode(self, suffix: str, quality: int = QUALITY) -> bytes:
        """The file's bytes; see `save`."""
        check_format(suffix)
        if not 1 <= quality <= 100:
            raise InputError(f"a quality of {quality} is outside 1 to 100")
        image = self._vips()
        saver = FORMATS[suffix.lower()]
        if saver == "jpegsave" and self.alpha is not None:
            image = image.flatten(background=255 if image.format == "uchar" else 65535)
        if saver in ("jpegsave", "webpsave", "heifsave") and image.format == "ushort":
            image = image.colourspace("srgb")
        options: dict[str, dict[str, Any]] = {
            "jpegsave": {"Q": quality},
            "pngsave": {"compression": 6},
            "tiffsave": {"compression": "deflate", "predictor": "horizontal"},
            "webpsave": {"Q": quality},
            "heifsave": {"Q": quality, "compression": "av1"},
        }
        try:
            return getattr(image, f"{saver}_buffer")(**options[saver])
        except pyvips.Error as error:
            raise InputError(
                f"a picture of {image.width} x {image.height} can't be written as {suffix}: {_line(error)}"
            ) from None

    def pil(self) -> Image.Image:
        """As Pillow's picture, in 8 bits, which is what Pillow has for colours."""
        pixels = self._all_channels()
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
        return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)

    def _all_channels(self) -> np.ndarray:
        """(H, W, C), alpha the last, in 8 or 16 bits."""
        pixels = self.pixels if self.alpha is None else np.concatenate([self.pixels, self.alpha], axis=-1)
        return _sixteen_bits(pixels, 1) if pixels.dtype.kind == "f" else pixels

    def _vips(self) -> pyvips.Image:
        resolution = {name: self.metadata[name][1] for name in RESOLUTION if name in self.metadata}
        image = _from_array(self._all_channels()).copy(**resolution)
        for name, (kind, value) in self.metadata.items():
            if name not in RESOLUTION:
                image.set_type(kind, name, value)
        if self.profiled:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", pyvips.Operation.call("profile_load", "srgb"))
        return image


def read_picture(source: str | Path | bytes) -> Picture:
    """The first picture of a file, or of a file's bytes, turned as its EXIF orientation says and brought to sRGB by its
    profile (colours that sRGB lacks are clipped). Floats and 32-bit integers, which have no range of their own, are
    taken for sRGB in 0..1, 0..255 or 0..65535, the first that holds them.

    Raises:
        InputError: no such file, no picture, a damaged one, or more than 500 megapixels.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        if isinstance(source, bytes):
            image = pyvips.Image.new_from_buffer(source, "", access="sequential", fail_on="truncated")
        else:
            try:
                name.encode()
            except UnicodeEncodeError:  # libvips opens no names but UTF-8's
                return read_picture(Path(source).read_bytes())
            image = pyvips.Image.new_from_file(name, access="sequential", fail_on="truncated")
        if not image.get("vips-loader").startswith(LOADERS):
            raise InputError(f"{name}: no photograph ({image.get('vips-loader')})")
        if image.width * image.height > MOST_PIXELS:
            raise InputError(f"{name}: {image.width} x {image.height} is more than {MOST_PIXELS // 10**6} megapixels")
        return _picture(image)
    except pyvips.Error as error:
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise InputError(f"{name}: {'a folder' if Path(source).is_dir() else 'no such file'}") from None
        if "is not a known" in str(error):
            return _by_pillow(source, name)
        raise InputError(f"{name}: no picture that can be read ({_line(error)})") from None


def from_pil(image: Image.Image) -> Picture:
    """Pillow's picture of any mode, with its profile, EXIF and orientation; see `read_picture`.

    Raises:
        InputError: it is empty, closed, or can't be decoded.
    """
    try:
        image.load()
        pixels, cmyk = _pillows_pixels(image), image.mode == "CMYK"
        if not pixels.size:
            raise InputError("the picture is empty")
        vips = _from_array(pixels).copy(**({"interpretation": "cmyk"} if cmyk else {}))
        if profile := image.info.get("icc_profile"):
            vips.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        if orientation := image.getexif().get(ORIENTATION):
            vips.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        return _picture(vips)
    except (OSError, SyntaxError, pyvips.Error) as error:  # a file that was only now read, and is damaged
        raise InputError(f"the picture can't be read ({str(error).splitlines()[0]})") from None


def _pillows_pixels(image: Image.Image) -> np.ndarray:
    """(H, W, C), uint8 or uint16, grey, sRGB or CMYK, with alpha where there is some."""
    if image.mode in ("I", "F"):
        return _sixteen_bits(np.asarray(image)[..., None])
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode in ("PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def check_format(suffix: str) -> None:
    """Raises InputError: no format that is written."""
    if suffix.lower() not in FORMATS:
        raise InputError(f"no format {suffix!r}; choose from {', '.join(FORMATS)}{near(suffix, FORMATS)}")


def shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels (H, W, C) resized with antialiasing (a box, then a triangle), float32 in their own range."""
    image = _from_array(np.ascontiguousarray(pixels))
    image = image.resize(width / image.width, vscale=height / image.height, kernel="linear")
    if (image.height, image.width) != (height, width):  # it rounds on its own
        image = image.embed(0, 0, width, height, extend="copy")
    return image.numpy().reshape(height, width, -1).astype(np.float32)


def _by_pillow(source: str | Path | bytes, name: str) -> Picture:
    """A picture of a format that libvips was built without."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=PILLOWS) as image:
            return from_pil(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's for damaged files
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else str(error).splitlines()[0]
        raise InputError(f"{name}: no picture that can be read ({reason})") from None


def _picture(image: pyvips.Image) -> Picture:
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    kept = [name for name in image.get_fields() if name.startswith(KEPT) or name in RESOLUTION]
    metadata = {name: (image.get_typeof(name), image.get(name)) for name in kept}
    if "exif-data" in metadata:
        metadata["orientation"] = (pyvips.GValue.gint_type, 1)
    if image.get_typeof("orientation") and image.get("orientation") != 1:
        image = image.copy_memory().autorot()
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    if image.format not in ("uchar", "ushort") and image.interpretation != "lab":
        image = _from_array(_sixteen_bits(image.numpy().reshape(image.height, image.width, -1))).copy()
        if profile:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image = _to_srgb(image, profile)
    pixels = image.numpy()
    pixels = pixels.reshape(image.height, image.width, -1)
    channels = 3 if pixels.shape[-1] >= 3 else 1
    alpha = pixels[..., channels : channels + 1] if pixels.shape[-1] > channels else None
    if alpha is not None and (alpha == np.iinfo(alpha.dtype).max).all() and not image.hasalpha():
        alpha = None
    return Picture(np.ascontiguousarray(pixels[..., :channels]), alpha, metadata, profile is not None, pages)


def _to_srgb(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    """In 8 or 16 bits, grey or sRGB, with alpha where it was."""
    deep = image.format != "uchar"
    if image.interpretation == "cmyk" or (profile and not _is_srgb(profile)):
        try:
            options = {"embedded": True} if profile else {"input_profile": "cmyk"}
            return image.icc_transform("srgb", depth=16 if deep else 8, intent="relative", **options)
        except pyvips.Error:  # a profile that does not fit the picture: as if there were none
            pass
    grey = image.interpretation in ("b-w", "grey16") or image.bands <= 2
    return image.colourspace(
        {(False, False): "srgb", (False, True): "rgb16", (True, False): "b-w", (True, True): "grey16"}[grey, deep]
    )


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile leaves sRGB as it is, by what it does to greys and primaries, whatever it is called."""
    colours = [[level] * 3 for level in range(0, 256, 15)] + [[255, 0, 0], [0, 255, 0], [0, 0, 255], [120, 60, 200]]
    patches = np.array([colours], np.uint8)
    image = _from_array(patches).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        moved = image.icc_transform("srgb", embedded=True, intent="relative").numpy().astype(int) - patches
    except pyvips.Error:  # of grey, of CMYK
        return False
    return bool(np.abs(moved).max() <= 1)


def _sixteen_bits(values: np.ndarray, most: float | None = None) -> np.ndarray:
    """uint16 of numbers in 0..`most`; None: the first of 1, 255 and 65535 that holds them."""
    values = np.nan_to_num(values.astype(np.float64))
    most = most or next((limit for limit in (1, 255) if values.max(initial=0) <= limit), 65535)
    return (values.clip(0, most) * (65535 / most) + 0.5).astype(np.uint16)


def _from_array(pixels: np.ndarray) -> pyvips.Image:
    height, width, bands = pixels.shape
    kind = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}[pixels.dtype.name]
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, bands, kind)
    deep = kind == "ushort"
    return image.copy(interpretation=("grey16" if deep else "b-w") if bands <= 2 else ("rgb16" if deep else "srgb"))


def _line(error: pyvips.Error) -> str:
    """What libvips says, in one line; that it could not do what it was asked to is no reason."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines()]
    return next((line for line in lines if line and not line.startswith("unable to")), "damaged or incomplete")
