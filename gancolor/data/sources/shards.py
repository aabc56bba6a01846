"""Photographs in shards (tar files as WebDataset writes them), in a folder or anywhere that fsspec can read."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec  # type: ignore[import-untyped]
import numpy as np

from gancolor.data.cache.build import IndexJob
from gancolor.data.cache.index import Index
from gancolor.data.cache.photographs import CACHE_VERSION, Decode, default_cache, open_or_build
from gancolor.data.catalogue import Catalogue, Facts
from gancolor.data.decode import Fit
from gancolor.data.sources.encoded import EncodedPhoto
from gancolor.data.sources.folders import printable
from gancolor.data.sources.reading import Store
from gancolor.data.sources.splits import find_parts, kind_of_part, warn_of_mixed
from gancolor.data.sources.tars import read_samples
from gancolor.utils.errors import InputError
from gancolor.utils.ignored_files import IgnoredFiles

Value = TypeVar("Value")
ASKED_AT_ONCE = 16  # shards whose version is queried in parallel
MOST_CLASSES = 65_536  # more distinct names than that are captions
# Keys of metadata that changes with a file's contents, as various fsspec file systems name it; most reliable first.
_MARKS = (
    "ETag", "etag", "xet_hash", "blob_id", "md5Hash", "Content-MD5", "contentHash", "Digest", "mtime", "LastModified",
    "Last-Modified", "last_modified", "updated", "created",
)  # fmt: skip


@dataclass(frozen=True)
class ShardPhoto(EncodedPhoto):
    """A photograph in a shard."""

    store: Store
    name: str
    label: int
    place: tuple[int, int, int]  # shard, first byte, number of bytes

    @property
    def version(self) -> str:
        return f"{self.store.versions[self.place[0]]} {self.place[1]}"

    def read(self) -> bytes:
        return self.store.read(*self.place)


@dataclass(frozen=True)
class _Read(ShardPhoto):
    """A photograph in a shard, with its encoded bytes already in memory."""

    data: bytes = b""

    def read(self) -> bytes:
        return self.data


class ShardCatalogue(Catalogue[ShardPhoto]):
    """The photographs in shards, shard by shard: those of an index, row by row."""

    index: Index

    def __init__(self, store: Store, index: Index) -> None:
        self.store, self.index, self.columns, self.names = store, index, index.columns, index.columns.names

    def item(self, row: int) -> ShardPhoto:
        shard, offset, length = self.columns.places[row].tolist()
        return ShardPhoto(self.store, self.names[row], int(self.columns.labels[row]), (shard, offset, length))

    def facts(self, rows: np.ndarray) -> Iterable[Facts]:
        versions, columns = self.store.versions, self.columns
        places, labels = columns.places[rows].tolist(), columns.labels[rows].tolist()
        for name, (shard, offset, _), label in zip(self.names.select(rows), places, labels, strict=True):
            yield name, f"{versions[shard]} {offset}", label

    def labelled(self, labels: np.ndarray, classes: tuple[str, ...]) -> "ShardCatalogue":
        """Return these photographs with other labels (int64) and class names."""
        columns = replace(self.columns, labels=labels, classes=classes)
        return ShardCatalogue(self.store, replace(self.index, columns=columns))


def open_shards(
    store: Store, size: int, cache: str | Path | None = None, fit: Fit = "crop", decode: Decode = "once"
) -> ShardCatalogue:
    """Open the photographs in shards. The first call reads all shards; later calls only check their versions.

    Raises:
        InputError: a shard can't be read, or no photograph in the shards can be decoded.
    """
    versions = "\n".join(f"{name} {version}" for name, version in zip(store.names, store.versions, strict=True))
    digest = hashlib.sha256(f"{CACHE_VERSION} shards {size} {fit} {versions}".encode()).hexdigest()[:16]
    class_numbers, ignored = dict[str, int](), IgnoredFiles()
    job = IndexJob(
        _read_through(store, class_numbers, ignored), None, size, fit, f"photographs in {len(store.names)} shards",
        decode == "once", lambda photo: photo.place, lambda: _labelling(class_numbers),
    )  # fmt: skip
    index = open_or_build(job, digest, cache)
    ignored.warn(f"{store.paths[0]}{', ...' if len(store.paths) > 1 else ''}")
    scratch = Path(cache or default_cache()).expanduser()
    if not len(index.columns):
        name, why = next(iter(index.columns.skipped.items()), (store.paths[0], "no picture in it"))
        raise InputError(f"no photographs in the shards that can be decoded ({name}: {why})")
    return ShardCatalogue(store.copying_to(scratch if os.access(scratch, os.W_OK) else None), index)


def _read_through(store: Store, class_numbers: dict[str, int], ignored: IgnoredFiles) -> Iterator[_Read]:
    """Yield every photograph with its bytes. Its label is the number of its class name in `class_numbers`, to which new
    names are added in the order of their appearance."""
    for shard, name in enumerate(store.names):
        with store.open(shard) as stream:
            for sample in read_samples(stream, store.paths[shard], ignored):
                member = sample.member
                if len(class_numbers) <= MOST_CLASSES:
                    class_numbers.setdefault(sample.class_name, len(class_numbers))
                place = shard, member.offset, len(member.data)
                yield _Read(store, f"{name}/{member.name}", class_numbers.get(sample.class_name, 0), place, member.data)


def _labelling(class_numbers: dict[str, int]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return new labels, and the class names. As in folders, there are classes only if every photograph has one and
    there are at least two."""
    if "" in class_numbers or not 2 <= len(class_numbers) <= MOST_CLASSES:
        return np.full(len(class_numbers) or 1, -1), ()
    classes = _sorted(class_numbers)
    return _relabel(list(class_numbers), classes), classes


def with_common_classes(parts: Sequence[ShardCatalogue]) -> list[ShardCatalogue]:
    """Give training and validation photographs the same class numbers, for the union of their classes. If one of the
    two has no classes, neither gets any."""
    before = [part.columns.classes for part in parts]
    classes = _sorted({name for names in before for name in names}) if all(before) else ()
    return [
        part if names == classes else part.labelled(_labels(part, classes), classes)
        for part, names in zip(parts, before, strict=True)
    ]


def _labels(part: ShardCatalogue, classes: tuple[str, ...]) -> np.ndarray:
    if not classes:
        return np.full(len(part), -1)
    return _relabel(part.columns.classes, classes)[part.columns.labels]


def _sorted(classes: Iterable[str]) -> tuple[str, ...]:
    """Sort numbers by value, then names."""
    return tuple(sorted(classes, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))


def _relabel(before: Sequence[str], after: Sequence[str]) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(after)}
    return np.array([numbers[name] for name in before], np.int64)


# Finding shards -----------------------------------------------------------------------------------------------------


def is_pattern(source: str) -> bool:
    """Return whether a source names shards: it is a URL, or the name or pattern of tar files."""
    return "://" in source or source.endswith(".tar")


def find_stores(source: str) -> tuple[Store, Store | None]:
    """Find the training shards and, if they have a folder of their own, the validation shards.

    Args:
        source: a pattern (`train-{000..127}.tar`, `*.tar`), or a folder of shards; also as an fsspec URL.

    Raises:
        InputError: no such shard, or a package that is needed to read it is not installed.
    """
    fs, path = _file_system(source)
    if source.endswith(".tar"):
        return _store(fs, source, [found for part in expand(path) for found in _glob(fs, source, part)]), None
    folder = path.rstrip("/")
    parts: dict[str, list[str]] = {}
    for shard in _tars(fs, source, f"{escape(folder)}/*"):
        parts.setdefault(PurePosixPath(shard).parent.name, []).append(shard)
    train, val = find_parts(parts, source)
    if train and val:
        return _store(fs, source, parts[train]), _store(fs, source, parts[val])
    found = parts[train] if train else _tars(fs, source, escape(folder))
    if not found:
        raise InputError(f"--data.source {source}: no shards (*.tar) in it")
    return _store(fs, source, found), None


def expand(pattern: str) -> list[str]:
    """Expand braces as shells do: `a{b,c}`, `a{000..127}` and, without zeros in front, `a{0..127}`."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if not braces:
        return [pattern]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", braces[1])
    if span:
        first, last = int(span[1]), int(span[2])
        padded = any(len(end) > 1 and end.startswith("0") for end in span.groups())
        width = max(map(len, span.groups())) if padded else 0
        down = first > last
        choices = [f"{number:0{width}d}" for number in range(first, last - 1 if down else last + 1, -1 if down else 1)]
    else:
        choices = braces[1].split(",")
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [name for choice in choices for name in expand(f"{before}{choice}{after}")]


def _file_system(source: str) -> tuple[Any, str]:
    try:
        fs, path = fsspec.core.url_to_fs(source)
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or "that package"
        raise InputError(f"--data.source {source}: {error}: pip install {package}") from None
    except ValueError as error:
        raise InputError(f"--data.source {source}: {error}") from None
    return fs, path


def _glob(fs: Any, source: str, path: str) -> list[str]:
    if not re.search(r"[*?\[]", path) or _asked(source, lambda: fs.isfile(path)):
        return [path]
    found = sorted(_asked(source, lambda: fs.glob(path)))
    if not found:
        raise InputError(f"--data.source {source}: no shards of that pattern")
    return found


def _tars(fs: Any, source: str, folders: str) -> list[str]:
    """List the shards directly in all folders that match a pattern."""
    return sorted(_asked(source, lambda: fs.glob(f"{folders}/*.tar")))


def _store(fs: Any, source: str, paths: list[str]) -> Store:
    def version(path: str) -> str:
        try:
            about = fs.info(path)
        except FileNotFoundError:
            raise InputError(f"--data.source {source}: {path} is not there, or can't be reached") from None
        mark = next((about[name] for name in _MARKS if about.get(name)), "")
        return f"{about['size']} {mark}"

    kinds = {kind_of_part(PurePosixPath(path).stem, anywhere=True): PurePosixPath(path).name for path in paths}
    if len(kinds) > 1 and kinds.keys() & {"val", "test"}:
        warn_of_mixed([name for kind, name in kinds.items() if kind in ("val", "test")], source)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        versions = _asked(source, lambda: list(pool.map(version, paths)))
    return Store(fs, paths, _names(paths), versions)


def _names(paths: Sequence[str]) -> list[str]:
    """Return the shards' names without suffix, from the first part of the path in which they differ."""
    parts = [PurePosixPath(path).with_suffix("").parts for path in paths]
    above = min(len(part) for part in parts) - 1
    shared = next((at for at in range(above) if len({part[at] for part in parts}) > 1), above)
    return [printable("/".join(part[shared:])) for part in parts]


def _asked(source: str, question: Callable[[], Value]) -> Value:
    """Query a file system, and report its many kinds of errors in one line."""
    try:
        return question()
    except InputError:
        raise
    except Exception as error:
        reason = str(getattr(error, "strerror", None) or error or type(error).__name__).split("\n")[0]
        raise InputError(f"--data.source {source}: can't be read ({reason})") from None
