"""Metadata of photographs, memory-mapped, one file per column: a million photographs take almost no memory."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from torch import Tensor

AT_ONCE = 8192  # rows processed at a time
DIGEST = 32  # bytes of a sha256

_NAMES, _ENDS, _SKIPPED, _CLASSES = "names.utf8", "names.i64", "skipped.jsonl", "classes.json"
_COLUMNS: dict[str, tuple[str, type, tuple[int, ...]]] = {  # column -> file, type, shape of a row
    "labels": ("labels.i64", np.int64, ()),
    "colorfulness": ("colorfulness.f32", np.float32, ()),
    "contents": ("contents.u8", np.uint8, (DIGEST,)),
    "items": ("numbers.i64", np.int64, ()),
    "places": ("places.i64", np.int64, (3,)),
}


def mapped(file: Any, dtype: type, row: tuple[int, ...] = ()) -> np.ndarray:
    """Memory-map a file (or its path) of numbers as an array (N, *row). Writes to the array don't reach the file."""
    size = file.stat().st_size if isinstance(file, Path) else file.seek(0, 2)
    if not size:  # an empty file can't be mapped
        return np.empty((0, *row), dtype)
    return np.asarray(np.memmap(file, dtype, mode="c")).reshape(-1, *row)


class Names(Sequence[str]):
    """Names stored one after another in UTF-8; each str is created on access.

    Args:
        text: uint8, the bytes of all M names.
        ends: int64 (M,), the offset in `text` at which each name ends.
        rows: int64 (N,), the positions of the selected names among the M, in order; None: all.
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.text, self.ends, self.rows = text, ends, rows
        self._view = text.data

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        encoded = [_encode(name) for name in names]
        text = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(text, np.cumsum([len(name) for name in encoded], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends if self.rows is None else self.rows)

    def raw(self, index: int) -> bytes:
        row = index if self.rows is None else int(self.rows[index])
        return bytes(self._view[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Names": ...
    def __getitem__(self, index: int | slice) -> "str | Names":
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.raw(index % len(self)).decode("utf-8", "backslashreplace")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            indices = np.arange(start, min(start + AT_ONCE, len(self)))
            rows = indices if self.rows is None else self.rows[indices]
            starts = np.where(rows > 0, self.ends[rows - 1], 0)
            for first, last in zip(starts.tolist(), self.ends[rows].tolist(), strict=True):
                yield str(self._view[first:last], "utf-8", "backslashreplace")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Names of {len(self)}: {', '.join([*self[:5], '...'] if len(self) > 5 else self)}"

    def select(self, indices: np.ndarray) -> "Names":
        """Return the names of these indices (int64), in this order. The text is shared, not copied."""
        return Names(self.text, self.ends, indices if self.rows is None else self.rows[indices])


class Skip(NamedTuple):
    """An item that could not be decoded; if it was unreadable, the reason may have passed."""

    item: int
    name: str
    reason: str
    unreadable: bool


@dataclass(frozen=True, eq=False)
class Columns:
    """Metadata of M photographs, one row each.

    Attributes:
        names: of the M photographs.
        labels: int64 (M,), -1 where there is no class.
        colorfulness: float32 (M,).
        contents: uint8 (M, 32), sha256 of name and contents, the same on every machine.
        items: int64 (M,), increasing: index of each photograph among the items that were read, of which some could not
            be decoded and were skipped.
        places: int64 (M, 3): shard, first byte and number of bytes; (0, 3) if the photographs are not in shards.
        classes: class names, if the photographs themselves state them (shards).
        skips: the items that could not be decoded, in order.
    """

    names: Names
    labels: np.ndarray
    colorfulness: np.ndarray
    contents: np.ndarray
    items: np.ndarray
    places: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.int64))
    classes: tuple[str, ...] = ()
    skips: tuple[Skip, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(
        cls, names: Sequence[str], labels: Any, colorfulness: Any, contents: Sequence[str] | None = None
    ) -> "Columns":
        """Create columns from values in memory. Without contents, only the names are hashed."""
        digests = b"".join(row_digest(*row) for row in zip(names, contents or names, strict=True))
        return cls(
            Names.of(names), np.asarray(labels, np.int64), np.asarray(colorfulness, np.float32),
            np.frombuffer(digests, np.uint8).reshape(-1, DIGEST), np.arange(len(names)),
        )  # fmt: skip

    @classmethod
    def open(cls, folder: Path) -> "Columns":
        """Open the columns that `IndexWriter` has written to a folder."""
        names = Names(mapped(folder / _NAMES, np.uint8), mapped(folder / _ENDS, np.int64))
        columns = {name: mapped(folder / file, dtype, row) for name, (file, dtype, row) in _COLUMNS.items()}
        with (folder / _SKIPPED).open(encoding="utf-8") as file:
            skips = tuple(Skip(*json.loads(line)) for line in file)
        classes = json.loads((folder / _CLASSES).read_text(encoding="utf-8"))
        return cls(names, **columns, classes=tuple(classes), skips=skips)

    @property
    def skipped(self) -> dict[str, str]:
        """Return why items could not be decoded, by name."""
        return {skip.name: skip.reason for skip in self.skips}

    def select(self, rows: np.ndarray) -> "Columns":
        """Return these rows. All columns but the names are copied."""
        return Columns(
            self.names.select(rows), self.labels[rows], self.colorfulness[rows], self.contents[rows],
            np.arange(len(rows)), self.places[rows] if len(self.places) else self.places, self.classes,
        )  # fmt: skip

    def rows_of(self, items: np.ndarray) -> np.ndarray:
        """Return the rows of these items (int64 indices), in their order; skipped items have none."""
        if not self.skips:
            return items
        rows = np.searchsorted(self.items, items)
        return rows[np.append(self.items, -1)[rows] == items]

    def skipped_among(self, items: np.ndarray) -> dict[str, str]:
        """Return which of these items (int64 indices) were skipped: name -> reason."""
        chosen = np.isin([skip.item for skip in self.skips], items).tolist()
        return {skip.name: skip.reason for skip, mine in zip(self.skips, chosen, strict=True) if mine}


@dataclass(frozen=True, eq=False)
class Index:
    """An index on the disk, opened.

    Attributes:
        columns: metadata of the M photographs.
        digest: hash of the photographs' names, file versions and size; comparable on this machine only.
        pictures: uint8 sRGB (M, 3, S, S), memory-mapped; None: not kept.
    """

    columns: Columns
    digest: str
    pictures: Tensor | None


class IndexWriter:
    """Writer that appends photographs to the columns in a folder, and keeps nothing in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._open, self._end = folder, ExitStack(), 0
        wanted = [_NAMES, _ENDS, _SKIPPED, *(file for file, _, _ in _COLUMNS.values())]
        self._files = {name: self._open.enter_context((folder / name).open("wb")) for name in wanted}

    def append(
        self, item: int, name: str, label: int, colorfulness: float, content: str, place: tuple[int, ...] = ()
    ) -> None:
        """Append a photograph.

        Args:
            item: its index among the items that are read.
            content: digest of the file's contents.
            place: shard, first byte and number of bytes, of photographs in shards.
        """
        encoded = _encode(name)
        self._end += len(encoded)
        self._files[_NAMES].write(encoded)
        self._files[_ENDS].write(np.int64(self._end).tobytes())
        values = (label, colorfulness, item, place)
        for column, value in zip(("labels", "colorfulness", "items", "places"), values, strict=True):
            file, dtype, _ = _COLUMNS[column]
            self._files[file].write(np.asarray(value, dtype).tobytes())
        self._files[_COLUMNS["contents"][0]].write(row_digest(name, content))

    def skip(self, item: int, name: str, reason: str, unreadable: bool = False) -> None:
        """Note that an item could not be decoded."""
        self._files[_SKIPPED].write(json.dumps(Skip(item, name, reason, unreadable)).encode() + b"\n")

    def close(self, relabel: np.ndarray | None = None, classes: Sequence[str] = ()) -> None:
        """Write the class names, close the files and replace the labels.

        Args:
            relabel: int64, the new label for each label so far; None: keep them.
            classes: names of the classes.
        """
        self._open.close()
        (self.folder / _CLASSES).write_text(json.dumps(classes), encoding="utf-8")
        path = self.folder / _COLUMNS["labels"][0]
        if relabel is not None and path.stat().st_size:
            labels = np.memmap(path, np.int64, mode="r+")
            for start in range(0, len(labels), AT_ONCE):
                labels[start : start + AT_ONCE] = relabel[labels[start : start + AT_ONCE]]
            labels.flush()


def row_digest(name: str, content: str) -> bytes:
    return hashlib.sha256(_encode(f"{name} {content}")).digest()


def combined(contents: np.ndarray, rows: np.ndarray | None) -> str:
    """Return one digest of rows of `Columns.contents`, independent of their order."""
    total, count = np.zeros(DIGEST, np.uint8), len(contents) if rows is None else len(rows)
    for start in range(0, count, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        total ^= np.bitwise_xor.reduce(contents[part if rows is None else rows[part]], axis=0)
    return hashlib.sha256(f"{count} ".encode() + total.tobytes()).hexdigest()


def in_order(contents: np.ndarray, rows: np.ndarray | None) -> bytes:
    """Return one digest of rows of `Columns.contents`, in this order."""
    digest, count = hashlib.sha256(), len(contents) if rows is None else len(rows)
    for start in range(0, count, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        digest.update(np.ascontiguousarray(contents[part if rows is None else rows[part]]).data)
    return digest.digest()


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "backslashreplace")
