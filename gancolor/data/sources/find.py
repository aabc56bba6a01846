"""Sources of photographs: the demo drawn by code, folders, shards, data sets of the Hugging Face Hub, and public ones.

`find_source` finds a source and `open_source` opens it: which photographs are in shards or a stream is only known once
these have been read through, and that decodes them.
"""

import hashlib
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancolor.choices import PICTURE_SUFFIXES
from gancolor.config.options import DEMO_PHOTOS
from gancolor.data.cache.photographs import Decode
from gancolor.data.catalogue import Catalogue, Item, Selection, Source, shuffled
from gancolor.data.decode import Fit
from gancolor.data.sources.demo import CLASSES as DEMO_CLASSES
from gancolor.data.sources.demo import draw_scene, scene_label
from gancolor.data.sources.folders import Folder, list_folder
from gancolor.data.sources.huggingface import HubCatalogue, HubSplit, StreamCatalogue, find_splits, open_stream
from gancolor.data.sources.public import HUB_STREAM, PUBLIC_DATA_SETS, parse_hub_name
from gancolor.data.sources.reading import Store
from gancolor.data.sources.shards import ShardCatalogue, find_stores, is_pattern, open_shards, with_common_classes
from gancolor.data.sources.splits import NAMES, find_parts, warn_of_mixed, warn_of_unused
from gancolor.utils import distributed
from gancolor.utils.errors import InputError, near
from gancolor.utils.words import counted


@dataclass(frozen=True)
class DemoScene:
    """A scene drawn by code."""

    seed: int
    index: int

    @property
    def label(self) -> int:
        return scene_label(self.index)

    @property
    def name(self) -> str:
        return f"{DEMO_CLASSES[self.label]}-{self.seed}-{self.index}"

    @property
    def version(self) -> str:
        return _demo_version()

    def digest(self) -> str:
        return self.version

    def upright_size(self) -> tuple[int, int]:
        return 1, 1  # a square, drawn at any size

    def load(self, size: int, fit: Fit = "crop") -> Tensor:  # noqa: ARG002 - it is a square
        return torch.from_numpy(draw_scene(self.seed, self.index, size)).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class Split:
    """Choice of the training and validation photographs, by seeded shuffles.

    Attributes:
        val_fraction: share to hold out of a source without validation photographs of its own.
        limit, val_limit: most photographs for training and for validation; None: all.
    """

    seed: int
    val_fraction: float
    limit: int | None
    val_limit: int | None

    def held_out(self, name: str, whole: Catalogue[Any], classes: tuple[str, ...]) -> Source:
        """Return the source of this name with a share of its photographs held out: at least one, and not all."""
        order = shuffled(Selection(whole), self.seed)
        assert isinstance(order, Selection)
        count = min(max(round(len(order) * self.val_fraction), 1), len(order) - 1)
        return Source(name, _by_shard(order[count:]), _by_shard(order[:count]), classes, held_out=True)

    def limited(self, source: Source) -> Source:
        """Return a source with no more photographs than the limits."""
        return replace(source, train=self._first(source.train, self.limit), val=self._first(source.val, self.val_limit))

    def _first(self, items: Sequence[Item], limit: int | None) -> Sequence[Item]:
        if limit is None:
            return items
        first = shuffled(items, self.seed)[:limit]
        return _by_shard(first) if isinstance(first, Selection) else first


@dataclass(frozen=True)
class UnreadSource:
    """Shards, or a stream, that are found and not yet read.

    Attributes:
        name: of the source, as shown to users.
        val: those for validation; None: validation photographs are split off the training ones.
    """

    name: str
    train: Store | HubSplit
    val: Store | HubSplit | None
    split: Split


def find_source(
    source: str,
    seed: int = 0,
    val_fraction: float = 0.1,
    limit: int | None = None,
    val_limit: int | None = None,
    demo_photos: int = DEMO_PHOTOS,
) -> Source | UnreadSource:
    """Find the photographs of `--data.source`.

    A folder DIR is split as DIR/train and DIR/val if both exist (or training; valid, validation, test, testing; in any
    case); otherwise a seeded shuffle holds out a share `val_fraction`. If all photographs are in subfolders,
    and there are at least two, those are the classes. Shards work in the same way: a folder of them, a pattern, or an
    fsspec URL. So do the splits of data sets that Hugging Face's `datasets` reads, hf:NAME.

    Raises:
        InputError: no such folder or data set, no photographs in it, or no network.
    """
    split = Split(seed, val_fraction, limit, val_limit)
    if source == "demo":
        train = [DemoScene(0, index) for index in range(demo_photos)]
        val = [DemoScene(1, index) for index in range(max(demo_photos // 10, 10))]
        found = Source(f"the demo ({', '.join(DEMO_CLASSES)}, drawn by code)", train, val, DEMO_CLASSES)
    elif source in PUBLIC_DATA_SETS:
        found = _folder_source(_download(source), split)
    elif hub := parse_hub_name(source):
        splits = find_splits(source)
        if hub.scheme == HUB_STREAM:
            return UnreadSource(source, *splits, split)
        found = _hub_source(source, *splits, split)
    elif is_pattern(source) or (source and _holds_shards(Path(source))):
        return UnreadSource(source, *find_stores(source), split)
    elif source and Path(source).is_dir():
        found = _folder_source(Path(source), split)
    else:
        hint = near(source, ["demo", *PUBLIC_DATA_SETS]) or "."
        raise InputError(
            f"--data.source {source}: no such folder, and no data set of that name{hint} "
            "Give a folder of photographs, shards (*.tar), demo, hf:NAME of the Hugging Face Hub, or one of "
            f"{', '.join(PUBLIC_DATA_SETS)}"
        )
    return split.limited(found)


def open_source(
    found: Source | UnreadSource,
    size: int,
    cache: str | Path | None = None,
    fit: Fit = "crop",
    decode: Decode = "once",
    val_only: bool = False,
) -> Source:
    """Open a source: read shards or a stream through, if that has not been done yet, to know the photographs in them.

    Args:
        size, cache, fit, decode: as for `load_source`.
        val_only: don't read what is only for training; `train` is then empty.

    Raises:
        InputError: a shard or the stream can't be read, or there are no photographs in it.
    """
    if isinstance(found, Source):
        return found
    if found.val is None:
        whole = _read(found.train, size, cache, fit, decode)
        if len(whole) < 2:
            raise InputError(f"--data.source {found.name}: a single photograph in it; two or more are needed")
        return found.split.limited(found.split.held_out(found.name, whole, whole.columns.classes))
    stores = [found.val] if val_only else [found.train, found.val]
    parts: list[Any] = [_read(store, size, cache, fit, decode) for store in stores]
    *train, val = with_common_classes(parts)
    source = Source(found.name, Selection(train[0]) if train else (), Selection(val), val.columns.classes)
    return found.split.limited(source)


def _read(
    part: Store | HubSplit, size: int, cache: str | Path | None, fit: Fit, decode: Decode
) -> ShardCatalogue | StreamCatalogue:
    read: Any = open_stream if isinstance(part, HubSplit) else open_shards
    return read(part, size, cache, fit, decode)


def _by_shard(items: Selection) -> Selection:
    """Put photographs in shards into storage order, so that they can be drawn from a few shards at a time."""
    return items.in_order() if isinstance(items.catalogue, ShardCatalogue) else items


def _folder_source(folder: Path, split: Split) -> Source:
    train_folder, val_folder = (folder / name if name else None for name in find_parts(_subfolders(folder), folder))
    if train_folder and val_folder:
        parts = [_listed(train_folder), _listed(val_folder)]
        for part in parts:
            if not len(part):
                raise InputError(f"{part.root}: no photographs in it ({_suffixes()})")
        train, val = _classified(parts)
        return Source(str(folder), Selection(train), Selection(val), tuple(train.classes))
    whole = _listed(train_folder or folder)
    if len(whole) < 2:
        count = counted(len(whole), "photograph") if len(whole) else "no photographs"
        raise InputError(f"{whole.root}: {count} in it ({_suffixes()}); two or more are needed")
    if train_folder:
        others = [name for name in _subfolders(folder) if name != train_folder.name]
        warn_of_unused(others, train_folder.name, folder)
    (whole,) = _classified([whole])
    return split.held_out(str(folder), whole, tuple(whole.classes))


def _hub_source(source: str, train: HubSplit, val: HubSplit | None, split: Split) -> Source:
    whole = HubCatalogue(train)
    if val:
        return Source(source, Selection(whole), Selection(HubCatalogue(val)), train.classes)
    if len(whole) < 2:
        count = counted(len(whole), "photograph")
        raise InputError(f"--data.source {source}: {count} in it; two or more are needed")
    return split.held_out(source, whole, train.classes)


def _listed(folder: Path) -> Folder:
    """List a folder, and warn of what is ignored or looks like another split."""
    found = list_folder(folder)
    if distributed.is_main():
        found.ignored.warn(folder)
    warn_of_mixed(found.parts, folder)
    return found


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def _classified(parts: Sequence[Folder]) -> list[Folder]:
    """Make the first subfolders classes, if every photograph is in one and there are at least two."""
    names = sorted(frozenset().union(*(part.subfolders for part in parts)))
    labels = {name: number for number, name in enumerate(names)} if len(names) >= 2 and "" not in names else {}
    return [replace(part, classes=labels) for part in parts]


def _holds_shards(folder: Path) -> bool:
    """Return whether a folder holds tar files and no photographs, which take precedence."""
    if not folder.is_dir():
        return False
    parts = [folder / name for name in _subfolders(folder) if name.lower() in NAMES["train"]]
    tars = any(next(place.glob("*.tar"), None) for place in (folder, *parts))
    return tars and not len(list_folder(folder))


def _download(name: str) -> Path:
    """Return the folder of a public data set. The first time, fastai downloads it (with a progress bar) and unpacks
    it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from fastai's own imports
        from fastai.data.external import URLs, untar_data

    attribute, inside = PUBLIC_DATA_SETS[name]
    if distributed.is_main():
        print(f"{name}: from {getattr(URLs, attribute)}, kept in fastai's data folder", file=sys.stderr)
    try:
        return Path(untar_data(getattr(URLs, attribute))) / inside
    except Exception as error:  # fastai raises bare ones, such as of a file that is not the one it knows
        reason = str(getattr(error, "reason", error)).split("\n")[0]  # fastai appends the server's answer
        raise InputError(
            f"--data.source {name} can't be downloaded ({reason}); give a folder of photographs, or demo"
        ) from None


@cache
def _demo_version() -> str:
    return hashlib.sha256(Path(draw_scene.__code__.co_filename).read_bytes()).hexdigest()[:12]


def _suffixes() -> str:
    return " ".join(sorted(PICTURE_SUFFIXES))
