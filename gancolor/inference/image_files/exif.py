"""EXIF of TIFFs. They have it as tags of their own, which libvips neither reads nor writes; of other formats, it reads
and writes the block of bytes that is laid out as a TIFF of tags without pixels.

The layout of both: TIFF 6.0, section 2, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
"""

import io
import struct
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyvips

# Document, description, make, model, software, date, artist, copyright, and Windows' title, comment, author, keywords
# and subject: those of a TIFF's tags that libexif knows, too, and that say nothing of how the pixels are stored.
DESCRIPTIVE = (269, 270, 271, 272, 305, 306, 315, 33432, *range(0x9C9B, 0x9CA0))
EXIF_IFD, GPS_IFD, MAKER_NOTE = 34665, 34853, 37500
# Components and compression of a JPEG, width, height, and a pointer to the colour space by another name.
OF_PIXELS = frozenset([0x9101, 0x9102, 0xA002, 0xA003, 0xA005])
# Type of a value -> bytes of its numbers. Rational numbers are pairs.
UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
PAIRS, LONG = (5, 10), 4
START = b"Exif\0\0"  # of a block
MOST_TAGS = 1000  # of a directory, which may be damaged, or made for harm
LONGEST_BLOCK = 65_000  # bytes; a JPEG's segment holds 65,533

Ifd = dict[int, tuple[int, bytes]]  # a directory: tag -> type, and value in little-endian order


@dataclass
class Layout:
    """How a TIFF, or a block, is laid out. `first`: place of the first directory."""

    order: str
    big: bool
    first: int

    @classmethod
    def of(cls, file: BinaryIO) -> "Layout":
        """Read the header at the start of a file. Raises ValueError or struct.error if it is not a TIFF."""
        header = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        if order is None:
            raise ValueError("no TIFF")
        (version,) = struct.unpack_from(f"{order}H", header, 2)
        big = version == 43  # BigTIFF: https://www.awaresystems.be/imaging/tiff/bigtiff.html
        (first,) = struct.unpack_from(order + ("Q" if big else "I"), header, 8 if big else 4)
        return cls(order, big, first)

    def read(self, file: BinaryIO, place: int, wanted: Container[int] = range(2**16), longest: int = 2**32) -> Ifd:
        """Read a directory at a place in a file: the wanted tags whose values have at most `longest` bytes."""
        number, entry = ("Q", "HHQ8s") if self.big else ("H", "HHI4s")
        file.seek(place)
        (count,) = struct.unpack(self.order + number, file.read(struct.calcsize(f"={number}")))
        entries = file.read(min(count, MOST_TAGS) * struct.calcsize(f"={entry}"))
        return {
            tag: (kind, self._value(file, kind, length * _size(kind), inside))
            for tag, kind, length, inside in struct.iter_unpack(self.order + entry, entries)
            if kind in UNITS and tag in wanted and length * _size(kind) <= longest
        }

    def _value(self, file: BinaryIO, kind: int, size: int, inside: bytes) -> bytes:
        if size > len(inside):
            file.seek(int.from_bytes(inside, "little" if self.order == "<" else "big"))
            inside = file.read(size)
        return np.frombuffer(inside[:size], f"{self.order}u{UNITS[kind]}").astype(f"<u{UNITS[kind]}").tobytes()


def block_of_tiff(file: BinaryIO) -> bytes:
    """Return the EXIF of an open TIFF as a block; nothing if it has none, or it can't be read."""
    with suppress(Exception):  # of damaged files
        file.seek(0)
        own, parts = _exif(file)
        block = _block(own, parts)
        if len(block) > LONGEST_BLOCK:
            parts.get(EXIF_IFD, {}).pop(MAKER_NOTE, None)
            block = _block(own, parts)
        return block if len(block) <= LONGEST_BLOCK else b""
    return b""


def with_block(image: pyvips.Image, block: bytes) -> pyvips.Image:
    """Return the image with the fields that libvips makes of a block when it loads a JPEG."""
    small = pyvips.Image.black(8, 8).jpegsave_buffer()
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    with suppress(pyvips.Error):
        parsed = pyvips.Image.new_from_buffer(small[:2] + segment + small[2:], "")
        image = image.copy()
        for name in parsed.get_fields():
            if name.startswith("exif-"):
                image.set_type(parsed.get_typeof(name), name, parsed.get(name))
    return image


def with_exif(tiff: bytes, image: pyvips.Image) -> bytes:
    """Return a TIFF that libvips has written, with the EXIF of the image that it was written from."""
    small = image.crop(0, 0, 1, 1)[0].cast("uchar").copy(interpretation="b-w").jpegsave_buffer(keep="exif")
    start = small.find(START)
    if start < 0:
        return tiff
    (size,) = struct.unpack_from(">H", small, start - 2)
    own, parts = _exif(io.BytesIO(small[start + len(START) : start - 2 + size]))
    file = io.BytesIO(tiff)
    layout = Layout.of(file)
    # A second directory, after the pixels, takes the place of the first, which remains as unused bytes.
    place = len(tiff) + len(tiff) % 2
    directory = _written(own | layout.read(file, layout.first), parts, place)
    return b"".join([tiff[:4], struct.pack("<I", place), tiff[8:], bytes(len(tiff) % 2), directory])


def _exif(file: BinaryIO) -> tuple[Ifd, dict[int, Ifd]]:
    """Return the descriptive tags of a TIFF's or block's first directory, and the directories of EXIF and of the place
    where the photograph was taken."""
    layout = Layout.of(file)
    first = layout.read(file, layout.first, (*DESCRIPTIVE, EXIF_IFD, GPS_IFD), LONGEST_BLOCK)
    places = {tag: int.from_bytes(first.pop(tag)[1], "little") for tag in (EXIF_IFD, GPS_IFD) if tag in first}
    parts = {tag: layout.read(file, place, longest=LONGEST_BLOCK) for tag, place in places.items()}
    for tag in OF_PIXELS & parts.get(EXIF_IFD, {}).keys():
        del parts[EXIF_IFD][tag]
    return first, parts


def _block(own: Ifd, parts: dict[int, Ifd]) -> bytes:
    return START + b"II*\0\x08\0\0\0" + _written(own, parts, 8) if own or parts else b""


def _written(own: Ifd, parts: dict[int, Ifd], place: int) -> bytes:
    """Return the bytes of a directory at a place in a file, followed by those that it points to."""
    own = own | {tag: (LONG, bytes(4)) for tag in parts}
    end = place + len(_directory(own, place))
    written = []
    for tag, part in parts.items():
        own[tag] = (LONG, struct.pack("<I", end))
        written.append(_directory(part, end))
        end += len(written[-1])
    return b"".join([_directory(own, place), *written])


def _size(kind: int) -> int:
    return UNITS[kind] * (2 if kind in PAIRS else 1)


def _directory(ifd: Ifd, place: int) -> bytes:
    entries, values = [], b""
    end = place + 2 + 12 * len(ifd) + 4
    for tag, (kind, value) in sorted(ifd.items()):
        inside = value
        if len(value) > 4:
            inside = struct.pack("<I", end + len(values))
            values += value + bytes(len(value) % 2)
        entries.append(struct.pack("<HHI4s", tag, kind, len(value) // _size(kind), inside))
    return struct.pack("<H", len(ifd)) + b"".join(entries) + bytes(4) + values
