"""Shards: tar files of photographs, packed as WebDataset does, read through from the first byte to the last."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import IO, cast

from gancolor.data.decode import PICTURE_SUFFIXES
from gancolor.errors import InputError

CHUNK = 1 << 20  # bytes that are read at a time
MOST_SAID = 1 << 20  # bytes of a .cls or .json that are looked at
BLOCK = 512  # bytes; tar files are made of them


@dataclass(frozen=True)
class Member:
    """A file in a shard.

    Attributes:
        key: what it has in common with others of its photograph: its name up to the first dot; suffix: the rest.
        offset: its first byte in the shard.
        data: its bytes, where it is of a kind that is looked at.
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
    """A photograph in a shard, with what the files beside it say.

    Attributes:
        word: its class: of .cls, or of .json as "cls" or "label", else the first folder of its name; "": none.
    """

    member: Member
    word: str


def read_samples(stream: IO[bytes], shard: str) -> Iterator[Sample]:
    """The photographs of a shard, in their order.

    The files of a photograph lie together and share their names up to the first dot. One of them whose name goes on
    with nothing but a picture's suffix is the photograph (`0001.jpg`, not `0001.seg.png` beside it); where none does,
    every picture is one.

    Raises:
        InputError: the shard is no tar file, or a part of one.
    """
    for _, group in groupby(_members(stream, shard), key=lambda member: member.key):
        members = list(group)
        pictures = [member for member in members if _is_picture(member.name)]
        plain = [member for member in pictures if member.suffix in PICTURE_SUFFIXES]
        said = _class_of(members)
        for member in plain[:1] or pictures:
            folder, slash, _ = member.name.partition("/")
            yield Sample(member, said or (folder if slash else ""))


def _members(stream: IO[bytes], shard: str) -> Iterator[Member]:
    whole = _Counted(stream)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], whole), mode="r|", bufsize=CHUNK) as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # it remembers all of them
                name = info.name.removeprefix("./")
                if not info.isfile() or any(part.startswith(".") for part in name.split("/")):
                    continue
                small = name.lower().endswith((".cls", ".json")) and info.size <= MOST_SAID
                if not (small or _is_picture(name)):
                    continue
                file = tar.extractfile(info)
                data = file.read() if file else b""
                if len(data) < info.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield Member(name, info.offset_data, data)
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        what = "truncated" if "end of data" in str(error) else f"no tar file, or a damaged one ({error})"
        raise InputError(f"{shard}: {what}; make or fetch it again") from None
    # tarfile takes a header that is damaged or missing for the end, of which tar files have a mark.
    if whole.after(end) != bytes(BLOCK):
        raise InputError(f"{shard}: truncated or damaged after byte {end}; make or fetch it again")


class _Counted:
    """A stream of which the last bytes that were read can be looked at again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.start, self.last = stream, 0, b""

    def read(self, count: int) -> bytes:
        found = self.stream.read(count)
        if found:
            kept = self.last[-BLOCK:]  # a block may begin in one part and end in the next
            self.start += len(self.last) - len(kept)
            self.last = kept + found
        return found

    def after(self, offset: int) -> bytes:
        """The block that begins there."""
        while self.start + len(self.last) < offset + BLOCK and self.read(CHUNK):
            pass
        return self.last[max(offset - self.start, 0) :][:BLOCK] if offset >= self.start else b""


def _class_of(members: list[Member]) -> str:
    for member in members:
        if member.suffix == ".cls":
            return member.data.decode("utf-8", "replace").strip()
        if member.suffix == ".json":
            with suppress(ValueError, AttributeError):
                said = json.loads(member.data)
                word = said.get("cls", said.get("label"))
                if isinstance(word, str | int):
                    return str(word)
    return ""


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES
