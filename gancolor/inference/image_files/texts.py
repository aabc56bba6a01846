"""Texts of PNG, of which libvips keeps only ASCII, and comments of JPEG, which it drops. They are copied as such."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PNG_SIGNATURE = 8  # bytes
PNG_HEADER = 33  # bytes: the signature and the chunk IHDR
XMP = b"XML:com.adobe.xmp"
NOT_TEXTS = (XMP, b"Raw profile type")  # starts of keywords; ImageMagick's profiles have EXIF with its thumbnail, too
LONGEST_TEXT = 10**7  # bytes
MOST_PIECES = 100_000  # chunks or segments
COMMENT, SCAN = 0xFE, 0xDA  # markers of JPEG
APPLICATION = range(0xE0, 0xF0)


def texts_of(source: str | Path | bytes, suffix: str | None) -> bytes:
    """Return the chunks with texts of a PNG, or the segments with comments of a JPEG, else nothing.

    Args:
        suffix: of the format of the source's contents.
    """
    find = {".png": _png_texts, ".jpg": _jpeg_comments}.get(suffix or "")
    if find is None:
        return b""
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        return b"".join(find(file))


def _png_texts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(PNG_SIGNATURE)
    for _ in range(MOST_PIECES):
        header = file.read(8)
        if len(header) < 8:
            return
        size, kind = struct.unpack(">I4s", header)
        if kind in (b"tEXt", b"zTXt", b"iTXt") and size <= LONGEST_TEXT:
            content, check = file.read(size), file.read(4)
            if check == struct.pack(">I", zlib.crc32(kind + content)) and not content.startswith(NOT_TEXTS):
                yield header + content + check
        else:
            file.seek(size + 4, io.SEEK_CUR)


def _jpeg_comments(file: BinaryIO) -> Iterator[bytes]:
    file.seek(2)
    for _ in range(MOST_PIECES):
        header = file.read(4)
        if len(header) < 4:
            return
        _, marker, size = struct.unpack(">BBH", header)
        if marker == SCAN or size < 2:
            return
        if marker == COMMENT:
            yield header + file.read(size - 2)
        else:
            file.seek(size - 2, io.SEEK_CUR)


def with_texts(png: bytes, texts: bytes, xmp: bytes) -> bytes:
    """Return a PNG with chunks of text, and with XMP in a chunk iTXt, as the XMP specification asks (part 3, 1.1.5).
    libvips writes zTXt, which most programs ignore."""
    if xmp:
        content = b"iTXt" + XMP + bytes(5) + xmp  # neither compressed nor translated
        texts += struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:PNG_HEADER] + texts + png[PNG_HEADER:] if texts else png


def with_comments(jpeg: bytes, comments: bytes) -> bytes:
    """Return a JPEG with segments of comments, after those of EXIF and the like, which have to come first."""
    if not comments:
        return jpeg
    at = 2
    while jpeg[at + 1] in APPLICATION:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return jpeg[:at] + comments + jpeg[at:]
