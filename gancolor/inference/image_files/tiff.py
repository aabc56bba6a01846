"""What libvips doesn't tell of a TIFF: its tags, and by them truncation, cameras' raw files and the kinds of Lab."""

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from PIL import TiffImagePlugin

from gancolor.inference.image_files.exif import block_of_tiff
from gancolor.inference.image_files.samples import from_array

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, STRIP_BYTES, PLANES, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES = 273, 279, 284, 324, 325, 338
SUB_IFDS, SAMPLE_FORMAT, IPTC, DNG_VERSION = 330, 339, 33723, 50706
SHORT = 3  # the type of a tag
ALPHAS = (1, 2)  # values of EXTRA_SAMPLES: multiplied into the colours, or not
UNCOMPRESSED, YCBCR, CIELAB, ICCLAB, ITULAB = 1, 6, 8, 9, 10  # values of COMPRESSION and PHOTOMETRIC
GREYS, SEPARATE = (0, 1), 2  # values of PHOTOMETRIC and PLANES
# Zero and unit of a and of b in 8 bits. https://www.rfc-editor.org/rfc/rfc2301#section-6.2 has ITULAB's.
AB_CODES = {CIELAB: ((0, 1), (0, 1)), ICCLAB: ((128, 1), (128, 1)), ITULAB: ((128, 170 / 255), (96, 200 / 255))}


class Tags:
    """The tags of a TIFF's first page.

    Attributes:
        problem: why the page is not a whole photograph, in words, or None.
        lab: photometric interpretation, if it is Lab in 8 or 16 bits, else None. If the file isn't a TIFF, or its tags
            can't be read, both are None.
        iptc: IPTC's bytes, also of the type LONG that most programs write: of these, libvips reads only a quarter, and
            Pillow decodes only the first four.
        exif: as the block that other formats have.
        tiled: whether the pixels lie in tiles instead of strips, and no tile is left out (as black).
        extra: what each channel after the colours is, by EXTRA_SAMPLES; empty if the file does not say.
    """

    problem: str | None = None
    lab: int | None = None
    iptc: bytes = b""
    exif: bytes = b""
    tiled: bool = False
    extra: tuple[int, ...] = ()

    def __init__(self, source: str | Path | bytes) -> None:
        with (
            suppress(Exception),  # Pillow raises almost anything for damaged files
            io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file,
        ):
            self._read(file)

    def _read(self, file: BinaryIO) -> None:
        header = file.read(16)
        self._big = 43 in header[2:4]  # BigTIFF, with a header of 16 bytes instead of 8
        directory = TiffImagePlugin.ImageFileDirectory_v2(header if self._big else header[:8])
        self._order = "<" if header[:2] == b"II" else ">"
        self._place = file.seek(directory.next)
        directory.load(file)
        self.iptc = directory._tagdata.pop(IPTC, b"")
        tags = dict(directory)
        self.exif = block_of_tiff(file)
        self.tiled = 0 not in (tags.get(TILE_BYTES) or [0])
        self.extra = tuple(np.atleast_1d(tags.get(EXTRA_SAMPLES, ())).tolist())
        bits = np.atleast_1d(tags.get(BITS, 1))
        integers = set(np.atleast_1d(tags.get(SAMPLE_FORMAT, 1))) <= {1, 2}
        if tags.get(PHOTOMETRIC) in AB_CODES and directory.tagtype[PHOTOMETRIC] == SHORT and len(bits) >= 3:
            self.lab = tags[PHOTOMETRIC] if integers and bits[0] in (8, 16) else None
        preview = SUB_IFDS in tags and tags.get(SUBFILE_TYPE, 0) & 1  # before the camera's own data
        if preview or DNG_VERSION in tags or header[8:10] == b"CR":
            self.problem = "a camera's raw file: develop it first, to TIFF or JPEG"
        elif bits.max() > 32:
            self.problem = "samples of more than 32 bits: save it with 32 or 16"
        elif tags.get(PHOTOMETRIC) in GREYS and len(bits) > 1 and tags.get(PLANES) == SEPARATE:
            self.problem = "grey and further channels in separate planes, which libvips misreads: save it without them"
        elif _missing_bytes(tags, file.seek(0, io.SEEK_END)) > 0:
            self.problem = "truncated"

    def without_unknown(self, image: pyvips.Image) -> pyvips.Image:
        """Return the file's image without the channels that are not declared as transparency, such as a scanner's
        infrared: libvips takes the first of all for transparency."""
        first = image.bands - len(self.extra)
        alpha = next((first + place for place, kind in enumerate(self.extra) if kind in ALPHAS), None)
        kept = [*range(first), *([] if alpha is None else [alpha])]
        if first < 1 or len(kept) == image.bands:
            return image
        return image[0].bandjoin([image[band] for band in kept[1:]]) if kept[1:] else image[0]

    def as_icclab(self, data: bytes) -> bytes:
        """Return the bytes of a CIELAB file under the name of ICCLAB, whose samples libvips returns as they are. (It
        fails on CIELAB in 8 bits.)"""
        entry = struct.pack(self._order + ("HHQ" if self._big else "HHI"), PHOTOMETRIC, SHORT, 1)
        value = data.index(entry, self._place) + len(entry)
        return data[:value] + struct.pack(self._order + "H", ICCLAB) + data[value + 2 :]


def _missing_bytes(tags: Mapping[int, Any], size: int) -> int:
    """Return how many bytes of pixels lie beyond the end of the file, at `size`: libvips reads them as black."""
    places = np.array(tags.get(STRIP_OFFSETS) or tags[TILE_OFFSETS], np.int64)
    counts = np.array(tags.get(STRIP_BYTES) or tags[TILE_BYTES], np.int64)
    needed = int(counts.sum())
    plain = tags.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED and tags.get(PHOTOMETRIC) != YCBCR
    if plain and STRIP_OFFSETS in tags:  # some programs write counts that are too large
        needed = min(needed, tags[WIDTH] * tags[HEIGHT] * int(np.sum(tags.get(BITS, 1))) // 8)
    return needed - int(np.clip(size - places, 0, counts).sum())


def lab_to_srgb(samples: np.ndarray, kind: int) -> pyvips.Image:
    """Convert samples of Lab (H, W, 3 or more), as they are in a TIFF, to sRGB of the same depth; alpha is kept.

    Args:
        samples: integers of 8 or 16 bits; of what sign is clear from the kind.
        kind: photometric interpretation.
    """
    deep = samples.dtype.itemsize == 2
    samples = samples.view(np.uint16 if deep else np.uint8)
    unit = 256.0 if deep else 1.0
    white = 65535 if deep and kind != ICCLAB else 255 * unit
    signed = samples.view(np.int16 if deep else np.int8) if kind == CIELAB else samples
    lab = np.empty((*samples.shape[:2], 3), np.float32)
    lab[..., 0] = samples[..., 0] * np.float32(100 / white)
    for channel, (zero, step) in enumerate(AB_CODES[kind], 1):
        lab[..., channel] = (signed[..., channel].astype(np.float32) / unit - zero) * step
    image = from_array(lab).copy(interpretation="lab").colourspace("rgb16" if deep else "srgb")
    return image if samples.shape[-1] == 3 else image.bandjoin(from_array(samples[..., 3:4]))
