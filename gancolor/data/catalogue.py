"""Photographs that can be loaded, and sequences of them that create each item when it is accessed.

Two kinds of numbers identify a photograph in this package. Its row is its position in stored data: in a catalogue (all
photographs in a folder or in shards), or in an index on the disk (those that could be decoded). Its index is its
position in a sequence: in `items`, a `Selection`, `Names` or `Photographs`. A `Selection` maps its indices to rows of
its catalogue, and `Photographs` map theirs to rows of their index on the disk. `load_parts` turns selections into
`Photographs`; what comes after loading (sampling, training, evaluation) uses only indices of these.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, overload

import numpy as np
from torch import Tensor

from gancolor.data.cache.index import AT_ONCE, Index, Names
from gancolor.data.decode import Fit, decode, fit_square, upright_size
from gancolor.utils.files import file_digest


class Item(Protocol):
    """A photograph that can be loaded.

    `label` indexes the source's classes, or is -1. `name` is unique within the source. `version` and `digest` change
    when the contents do; only `digest` is the same on every machine.
    """

    @property
    def label(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def digest(self) -> str: ...

    def upright_size(self) -> tuple[int, int]:
        """Return the upright height and width [pixels], before fitting. Raises UndecodableError."""
        ...

    def load(self, size: int, fit: Fit = "crop") -> Tensor:
        """Load the photograph as uint8 sRGB (3, size, size). Raises UndecodableError."""
        ...


@dataclass(frozen=True)
class PhotoFile:
    """A picture file in a folder."""

    path: Path
    name: str
    label: int = -1

    @property
    def version(self) -> str:
        """Length and modification time, as make and git use: reading the contents of all files takes too long."""
        stat = self.path.stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def digest(self) -> str:
        return file_digest(self.path)

    def upright_size(self) -> tuple[int, int]:
        return upright_size(self.path)

    def load(self, size: int, fit: Fit = "crop") -> Tensor:
        return fit_square(decode(self.path), size, fit)


AnyItem = TypeVar("AnyItem", bound=Item)
Made = TypeVar("Made", bound=Item, covariant=True)
Facts = tuple[str, str, int]  # an item's name, version and label


class Catalogue(ABC, Generic[Made]):
    """All photographs in one folder or set of shards, one per row.

    Attributes:
        names: of the photographs.
        index: for shards, the index on the disk that lists the photographs, with the same rows; else None.
    """

    names: Names
    index: Index | None = None

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def item(self, row: int) -> Made: ...

    @abstractmethod
    def facts(self, rows: np.ndarray) -> Iterable[Facts]:
        """Return the facts of the items in these rows, without creating the items."""


class Selection(Sequence[AnyItem]):
    """Photographs of a catalogue, in a given order.

    Args:
        rows: int64 (N,); None: all rows, in the catalogue's order.
    """

    def __init__(self, catalogue: Catalogue[AnyItem], rows: np.ndarray | None = None) -> None:
        self.catalogue, self.rows = catalogue, rows

    def __len__(self) -> int:
        return len(self.catalogue if self.rows is None else self.rows)

    @overload
    def __getitem__(self, index: int) -> AnyItem: ...
    @overload
    def __getitem__(self, index: slice) -> "Selection[AnyItem]": ...
    def __getitem__(self, index: int | slice) -> "AnyItem | Selection[AnyItem]":
        if isinstance(index, slice):
            rows = np.arange(len(self.catalogue)) if self.rows is None else self.rows
            return Selection(self.catalogue, rows[index])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.catalogue.item(index % len(self) if self.rows is None else int(self.rows[index]))

    @property
    def names(self) -> Names:
        return self.catalogue.names if self.rows is None else self.catalogue.names.select(self.rows)

    def select(self, indices: np.ndarray) -> "Selection[AnyItem]":
        """Return the photographs of these indices (int64), in this order."""
        return Selection(self.catalogue, indices if self.rows is None else self.rows[indices])

    def in_order(self) -> "Selection[AnyItem]":
        """Return these photographs in the catalogue's order."""
        return self if self.rows is None else Selection(self.catalogue, np.sort(self.rows))

    def followed_by(self, other: "Selection[AnyItem]") -> "Selection[AnyItem]":
        """Return these photographs followed by others of the same catalogue."""
        parts = [np.arange(len(part)) if part.rows is None else part.rows for part in (self, other)]
        return Selection(self.catalogue, np.concatenate(parts))

    def union(self, other: "Selection[AnyItem]") -> "Selection[AnyItem]":
        """Return these photographs and others of the same catalogue, in its order. The two must not overlap."""
        if len(self) + len(other) == len(self.catalogue):
            return Selection(self.catalogue)
        parts = [part.rows for part in (self, other) if part.rows is not None]
        return Selection(self.catalogue, np.sort(np.concatenate(parts)))

    def indices_of(self, some: "Selection[AnyItem]") -> np.ndarray:
        """Return the indices in this selection (int64) of the photographs in `some`, all of which must be in it. This
        selection must be in the catalogue's order."""
        rows = np.arange(len(some)) if some.rows is None else some.rows
        return rows if self.rows is None else np.searchsorted(self.rows, rows)

    def facts(self) -> Iterator[Facts]:
        for start in range(0, len(self), AT_ONCE):
            indices = np.arange(start, min(start + AT_ONCE, len(self)))
            yield from self.catalogue.facts(indices if self.rows is None else self.rows[indices])


def names_of(items: Sequence[Item]) -> Iterable[str]:
    return items.names if isinstance(items, Selection) else (item.name for item in items)


def facts_of(items: Sequence[Item]) -> Iterable[Facts]:
    if isinstance(items, Selection):
        return items.facts()
    return ((item.name, item.version, item.label) for item in items)


def select(items: Sequence[Item], indices: np.ndarray) -> Sequence[Item]:
    """Return the items of these indices (int64), in this order."""
    return items.select(indices) if isinstance(items, Selection) else [items[index] for index in indices]


def shuffled(items: Sequence[Item], seed: int) -> Sequence[Item]:
    """Shuffle items by the sha256 of the seed and each name, so that the order is the same on every machine and file
    system. Eight bytes of the sha256 tell millions of names apart."""
    begun = hashlib.sha256(f"{seed} ".encode())

    def key(name: str) -> bytes:
        digest = begun.copy()
        digest.update(name.encode())
        return digest.digest()[:8]

    keys = np.empty(len(items), np.uint64)
    names = iter(names_of(items))
    for start in range(0, len(items), AT_ONCE):
        part = b"".join(key(name) for _, name in zip(range(AT_ONCE), names, strict=False))
        keys[start : start + AT_ONCE] = np.frombuffer(part, ">u8")
    return select(items, np.argsort(keys, kind="stable"))


@dataclass(frozen=True)
class Source:
    """Photographs for training and validation.

    Attributes:
        name: of the source, as shown to users.
        held_out: the validation photographs were split off by us, because the source has no folder of them.
    """

    name: str
    train: Sequence[Item]
    val: Sequence[Item]
    classes: tuple[str, ...] = ()
    held_out: bool = False
