"""Sources of photographs: the demo drawn by code, a folder, shards, or a public data set."""

import hashlib
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tarfile import TarError
from typing import Any

import torch
from torch import Tensor

from gancolor.data.catalogue import Item, Selection, Source, shuffled
from gancolor.data.decode import PICTURE_SUFFIXES, Fit
from gancolor.data.sources.demo import CLASSES as DEMO_CLASSES
from gancolor.data.sources.demo import draw_scene, scene_label
from gancolor.data.sources.folders import Folder, list_folder
from gancolor.data.sources.public import PUBLIC_DATA_SETS
from gancolor.data.sources.reading import Store
from gancolor.data.sources.shards import ShardCatalogue, find_store, is_pattern, open_shards, with_common_classes
from gancolor.utils import distributed
from gancolor.utils.errors import InputError, near

VAL_FOLDERS = ("val", "valid", "validation", "test")


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


def find_source(
    source: str,
    seed: int = 0,
    val_fraction: float = 0.1,
    limit: int | None = None,
    val_limit: int | None = None,
    demo_photos: int = 2000,
    opened: Callable[[Store], ShardCatalogue] | None = None,
    val_only: bool = False,
) -> Source:
    """Find the photographs of `--data.source`.

    A folder DIR is split as DIR/train and DIR/val (or valid, validation, test) if both exist; otherwise a seeded
    shuffle holds out a share `val_fraction`. If all photographs are in subfolders, and there are at least two, those
    are the classes. Shards work in the same way: a folder of them, a pattern, or an fsspec URL.

    Args:
        opened: opens the photographs in shards; None: as squares of 256 pixels.
        val_only: don't read shards that are only for training; `train` is then empty.

    Raises:
        InputError: no such folder or data set, no photographs in it, or no network.
    """
    if source == "demo":
        train = [DemoScene(0, index) for index in range(demo_photos)]
        val = [DemoScene(1, index) for index in range(max(demo_photos // 10, 10))]
        found = Source(f"the demo ({', '.join(DEMO_CLASSES)}, drawn by code)", train, val, DEMO_CLASSES)
    elif source in PUBLIC_DATA_SETS:
        found = _folder_source(_download(source), seed, val_fraction)
    elif is_pattern(source) or (source and _holds_shards(Path(source))):
        opened = opened or partial(open_shards, size=256)
        found = _shard_source(source, seed, val_fraction, opened, val_only)
    elif source and Path(source).is_dir():
        found = _folder_source(Path(source), seed, val_fraction)
    else:
        hint = near(source, ["demo", *PUBLIC_DATA_SETS]) or "."
        raise InputError(
            f"--data.source {source}: no such folder, and no data set of that name{hint} "
            f"Give a folder of photographs, shards (*.tar), demo, or one of {', '.join(PUBLIC_DATA_SETS)}"
        )
    if limit is not None:
        found = replace(found, train=_first(found.train, limit, seed))
    if val_limit is not None:
        found = replace(found, val=_first(found.val, val_limit, seed))
    return found


def _first(items: Sequence[Item], limit: int, seed: int) -> Sequence[Item]:
    first = shuffled(items, seed)[:limit]
    return _by_shard(first) if isinstance(first, Selection) else first


def _by_shard(items: Selection) -> Selection:
    """Put photographs in shards into storage order, so that they can be drawn from a few shards at a time."""
    return items.in_order() if isinstance(items.catalogue, ShardCatalogue) else items


def _divided(whole: Selection[Any], seed: int, val_fraction: float) -> tuple[Selection[Any], Selection[Any]]:
    """Split into (training, validation) by a seeded shuffle, with at least one photograph in each."""
    order = shuffled(whole, seed)
    assert isinstance(order, Selection)
    held_out = min(max(round(len(order) * val_fraction), 1), len(order) - 1)
    return _by_shard(order[held_out:]), _by_shard(order[:held_out])


def _folder_source(folder: Path, seed: int, val_fraction: float) -> Source:
    val_folder = next((folder / name for name in VAL_FOLDERS if (folder / name).is_dir()), None)
    if (folder / "train").is_dir() and val_folder:
        parts = [list_folder(folder / "train"), list_folder(val_folder)]
        for part in parts:
            if not len(part):
                raise InputError(f"{part.root}: no photographs in it ({_suffixes()})")
        train, val = _classified(parts)
        return Source(str(folder), Selection(train), Selection(val), tuple(train.classes))
    whole = list_folder(folder / "train" if (folder / "train").is_dir() else folder)
    if len(whole) < 2:
        count = len(whole) or "no"
        raise InputError(f"{whole.root}: {count} photographs in it ({_suffixes()}); training takes two or more")
    (whole,) = _classified([whole])
    return Source(str(folder), *_divided(Selection(whole), seed, val_fraction), tuple(whole.classes), held_out=True)


def _classified(parts: Sequence[Folder]) -> list[Folder]:
    """Make the first subfolders classes, if every photograph is in one and there are at least two."""
    names = sorted(frozenset().union(*(part.subfolders for part in parts)))
    labels = {name: number for number, name in enumerate(names)} if len(names) >= 2 and "" not in names else {}
    return [replace(part, classes=labels) for part in parts]


def _holds_shards(folder: Path) -> bool:
    """Return whether a folder holds tar files and no photographs, which take precedence."""
    tars = any(next(place.glob("*.tar"), None) for place in (folder, folder / "train"))
    return tars and not len(list_folder(folder))


def _shard_source(
    source: str, seed: int, val_fraction: float, opened: Callable[[Store], ShardCatalogue], val_only: bool
) -> Source:
    train_store, val_store = find_store(source, VAL_FOLDERS)
    if val_store:
        stores = [val_store] if val_only else [train_store, val_store]
        *train, val = with_common_classes([opened(store) for store in stores])
        return Source(source, Selection(train[0]) if train else (), Selection(val), val.columns.classes)
    whole = opened(train_store)
    if len(whole) < 2:
        raise InputError(f"--data.source {source}: a single photograph in it; training takes two or more")
    return Source(source, *_divided(Selection(whole), seed, val_fraction), whole.columns.classes, held_out=True)


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
    except (OSError, EOFError, TarError) as error:
        reason = str(getattr(error, "reason", error)).split("\n")[0]  # fastai appends the server's answer
        raise InputError(
            f"--data.source {name} can't be downloaded ({reason}); give a folder of photographs, or demo"
        ) from None


@cache
def _demo_version() -> str:
    return hashlib.sha256(Path(draw_scene.__code__.co_filename).read_bytes()).hexdigest()[:12]


def _suffixes() -> str:
    return " ".join(sorted(PICTURE_SUFFIXES))
