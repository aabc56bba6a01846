"""What libvips doesn't tell of a TIFF: its tags, and by them truncation, cameras' raw files and the kinds of Lab."""

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from PIL import TiffImagePlugin

from gancolor.inference.image_files.samples import from_array

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES, SUB_IFDS, DNG_VERSION = 273, 279, 324, 325, 330, 50706
UNCOMPRESSED, YCBCR, CIELAB, ICCLAB, ITULAB = 1, 6, 8, 9, 10  # values of COMPRESSION and PHOTOMETRIC
# Zero and unit of a and of b in 8 bits. https://www.rfc-editor.org/rfc/rfc2301#section-6.2 has ITULAB's.
AB_CODES = {CIELAB: ((0, 1), (0, 1)), ICCLAB: ((128, 1), (128, 1)), ITULAB: ((128, 170 / 255), (96, 200 / 255))}


class Tags:
    """The tags of a TIFF's first page; none if the file isn't a TIFF, or they can't be read."""

    def __init__(self, source: str | Path | bytes) -> None:
        self.values: dict[int, Any] = {}
        try:
            with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
                self._read(file)
        except Exception:  # Pillow raises almost anything for damaged files
            self.values = {}

    def _read(self, file: BinaryIO) -> None:
        header = file.read(16)
        self.big = 43 in header[2:4]  # BigTIFF, with a header of 16 bytes instead of 8
        directory = TiffImagePlugin.ImageFileDirectory_v2(header if self.big else header[:8])
        self.order = "<" if header[:2] == b"II" else ">"
        self.canon = header[8:10] == b"CR"
        self.place = file.seek(directory.next)
        directory.load(file)
        self.size = file.seek(0, io.SEEK_END)
        self.values = dict(directory)

    @property
    def lab(self) -> int | None:
        """Photometric interpretation, if it is Lab in 8 or 16 bits."""
        kind = self.values.get(PHOTOMETRIC)
        return kind if kind in AB_CODES and len(self._bits()) >= 3 and self._bits()[0] in (8, 16) else None

    def problem(self) -> str | None:
        """Return why the page is not a whole photograph, in words, or None."""
        if DNG_VERSION in self.values or (self.values and self.canon) or (
            SUB_IFDS in self.values and self.values.get(SUBFILE_TYPE, 0) & 1  # the first page is a preview
        ):  # fmt: skip
            return "a camera's raw file: develop it first, to TIFF or JPEG"
        if any(bits > 32 for bits in self._bits()):
            return "samples of more than 32 bits: save it with 32 or 16"
        return "truncated" if self._missing_bytes() > 0 else None

    def _bits(self) -> tuple[int, ...]:
        bits = self.values.get(BITS, 1)
        return bits if isinstance(bits, tuple) else (bits,)

    def _missing_bytes(self) -> int:
        """Return how many bytes of uncompressed pixels lie beyond the end of the file: libvips reads them as black."""
        places = self.values.get(STRIP_OFFSETS) or self.values.get(TILE_OFFSETS)
        counts = self.values.get(STRIP_BYTES) or self.values.get(TILE_BYTES)
        plain = self.values.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
        if not (places and counts and plain) or self.values.get(PHOTOMETRIC) == YCBCR:  # it may be subsampled
            return 0
        there = np.clip(self.size - np.array(places, np.int64), 0, np.array(counts, np.int64)).sum()
        return self.values[WIDTH] * self.values[HEIGHT] * sum(self._bits()) // 8 - int(there)

    def as_icclab(self, data: bytes) -> bytes:
        """Return the bytes of a CIELAB file under the name of ICCLAB, whose samples libvips returns as they are. (It
        fails on CIELAB in 8 bits.)"""
        entry = struct.pack(self.order + ("HHQ" if self.big else "HHI"), PHOTOMETRIC, 3, 1)
        value = data.index(entry, self.place) + len(entry)
        return data[:value] + struct.pack(self.order + "H", ICCLAB) + data[value + 2 :]


def lab_to_srgb(samples: np.ndarray, kind: int) -> pyvips.Image:
    """Convert samples of Lab (H, W, 3 or more), as they are in a TIFF, to sRGB of the same depth; alpha is kept.

    Args:
        samples: uint8 or uint16.
        kind: photometric interpretation.
    """
    deep = samples.dtype == np.uint16
    unit = 256.0 if deep else 1.0
    white = 65535 if deep and kind != ICCLAB else 255 * unit
    signed = samples.view(np.int16 if deep else np.int8) if kind == CIELAB else samples
    lab = np.empty((*samples.shape[:2], 3), np.float32)
    lab[..., 0] = samples[..., 0] * np.float32(100 / white)
    for channel, (zero, step) in enumerate(AB_CODES[kind], 1):
        lab[..., channel] = (signed[..., channel].astype(np.float32) / unit - zero) * step
    image = from_array(lab).copy(interpretation="lab").colourspace("rgb16" if deep else "srgb")
    return image if samples.shape[-1] == 3 else image.bandjoin(from_array(samples[..., 3:4]))
