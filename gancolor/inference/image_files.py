"""Reading and writing of photographs: files of many formats and bit depths, Pillow images and arrays, as sRGB pixels
with their metadata. libvips reads and writes (16 bits, profiles, metadata). Nothing here depends on networks."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image, UnidentifiedImageError

from gancolor.utils.errors import InputError, near
from gancolor.utils.files import write_atomically

# Suffix -> saver of libvips.
SAVERS = {
    ".jpg": "jpegsave",
    ".jpeg": "jpegsave",
    ".png": "pngsave",
    ".tif": "tiffsave",
    ".tiff": "tiffsave",
    ".webp": "webpsave",
    ".avif": "heifsave",
}
QUALITY = 95
MOST_PIXELS = 500_000_000  # per photograph: more is a mistake, or an attack on memory
# libvips's image loaders, without its loaders of documents and of applications' own formats.
LOADERS = ("jpeg", "png", "tiff", "webp", "heif", "gif", "ppm")
PILLOWS = ("BMP", "DIB", "JPEG2000", "PCX", "PPM", "TGA")  # formats read by Pillow
KEPT = ("exif-", "xmp-", "iptc-", "image-description", "png-comment-", "resolution-unit")
RESOLUTION = ("xres", "yres")  # [pixels per millimetre]; libvips stores these apart

ORIENTATION = 0x0112  # EXIF's tag

pyvips.cache_set_max(0)  # no cache of operations: every photograph is read once


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph, upright.

    Attributes:
        pixels: sRGB (H, W, 3), or grey (H, W, 1): uint8, uint16, or float32 in [0, 1], which is written in 16 bits.
        alpha: (H, W, 1) of the pixels' dtype, if there is transparency.
        metadata: EXIF, XMP, IPTC and resolution under libvips's names: (type, value).
        profiled: whether the source had a colour profile, so that the saved file needs one too.
        pages: number of pages or frames in the file; this is the first.
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
        """Return a copy with other pixels and the same alpha and metadata."""
        return replace(self, pixels=pixels)

    def save(self, path: str | Path, quality: int = QUALITY) -> None:
        """Write a file in the format of the path's suffix. The file is complete or not written at all.

        Args:
            quality: of lossy formats, 1 to 100; no effect on TIFF and PNG.

        Raises:
            InputError: the format is unsupported, the picture too large for it, or the quality out of range.
            OSError: the file cannot be written.
        """
        path = Path(path)
        data = self.encode(path.suffix, quality)
        write_atomically(path, lambda beside: beside.write_bytes(data))

    def encode(self, suffix: str, quality: int = QUALITY) -> bytes:
        """Return the encoded file as bytes; see `save`."""
        check_format(suffix)
        if not 1 <= quality <= 100:
            raise InputError(f"a quality of {quality} is outside 1 to 100")
        image = self._vips()
        saver = SAVERS[suffix.lower()]
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
        """Convert to a Pillow image in 8 bits, Pillow's depth for colour."""
        pixels = self._all_channels()
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)  # exactly round(x / 257)
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
        return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)

    def _all_channels(self) -> np.ndarray:
        """Return (H, W, C) in 8 or 16 bits, alpha last."""
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
    """Read the first picture of a file, or of a file's bytes, as upright sRGB.

    The EXIF orientation is applied, and the profile converted to sRGB (colours outside sRGB are clipped). Floats and
    32-bit integers have no fixed range: they are read as sRGB in 0..1, 0..255 or 0..65535, the first that holds them.

    Raises:
        InputError: the file is missing, not a picture, damaged, or larger than 500 megapixels.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        if isinstance(source, bytes):
            image = pyvips.Image.new_from_buffer(source, "", access="sequential", fail_on="truncated")
        else:
            try:
                name.encode()
            except UnicodeEncodeError:  # libvips opens only file names in UTF-8
                return read_picture(Path(source).read_bytes())
            image = pyvips.Image.new_from_file(name, access="sequential", fail_on="truncated")
        if not image.get("vips-loader").startswith(LOADERS):
            raise InputError(f"{name}: not a photograph ({image.get('vips-loader')})")
        if image.width * image.height > MOST_PIXELS:
            raise InputError(f"{name}: {image.width} x {image.height} is more than {MOST_PIXELS // 10**6} megapixels")
        return _picture(image)
    except pyvips.Error as error:
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise InputError(f"{name}: {'a folder' if Path(source).is_dir() else 'no such file'}") from None
        if re.search(r"not (a|in a) known", str(error)):  # libvips's words for files, and for bytes
            return _by_pillow(source, name)
        raise InputError(f"{name}: not a readable picture ({_line(error)})") from None


def from_pil(image: Image.Image) -> Picture:
    """Convert a Pillow image of any mode; its profile and EXIF orientation are applied as in `read_picture`.

    Raises:
        InputError: the image is empty, closed, or cannot be decoded.
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
    except (OSError, SyntaxError, pyvips.Error) as error:  # Pillow decodes lazily: a damaged file fails only here
        raise InputError(f"the picture can't be read ({str(error).splitlines()[0]})") from None


def _pillows_pixels(image: Image.Image) -> np.ndarray:
    """Return (H, W, C) as uint8 or uint16: grey, RGB or CMYK, with alpha if there is any."""
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
    """Raise InputError if files with this suffix cannot be written."""
    if suffix.lower() not in SAVERS:
        raise InputError(f"no format {suffix!r}; choose from {', '.join(SAVERS)}{near(suffix, SAVERS)}")


def shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize pixels (H, W, C) with antialiasing (a box, then a triangle filter), to float32 in the same range."""
    image = _from_array(np.ascontiguousarray(pixels))
    image = image.resize(width / image.width, vscale=height / image.height, kernel="linear")
    if (image.height, image.width) != (height, width):  # libvips rounds the size itself
        image = image.embed(0, 0, width, height, extend="copy")
    return image.numpy().reshape(height, width, -1).astype(np.float32)


def _by_pillow(source: str | Path | bytes, name: str) -> Picture:
    """Read a format that this build of libvips does not support."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=PILLOWS) as image:
            return from_pil(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's for damaged files
        reason = "of an unknown format" if isinstance(error, UnidentifiedImageError) else str(error).splitlines()[0]
        raise InputError(f"{name}: not a readable picture ({reason})") from None


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
    """Convert to grey or sRGB in 8 or 16 bits; alpha is kept."""
    deep = image.format != "uchar"
    if image.interpretation == "cmyk" or (profile and not _is_srgb(profile)):
        try:
            options = {"embedded": True} if profile else {"input_profile": "cmyk"}
            return image.icc_transform("srgb", depth=16 if deep else 8, intent="relative", **options)
        except pyvips.Error:  # the profile does not fit the picture: ignore it
            pass
    grey = image.interpretation in ("b-w", "grey16") or image.bands <= 2
    return image.colourspace(
        {(False, False): "srgb", (False, True): "rgb16", (True, False): "b-w", (True, True): "grey16"}[grey, deep]
    )


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Return whether a profile leaves sRGB unchanged, judged by its effect on greys and primaries, not by its name."""
    colours = [[level] * 3 for level in range(0, 256, 15)] + [[255, 0, 0], [0, 255, 0], [0, 0, 255], [120, 60, 200]]
    patches = np.array([colours], np.uint8)
    image = _from_array(patches).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        moved = image.icc_transform("srgb", embedded=True, intent="relative").numpy().astype(int) - patches
    except pyvips.Error:  # a profile of grey or CMYK
        return False
    return bool(np.abs(moved).max() <= 1)


def _sixteen_bits(values: np.ndarray, most: float | None = None) -> np.ndarray:
    """Scale numbers in 0..`most` to uint16; None: the first of 1, 255 and 65535 that holds them."""
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
    """Return the reason that libvips gives, in one line, without its general "unable to ..." lines."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines()]
    return next((line for line in lines if line and not line.startswith("unable to")), "damaged or incomplete")
