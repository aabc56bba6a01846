"""Folders of picture files, listed in the order of their names. A million files take seconds and almost no memory."""

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from gancolor.choices import PICTURE_SUFFIXES
from gancolor.data.cache.index import AT_ONCE, Names, mapped
from gancolor.data.catalogue import Catalogue, Facts, PhotoFile, Selection
from gancolor.data.sources.splits import kind_of_part
from gancolor.utils.ignored_files import IgnoredFiles


@dataclass(frozen=True, eq=False)
class Folder(Catalogue[PhotoFile]):
    """All picture files below a folder, in the order of their names.

    Attributes:
        stats: int64 (N, 2), length [bytes] and modification time [ns] of each file.
        subfolders: names of the direct subfolders with photographs at any depth; "" if some are in the root itself.
        ignored: files at any depth that are not taken for photographs.
        parts: names of folders with photographs, at any depth, that look like parts of a split.
        classes: name of such a subfolder -> label.
    """

    root: Path
    names: Names
    stats: np.ndarray
    subfolders: frozenset[str]
    ignored: IgnoredFiles
    parts: frozenset[str]
    classes: Mapping[str, int] = field(default_factory=dict)

    def item(self, row: int) -> PhotoFile:
        name = self.names[row]
        return PhotoFile(self.root / os.fsdecode(self.names.raw(row)), name, self._label(name))

    def facts(self, rows: np.ndarray) -> Iterable[Facts]:
        names, stats = list(self.names.select(rows)), self.stats[rows].tolist()
        labels = [self._label(name) for name in names] if self.classes else [-1] * len(names)
        versions = [f"{length} {changed}" for length, changed in stats]
        return zip(names, versions, labels, strict=True)

    def _label(self, name: str) -> int:
        return self.classes.get(name.partition("/")[0], -1) if self.classes else -1


def list_photographs(folder: Path) -> Selection[PhotoFile]:
    """List all picture files below a folder, in the order of their names. Links are followed; hidden files are left
    out."""
    return Selection(list_folder(folder))


def list_folder(root: Path) -> Folder:
    """List a folder as `list_photographs` does. Names, lengths and modification times go to temporary files, which are
    memory-mapped."""
    with tempfile.TemporaryFile() as text, tempfile.TemporaryFile() as ends, tempfile.TemporaryFile() as stats:
        ignored = IgnoredFiles()
        folders = _list(root, text, ends, stats, ignored)
        subfolders = frozenset(printable(folder.partition("/")[0]) for folder in folders)
        names = Names(mapped(text, np.uint8), mapped(ends, np.int64))
        return Folder(root, names, mapped(stats, np.int64, (2,)), subfolders, ignored, _parts(folders))


def _parts(folders: Iterable[str]) -> frozenset[str]:
    """Return those of the folders, and of the folders above them, that look like parts of a split."""
    paths = [folder.split("/") for folder in folders]
    kinds = {kind_of_part(step, anywhere=True) for steps in paths for step in steps}
    both = "train" in kinds and not kinds.isdisjoint(("val", "test"))  # then names such as images_val are no accident
    found = set()
    for steps in paths:
        alike = [depth for depth, step in enumerate(steps) if kind_of_part(step, anywhere=both)]
        found |= {"/".join(steps[: depth + 1]) for depth in alike}
    return frozenset(map(printable, found))


def _list(root: Path, text: IO[bytes], ends: IO[bytes], stats: IO[bytes], ignored: IgnoredFiles) -> set[str]:
    """Write the names and stats of a folder's pictures to files, and return the folders that directly hold pictures."""
    folders = set[str]()
    end, some_ends, some_stats, last = 0, array("q"), array("q"), None
    for name, stat in _pictures(os.fspath(root), "", frozenset(), ignored):
        folder = name.rpartition("/")[0]
        if folder != last:
            last = folder
            folders.add(folder)
        encoded = os.fsencode(name)
        end += len(encoded)
        text.write(encoded)
        some_ends.append(end)
        some_stats.extend((stat.st_size, stat.st_mtime_ns))
        if len(some_ends) == AT_ONCE:
            some_ends.tofile(ends)
            some_stats.tofile(stats)
            some_ends, some_stats = array("q"), array("q")
    some_ends.tofile(ends)
    some_stats.tofile(stats)
    for file in (text, ends, stats):
        file.flush()
    return folders


def printable(name: str) -> str:
    """Return a file name with those bytes escaped that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _pictures(
    folder: str, prefix: str, above: frozenset[tuple[int, int]], ignored: IgnoredFiles
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield names relative to the root, with the files' stat results, and count the other files. Folders are sorted by
    their name with a slash, so that full names come in order."""
    found = os.stat(folder)  # noqa: PTH116 - half the time of Path's
    this = found.st_dev, found.st_ino
    if this in above:  # a link to a folder above it
        return
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            try:
                if name[name.rfind(".") :].lower() in PICTURE_SUFFIXES and entry.is_file():
                    names.append(name)
                elif entry.is_dir():
                    names.append(f"{name}/")
                else:
                    ignored.add(name)
            except OSError:  # a link to itself
                ignored.add(name)
    names.sort(key=printable)
    for name in names:
        path = f"{folder}/{name}"
        if name[-1] == "/":
            yield from _pictures(path[:-1], prefix + name, above | {this}, ignored)
        else:
            yield prefix + name, os.stat(path)  # noqa: PTH116
