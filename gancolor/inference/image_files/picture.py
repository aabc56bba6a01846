"""A photograph in memory, and its encoding as a file."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image

from gancolor.inference.image_files.disclosure import disclosed_xmp
from gancolor.inference.image_files.exif import with_exif
from gancolor.inference.image_files.metadata import RESOLUTION, as_segment, as_tag
from gancolor.inference.image_files.samples import from_array, sixteen_bits
from gancolor.inference.image_files.texts import with_comments, with_texts
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
USUAL_DPI = 72  # in EXIF, for pictures without a known resolution; libvips would write 25.4
XMP_IN_JPEG, IPTC_IN_JPEG = 60_000, 65_000  # bytes; of more, libvips writes nothing


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph, upright.

    Attributes:
        pixels: sRGB (H, W, 3), or grey (H, W, 1): uint8, uint16, or float32 in [0, 1], which is written in 16 bits.
        alpha: (H, W, 1) of the pixels' dtype, if there is transparency.
        metadata: EXIF, XMP, IPTC and resolution under libvips's names: (type, value).
        profiled: whether the source had a colour profile, so that the saved file needs one too.
        pages: number of pages or frames in the file; this is the first.
        left_out: number of the file's channels that are neither colour nor transparency, such as infrared.
        suffix: of the format of the file's contents, whatever its name; None: that can't be written, or is unknown.
        texts: chunks of a PNG or comments of a JPEG, which a result of the same format keeps.
        generator: name, perhaps empty, of the generator that predicted the colours; None: files don't disclose any.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Mapping[str, tuple[int, Any]] = field(default_factory=dict, repr=False)
    profiled: bool = False
    pages: int = 1
    left_out: int = 0
    suffix: str | None = None
    texts: bytes = field(default=b"", repr=False)
    generator: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def pages_note(self) -> str:
        """What to tell of a file with several pages."""
        return f"the first of its {self.pages} pages is coloured"

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
        xmp = self._xmp(XMP_IN_JPEG if saver == "jpegsave" else None)
        if xmp and saver != "pngsave":
            image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp)
        if "iptc-data" in self.metadata:
            iptc = (as_tag if saver == "tiffsave" else as_segment)(self.metadata["iptc-data"][1])
            if saver == "jpegsave" and len(iptc) > IPTC_IN_JPEG:
                image.remove("iptc-data")
                warnings.warn(f"its IPTC is left out, because a JPEG holds {IPTC_IN_JPEG:,} bytes of it", stacklevel=2)
            else:
                image.set_type(pyvips.GValue.blob_type, "iptc-data", iptc)
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
            data: bytes = getattr(image, f"{saver}_buffer")(**options[saver])
        except pyvips.Error as error:
            raise InputError(
                f"a picture of {image.width} x {image.height} can't be written as {suffix}: {one_line(error)}"
            ) from None
        if saver == "tiffsave" and "exif-data" in self.metadata:
            data = with_exif(data, image)
        texts = self.texts if self.suffix and SAVERS[self.suffix] == saver else b""
        if saver == "pngsave":
            return with_texts(data, texts, xmp)
        return with_comments(data, texts) if saver == "jpegsave" else data

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
        return sixteen_bits(pixels, 1) if pixels.dtype.kind == "f" else pixels

    def _xmp(self, most: int | None) -> bytes:
        """Return the file's XMP, or nothing. It says if a generator has predicted the colours."""
        _, xmp = self.metadata.get("xmp-data", (0, b""))
        return xmp if self.generator is None else disclosed_xmp(xmp, self.generator, most)

    def _vips(self) -> pyvips.Image:
        resolution = {
            name: self.metadata[name][1] if name in self.metadata else USUAL_DPI / 25.4 for name in RESOLUTION
        }
        image = from_array(self._all_channels()).copy(**resolution)
        for name, (kind, value) in self.metadata.items():
            if name not in RESOLUTION and name != "xmp-data":
                image.set_type(kind, name, value)
        for name in image.get_fields():  # libvips has parsed the EXIF again
            if name.startswith(("exif-", "jpeg-thumbnail-data")) and name not in self.metadata:
                image.remove(name)
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd2-ColorSpace", "1")  # sRGB
        if self.profiled:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", pyvips.Operation.call("profile_load", "srgb"))
        return image


def check_format(suffix: str) -> None:
    """Raise InputError if files with this suffix cannot be written."""
    if suffix.lower() not in SAVERS:
        raise InputError(f"no format {suffix!r}; choose from {', '.join(SAVERS)}{near(suffix, SAVERS)}")


def one_line(error: pyvips.Error) -> str:
    """Return the reason that libvips gives, in one line, without its functions' names and its general lines."""
    lines = [re.sub(r"^(Vips\w+|\w*(load|save)\w*|\w+2vips): ", "", line.strip()) for line in error.detail.splitlines()]
    told = [line for line in lines if line and not re.search(r"^unable to|: bad seek to", line)]
    return told[0] if told else "damaged or incomplete"
