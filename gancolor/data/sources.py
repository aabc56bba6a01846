"""Where photographs come from: the demo drawn by code, a folder, or a public data set. All end as lists of items."""

import hashlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tarfile import TarError
from typing import Protocol

import torch
from torch import Tensor

from gancolor import distributed
from gancolor.data.decode import PICTURE_SUFFIXES, Fit, decode, fit_square, upright_size
from gancolor.data.demo import CLASSES as DEMO_CLASSES
from gancolor.data.demo import draw_scene, scene_label
from gancolor.data.public import PUBLIC
from gancolor.errors import InputError, near
from gancolor.files import file_digest

VAL_FOLDERS = ("val", "valid", "validation", "test")


class Item(Protocol):
    """A photograph that can be had. `label` indexes the source's classes, or is -1; `name` tells it from the others of
    its source; `version` changes when its contents do, `digest` does so alike on every machine."""

    @property
    def label(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def digest(self) -> str: ...

    def upright_size(self) -> tuple[int, int]:
        """Height and width before it is fitted. Raises UndecodableError."""
        ...

    def load(self, size: int, fit: Fit = "crop") -> Tensor:
        """uint8 sRGB (3, size, size). Raises UndecodableError."""
        ...


@dataclass(frozen=True)
class PhotoFile:
    """A file of a folder."""

    path: Path
    name: str
    label: int = -1

    @property
    def version(self) -> str:
        """Length and time of change stand for the contents, as in make and git: reading them all takes too long."""
        stat = self.path.stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def digest(self) -> str:
        return file_digest(self.path)

    def upright_size(self) -> tuple[int, int]:
        return upright_size(self.path)

    def load(self, size: int, fit: Fit = "crop") -> Tensor:
        return fit_square(decode(self.path), size, fit)


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
        return 1, 1  # it is drawn as a square of any size

    def load(self, size: int, fit: Fit = "crop") -> Tensor:  # noqa: ARG002 - it is a square
        return torch.from_numpy(draw_scene(self.seed, self.index, size)).permute(2, 0, 1).contiguous()


@dataclass
class Source:
    """Photographs to train and to validate on.

    Attributes:
        name: for people.
        held_out: the validation photographs were chosen by us, since the source has no folder of them.
    """

    name: str
    train: Sequence[Item]
    val: Sequence[Item]
    classes: tuple[str, ...] = ()
    held_out: bool = False


def find_source(
    source: str,
    seed: int = 0,
    val_fraction: float = 0.1,
    limit: int | None = None,
    val_limit: int | None = None,
    demo_photos: int = 2000,
) -> Source:
    """The photographs of `--data.source`.

    A folder DIR is split as DIR/train and DIR/val (or valid, validation, test) where both exist; otherwise a share
    `val_fraction` is held out by a seeded shuffle. Where all photographs lie in subfolders, two or more, those are the
    classes.

    Raises:
        InputError: no such folder or data set, no photographs in it, no network.
    """
    if source == "demo":
        train = [DemoScene(0, index) for index in range(demo_photos)]
        val = [DemoScene(1, index) for index in range(max(demo_photos // 10, 10))]
        found = Source(f"the demo ({', '.join(DEMO_CLASSES)}, drawn by code)", train, val, DEMO_CLASSES)
    elif source in PUBLIC:
        found = _folder_source(_download(source), seed, val_fraction)
    elif source and Path(source).is_dir():
        found = _folder_source(Path(source), seed, val_fraction)
    else:
        hint = near(source, ["demo", *PUBLIC]) or "."
        raise InputError(
            f"--data.source {source}: no such folder, and no data set of that name{hint} "
            f"Give a folder of photographs, demo, or one of {', '.join(PUBLIC)}"
        )
    if limit is not None:
        found.train = shuffled(found.train, seed)[:limit]
    if val_limit is not None:
        found.val = shuffled(found.val, seed)[:val_limit]
    return found


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """A seeded order that depends on each item's name alone, so it is the same on any machine and file system."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item.name}".encode()).digest())


def _folder_source(folder: Path, seed: int, val_fraction: float) -> Source:
    val_folder = next((folder / name for name in VAL_FOLDERS if (folder / name).is_dir()), None)
    if (folder / "train").is_dir() and val_folder:
        train, val = list_photographs(folder / "train"), list_photographs(val_folder)
        for part, files in ((folder / "train", train), (val_folder, val)):
            if not files:
                raise InputError(f"{part}: no photographs in it ({_suffixes()})")
        classes = _classes([*train, *val])
        return Source(str(folder), _labelled(train, classes), _labelled(val, classes), classes)
    root = folder / "train" if (folder / "train").is_dir() else folder
    files = list_photographs(root)
    if len(files) < 2:
        raise InputError(f"{root}: {len(files) or 'no'} photographs in it ({_suffixes()}); training takes two or more")
    classes = _classes(files)
    order = shuffled(_labelled(files, classes), seed)
    held_out = min(max(round(len(order) * val_fraction), 1), len(order) - 1)
    return Source(str(folder), order[held_out:], order[:held_out], classes, held_out=True)


def list_photographs(folder: Path) -> list[PhotoFile]:
    """Every picture file below a folder, links followed, hidden ones left out, in the order of their names."""
    files = [
        PhotoFile(path, _printable(path.relative_to(folder).as_posix())) for path in _pictures(folder, frozenset())
    ]
    return sorted(files, key=lambda file: file.name)


def _printable(name: str) -> str:
    """A file name that is not UTF-8 with its odd bytes written out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _pictures(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:  # a link that leads back to where it lies
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
            yield path
        elif path.is_dir():
            yield from _pictures(path, above | {real})


def _classes(files: Sequence[PhotoFile]) -> tuple[str, ...]:
    """The first subfolders, where every photograph lies in one and there are at least two."""
    folders = {file.name.split("/")[0] if "/" in file.name else "" for file in files}
    return tuple(sorted(folders)) if len(folders) > 1 and "" not in folders else ()


def _labelled(files: Sequence[PhotoFile], classes: tuple[str, ...]) -> list[Item]:
    numbers = {name: number for number, name in enumerate(classes)}
    return [PhotoFile(file.path, file.name, numbers.get(file.name.split("/")[0], -1)) for file in files]


def _download(name: str) -> Path:
    """The folder of a public data set, downloaded (with a progress bar) and unpacked by fastai the first time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fastai's own imports
        from fastai.data.external import URLs, untar_data

    attribute, inside = PUBLIC[name]
    if distributed.is_main():
        print(f"{name}: from {getattr(URLs, attribute)}, kept in fastai's data folder", file=sys.stderr)
    try:
        return Path(untar_data(getattr(URLs, attribute))) / inside
    except (OSError, EOFError, TarError) as error:
        reason = str(getattr(error, "reason", error)).split("\n")[0]  # fastai's goes on with the server's answer
        raise InputError(
            f"--data.source {name} can't be downloaded ({reason}); give a folder of photographs, or demo"
        ) from None


@cache
def _demo_version() -> str:
    return hashlib.sha256(Path(draw_scene.__code__.co_filename).read_bytes()).hexdigest()[:12]


def _suffixes() -> str:
    return " ".join(sorted(PICTURE_SUFFIXES))
