"""Opening of video files, and what their bytes say about their length where FFmpeg does not tell it."""

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from gancolor.utils.errors import InputError

# The object of an ASF header that has its length, how much is read to find it, and its flag of a live recording:
# https://learn.microsoft.com/en-us/windows/win32/wmformat/file-properties-object
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_HEAD, ASF_LIVE = 2**16, 1
SYNC = 0x47  # first byte of each packet of an MPEG transport stream
# Distance of such packets, and the bytes from the last one's sync byte to the file's end: plain, M2TS, with parity.
TS_PACKETS = ((188, 188), (192, 188), (204, 204))
TS_CHECKED = 8  # packets


def file_url(path: Path) -> str:
    """Return a path as FFmpeg reads any name, also one such as `concat:a.mp4`, which would name a protocol."""
    return f"file:{path}"


class ForwardOnly(NamedTuple):
    """A file that FFmpeg can't seek in, because it has no `seek`."""

    read: Callable[[int], bytes]


@contextmanager
def open_video(path: Path) -> Iterator[Any]:
    """Open a video for reading.

    Raises:
        InputError: FFmpeg can't read it.
    """
    with ExitStack() as opened:
        try:
            video = av.open(file_url(path), metadata_errors="replace")
        except av.FFmpegError as error:
            # In a file that can seek, FFmpeg first reads the headers of all fragments of MP4, and gives up where one is
            # cut off. Without seeking, it reads up to there.
            try:
                file = opened.enter_context(path.open("rb"))
                video = av.open(ForwardOnly(file.read), metadata_errors="replace")
            except (av.FFmpegError, OSError):
                raise InputError(f"{path}: no video that can be read ({error.strerror})") from None
        yield opened.enter_context(video)


def asf_length(path: Path) -> Fraction | None:
    """Return the length in the header of a WMV file. FFmpeg does not tell it of a file that is cut off."""
    with path.open("rb") as file:
        head = file.read(ASF_HEAD)
    at = head.find(ASF_PROPERTIES)
    if at < 0:
        return None
    length, _, lead_in, flags = struct.unpack_from("<QQQI", head, at + 64)
    return None if flags & ASF_LIVE else Fraction(length, 10**7) - Fraction(lead_in, 1000)


def breaks_off(path: Path, form: str, *, fragmented: bool) -> bool:
    """Return whether a file ends within a packet of a transport stream, or within a fragment of MP4."""
    if form == "mpegts":
        return ends_within_packet(path)
    return form == "mov" and fragmented and ends_within_box(path)


def ends_within_packet(path: Path) -> bool:
    """Look for the sync bytes of the last packets. A file may end in other bytes, such as zeros of a recorder."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (TS_CHECKED + 1) * TS_PACKETS[-1][0]))
        tail = file.read()
    for distance, whole in TS_PACKETS:
        for rest in range(1, distance + 1):
            last = tail[len(tail) - rest :: -distance]
            if len(last) >= TS_CHECKED and set(last[:TS_CHECKED]) == {SYNC}:
                return rest != whole
    return False


def ends_within_box(path: Path) -> bool:
    """Return whether an MP4 file ends within a fragment's box, or within the header of the box after it."""
    size, at, name = path.stat().st_size, 0, b""
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, name, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            length = long if length == 1 else length
            if length < 8:  # up to the end, or no box
                return False
            at += length
    return at != size and name in (b"styp", b"sidx", b"moof", b"mdat")
