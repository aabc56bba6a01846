"""Shards: tar files of photographs, in WebDataset's layout, read sequentially."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import IO, cast

from gancolor.choices import PICTURE_SUFFIXES
from gancolor.utils.errors import InputError
from gancolor.utils.ignored_files import IgnoredFiles

CHUNK = 1 << 20  # bytes read at a time
MOST_LABEL_BYTES = 1 << 20  # a larger .cls or .json is ignored
BLOCK = 512  # bytes; tar files consist of such blocks


@dataclass(frozen=True)
class TarMember:
    """A file in a shard.

    Attributes:
        key: name up to the first dot, which all files of a photograph share; suffix: the rest, in lower case.
        offset: of its first byte in the shard.
        data: its contents.
    """

    name: str
    offset: int
    data: bytes

    @property
    def key(self) -> str:
        path = PurePosixPath(self.name)
        return f"{path.parent}/{path.name.partition('.')[0]}"

    @property
    def suffix(self) -> str:
        return "." + PurePosixPath(self.name).name.partition(".")[2].lower()


@dataclass(frozen=True)
class Sample:
    """A photograph in a shard, with its class.

    Attributes:
        class_name: from .cls, or "cls" or "label" in .json, or the first folder of its name; "": none.
    """

    member: TarMember
    class_name: str


def read_samples(stream: IO[bytes], shard: str, ignored: IgnoredFiles) -> Iterator[Sample]:
    """Yield the photographs of a shard, in its order, and count the other files.

    The files of a photograph are adjacent and share their name up to the first dot. The one whose name continues with
    only a picture's suffix is the photograph (`0001.jpg`, not `0001.seg.png`); without such a file, every picture is a
    photograph.

    Raises:
        InputError: the shard is not a tar file, or is truncated or damaged.
    """
    for _, group in groupby(_members(stream, shard, ignored), key=lambda member: member.key):
        members = list(group)
        pictures = [member for member in members if _is_picture(member.name)]
        plain = [member for member in pictures if member.suffix in PICTURE_SUFFIXES]
        label = _class_of(members)
        for member in plain[:1] or pictures:
            folder, slash, _ = member.name.partition("/")
            yield Sample(member, label or (folder if slash else ""))


def _members(stream: IO[bytes], shard: str, ignored: IgnoredFiles) -> Iterator[TarMember]:
    whole = _TailReader(stream)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], whole), mode="r|", bufsize=CHUNK) as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # else the list grows with the shard
                name = info.name.removeprefix("./")
                if any(part.startswith(".") for part in name.split("/")):
                    continue
                if not info.isfile():
                    if not info.isdir():  # a link, such as GNU tar makes of another name of the same file
                        ignored.add(name)
                    continue
                small = name.lower().endswith((".cls", ".json")) and info.size <= MOST_LABEL_BYTES
                if not (small or _is_picture(name)):
                    ignored.add(name)
                    continue
                file = tar.extractfile(info)
                data = file.read() if file else b""
                if len(data) < info.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield TarMember(name, info.offset_data, data)
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        what = "truncated" if "end of data" in str(error) else f"no tar file, or a damaged one ({error})"
        raise InputError(f"{shard}: {what}; make or fetch it again") from None
    # tarfile takes a damaged or missing header for the end of the file. The real end is marked by a block of zeros.
    if whole.after(end) != bytes(BLOCK):
        raise InputError(f"{shard}: truncated or damaged after byte {end}; make or fetch it again")


class _TailReader:
    """A stream that keeps the bytes read last, to read a block of them again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.start, self.last = stream, 0, b""

    def read(self, count: int) -> bytes:
        found = self.stream.read(count)
        if found:
            kept = self.last[-BLOCK:]  # a block may span two reads
            self.start += len(self.last) - len(kept)
            self.last = kept + found
        return found

    def after(self, offset: int) -> bytes:
        """Return the block that starts at `offset`."""
        while self.start + len(self.last) < offset + BLOCK and self.read(CHUNK):
            pass
        return self.last[max(offset - self.start, 0) :][:BLOCK] if offset >= self.start else b""


def _class_of(members: list[TarMember]) -> str:
    for member in members:
        if member.suffix == ".cls":
            return member.data.decode("utf-8", "replace").strip()
        if member.suffix == ".json":
            with suppress(ValueError, AttributeError):
                content = json.loads(member.data)
                label = content.get("cls", content.get("label"))
                if isinstance(label, str | int):
                    return str(label)
    return ""


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES
