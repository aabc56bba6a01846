"""Data sets that Hugging Face's package `datasets` reads: of the Hub, or local folders and files. They are loaded whole
(hf:NAME), or read once as a stream (hf-stream:NAME), of which only the decoded photographs are stored."""

import hashlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import numpy as np

from gancolor.data.cache.build import IndexJob
from gancolor.data.cache.index import Index, Names
from gancolor.data.cache.photographs import CACHE_VERSION, Decode, open_or_build
from gancolor.data.catalogue import Catalogue, Facts
from gancolor.data.decode import Fit, UndecodableError
from gancolor.data.sources.encoded import EncodedPhoto
from gancolor.data.sources.public import HUB_STREAM, HubName, parse_hub_name
from gancolor.data.sources.splits import find_parts, warn_of_unused
from gancolor.inference.hub import UNREACHABLE, hub_package
from gancolor.utils import distributed
from gancolor.utils.errors import InputError, near

Cell = Mapping[str, Any] | None  # of a column of pictures: the encoded bytes, or the path of a file


@dataclass(frozen=True)
class HubPhoto(EncodedPhoto):
    """A photograph in a data set.

    Attributes:
        cell: returns the cell that holds it.
    """

    name: str
    label: int
    version: str
    cell: Callable[[], Cell]

    def read(self) -> bytes:
        return _bytes(self.cell())


@dataclass(frozen=True)
class HubSplit:
    """A split of a data set.

    Attributes:
        source: `--data.source`.
        name: of the split.
        version: changes when the data set does.
        data: rows of pictures (encoded) and, if there are any, classes.
        column, classes_in: names of these columns; `classes_in` may be None.
        classes: class names.
    """

    source: str
    name: str
    version: str
    data: Any
    column: str
    classes_in: str | None
    classes: tuple[str, ...]

    def photo(self, row: int, label: int | None, cell: Callable[[], Cell]) -> HubPhoto:
        return HubPhoto(self.name_of(row), -1 if label is None else label, self.version, cell)

    def name_of(self, row: int) -> str:
        return f"{self.name}/{row:08d}"


class HubCatalogue(Catalogue[HubPhoto]):
    """The photographs of a split that is on this disk."""

    def __init__(self, split: HubSplit) -> None:
        self.split, self.pictures = split, split.data.select_columns([split.column])
        self.names = Names.of(map(split.name_of, range(len(split.data))))
        values = split.data.select_columns([split.classes_in])[:][split.classes_in] if split.classes_in else ()
        self.labels = np.array([-1 if value is None else value for value in values], np.int64)

    def item(self, row: int) -> HubPhoto:
        return self.split.photo(row, self._label(row), lambda: self.pictures[row][self.split.column])

    def facts(self, rows: np.ndarray) -> Iterable[Facts]:
        for row in rows.tolist():
            yield self.split.name_of(row), self.split.version, self._label(row)

    def _label(self, row: int) -> int:
        return int(self.labels[row]) if len(self.labels) else -1


class StreamCatalogue(Catalogue[HubPhoto]):
    """The photographs of a split that was read as a stream: those of an index, row by row."""

    index: Index

    def __init__(self, split: HubSplit, index: Index) -> None:
        self.split, self.index, self.columns, self.names = split, index, index.columns, index.columns.names

    def item(self, row: int) -> HubPhoto:
        return HubPhoto(self.names[row], int(self.columns.labels[row]), self.split.version, self._refuse)

    def facts(self, rows: np.ndarray) -> Iterable[Facts]:
        for name, label in zip(self.names.select(rows), self.columns.labels[rows].tolist(), strict=True):
            yield name, self.split.version, label

    def _refuse(self) -> Cell:
        raise InputError(f"--data.source {self.split.source}: a stream is not read again; give hf: to keep its files")


def open_stream(
    split: HubSplit, size: int, cache: str | Path | None = None, fit: Fit = "crop", decode: Decode = "once"
) -> StreamCatalogue:
    """Read a split as a stream and store its photographs, decoded, if that has not been done yet.

    Raises:
        InputError: it can't be read, no photograph in it can be decoded, or they are to be decoded again.
    """
    if decode == "always":
        raise InputError(
            f"--data.source {split.source}: a stream is read once, so it does not go with --data.decode always; give "
            "hf: to keep its files"
        )
    key = f"{CACHE_VERSION} stream {size} {fit} {split.version} {split.name} {split.column} {split.classes_in}"
    job = IndexJob(
        _streamed(split), None, size, fit, f"photographs of {split.source} ({split.name})", keep=True,
        labelling=lambda: (None, split.classes),
    )  # fmt: skip
    index = open_or_build(job, hashlib.sha256(key.encode()).hexdigest()[:16], cache)
    if not len(index.columns):
        name, why = next(iter(index.columns.skipped.items()), (split.name, "no rows"))
        raise InputError(f"--data.source {split.source}: no photographs that can be decoded ({name}: {why})")
    return StreamCatalogue(split, index)


def _streamed(split: HubSplit) -> Iterator[HubPhoto]:
    """Yield every photograph with its bytes."""
    with _one_line_errors(split.source):
        for row, example in enumerate(split.data):
            cell = example[split.column]
            if cell and cell["bytes"] is None:
                cell = {"bytes": _bytes(cell)}
            yield split.photo(row, example.get(split.classes_in), lambda cell=cell: cell)  # type: ignore[misc]


def _bytes(cell: Cell) -> bytes:
    """Return the encoded picture. Raises UndecodableError if there is none."""
    if cell is None:
        raise UndecodableError("no picture in this row")
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    try:
        with fsspec.open(cell["path"], "rb") as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise UndecodableError("no such file") from None


# Finding splits -----------------------------------------------------------------------------------------------------


def find_splits(source: str) -> tuple[HubSplit, HubSplit | None]:
    """Find the splits for training and, if there is one, for validation. A split for tests stands in for it.

    Args:
        source: hf:NAME, hf:NAME:CONFIG, hf:NAME#COLUMN or hf:NAME:CONFIG#COLUMN; a local folder or file in place of
            NAME; hf-stream: in place of hf:.

    Raises:
        InputError: there is no such data set, the Hub can't be reached, or which of its splits or columns has the
            photographs is not clear.
    """
    hub = parse_hub_name(source)
    if not hub or not hub.name:
        raise InputError(f"--data.source {source}: write hf:NAME, hf:NAME:CONFIG or hf:./FOLDER")
    with _one_line_errors(source):
        splits, version = _loaded(hub)
    train, val = find_parts(splits, source)
    if train is None:
        if len(splits) > 1:
            raise InputError(f"--data.source {source}: no split train in it, but {', '.join(splits)}")
        (train,), val = splits, None
    if val is None:
        warn_of_unused([other for other in splits if other != train], train, source)
    found = [_split(source, part, version, splits[part], hub.column) for part in (train, val) if part]
    return found[0], found[1] if val else None


def _loaded(hub: HubName) -> tuple[Mapping[str, Any], str]:
    """Return all splits of a data set, and its version."""
    datasets = _package()
    path, streamed = Path(hub.name).expanduser(), hub.scheme == HUB_STREAM
    if any((path / file).is_file() for file in ("state.json", "dataset_dict.json")):  # by `save_to_disk`
        saved = datasets.load_from_disk(str(path))
        splits = saved if isinstance(saved, dict) else {"train": saved}
        version = " ".join(split._fingerprint for split in splits.values())  # what the package itself compares
        return {name: split.to_iterable_dataset() if streamed else split for name, split in splits.items()}, version
    files = {"data_files": path.name} if path.is_file() else {}
    place = str(path.parent if files else path) if hub.local else hub.name
    with _offline_if_unreachable(hub, streamed=streamed):
        builder = datasets.load_dataset_builder(place, hub.config or None, **files)
        if streamed:
            return builder.as_streaming_dataset(), builder.cache_dir
        builder.download_and_prepare()
        return builder.as_dataset(), builder.cache_dir


def _split(source: str, name: str, version: str, data: Any, wanted: str) -> HubSplit:
    """Choose a split's columns."""
    datasets, features = _package(), data.features
    if features is None:
        raise InputError(f"--data.source {source}: a stream does not tell the types of its columns; give hf:")
    pictures = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    if not pictures:
        raise InputError(f"--data.source {source}: no column of pictures in it, but {', '.join(features)}")
    if not wanted and len(pictures) > 1:
        address = source.partition("#")[0]
        raise InputError(
            f"--data.source {source}: several columns of pictures ({', '.join(pictures)}); name one, as in "
            f"{address}#{pictures[0]}"
        )
    column = wanted or pictures[0]
    if column not in pictures:
        raise InputError(f"--data.source {source}: its columns of pictures are {', '.join(pictures)}"
                         f"{near(column, pictures)}")  # fmt: skip
    labels = {name: feature.names for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)}
    classes_in = "label" if "label" in labels else next(iter(labels)) if len(labels) == 1 else None
    classes = tuple(labels[classes_in]) if classes_in else ()
    classes_in, classes = (classes_in, classes) if len(classes) > 1 else (None, ())
    chosen = data.select_columns([column, *([classes_in] if classes_in else [])])
    encoded = chosen.cast_column(column, datasets.Image(decode=False))
    return HubSplit(source, name, version, encoded, column, classes_in, classes)


def _package() -> Any:
    """Import `datasets`. Raises InputError if it is not installed."""
    try:
        hub_package()
        import datasets
    except (ImportError, InputError):
        raise InputError("it needs the package datasets: pip install 'gancolor[hf]'") from None
    if not (sys.stderr.isatty() and distributed.is_main()):
        datasets.disable_progress_bars()
    return datasets


@contextmanager
def _offline_if_unreachable(name: HubName, *, streamed: bool) -> Iterator[None]:
    """Ask the Hub for a data set, and if there is no answer, keep the package to its cache: it would try for half a
    minute, and log each attempt."""
    hub, datasets = hub_package(), _package()
    offline = False
    if not name.local:
        try:
            hub.HfApi().dataset_info(name.name, timeout=10)
        except (hub.errors.HfHubHTTPError, ValueError):
            pass  # the package says more
        except (OSError, hub.errors.HTTPError):
            offline = True
    if offline and streamed:
        raise InputError(UNREACHABLE)
    before = hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if offline:
        hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    except ConnectionError:
        raise InputError(f"not in the cache, and {UNREACHABLE}") from None
    finally:
        hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _one_line_errors(source: str) -> Iterator[None]:
    """Report the package's many kinds of errors in one line, without its log."""
    logger = logging.getLogger("datasets")
    level = logger.level
    try:
        _package()
        level = logger.level  # set by its import
        logger.setLevel(logging.ERROR)
        yield
    except InputError as error:
        raise InputError(f"--data.source {source}: {error}") from None
    except Exception as error:
        reason = " ".join(str(error).split("\n")[:2]) or type(error).__name__
        raise InputError(f"--data.source {source}: can't be loaded ({reason})") from None
    finally:
        logger.setLevel(level)
