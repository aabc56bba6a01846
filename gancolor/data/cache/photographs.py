"""Photographs of one size: decoded once into a memory-mapped cache, or again in every epoch."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gancolor.data.cache.build import PICTURES, IndexJob, build
from gancolor.data.cache.index import Columns, Index, Names, combined, in_order
from gancolor.data.catalogue import Item, Selection, Source, facts_of, select
from gancolor.data.decode import Fit, UndecodableError, UnreadableError
from gancolor.data.uncached import Decoder
from gancolor.utils import distributed

# Part of each cache's name, with whether HEIC can be decoded: after pillow-heif is installed, skipped photographs
# are tried again.
CACHE_VERSION = f"5{' heif' if find_spec('pillow_heif') else ''}"
DEVICE_SHARE = 0.25  # share of an accelerator's free memory that photographs may take by default
Decode = Literal["once", "always"]


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs of one size: all or some of those in an index on the disk. Their indices are 0 to N - 1.

    Attributes:
        pictures: uint8 sRGB (M, 3, S, S), memory-mapped or on a device; or their decoder.
        columns: metadata of the M photographs.
        digest: hash of the photographs' names, file versions and size; comparable on this machine only.
        rows: int64 (N,), the rows of these photographs among the M, in order; None: all.
        skipped: name -> why it could not be decoded.
    """

    pictures: Tensor | Decoder
    columns: Columns
    digest: str = ""
    rows: Tensor | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns if self.rows is None else self.rows)

    @property
    def size(self) -> int:
        return self.pictures.size if isinstance(self.pictures, Decoder) else self.pictures.shape[-1]

    @property
    def names(self) -> Names:
        return self.columns.names if self._rows is None else self.columns.names.select(self._rows)

    @property
    def labels(self) -> Tensor:
        """Class labels, int64 (N,), -1 where there is no class."""
        return self._column(self.columns.labels)

    @property
    def colorfulness(self) -> Tensor:
        """Colourfulness of each photograph, float32 (N,)."""
        return self._column(self.columns.colorfulness)

    @property
    def contents_digest(self) -> str:
        """sha256 of names and contents, independent of their order; the same on every machine."""
        return combined(self.columns.contents, self._rows)

    @property
    def order_digest(self) -> bytes:
        """sha256 of names and contents, in this order."""
        return in_order(self.columns.contents, self._rows)

    @property
    def _rows(self) -> np.ndarray | None:
        return None if self.rows is None else self.rows.numpy()

    def _column(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values) if self.rows is None else torch.from_numpy(values)[self.rows]

    def _at(self, indices: Tensor) -> Tensor:
        return indices if self.rows is None else self.rows[indices]

    def take(self, indices: Tensor) -> Tensor:
        """Return pictures, uint8 (len(indices), 3, S, S), on the device where they are stored."""
        rows = self._at(indices)
        if isinstance(self.pictures, Decoder):
            return self.pictures.take(rows)
        return self.pictures.index_select(0, rows.to(self.pictures.device))  # on a CPU twice as fast as [rows]

    def labels_of(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(self.columns.labels)[self._at(indices)]

    def shards_of(self, indices: Tensor) -> Tensor:
        """Return the shard of each of these photographs, int64."""
        return torch.from_numpy(self.columns.places[:, 0])[self._at(indices)]

    def subset(self, names: Sequence[str]) -> "Photographs":
        """Return the photographs of these names that could be decoded, in this order. Pictures are not copied."""
        indices = {name: index for index, name in enumerate(self.names)}
        chosen = np.array([indices[name] for name in names if name in indices], np.int64)
        return self.select(chosen, {name: self.skipped[name] for name in names if name in self.skipped})

    def select(self, indices: np.ndarray, skipped: dict[str, str]) -> "Photographs":
        """Return the photographs of these indices (int64), in this order. Pictures are not copied."""
        rows = self._at(torch.from_numpy(indices))
        digest = hashlib.sha256(self.digest.encode())
        digest.update(np.ascontiguousarray(rows.numpy()).data)
        return Photographs(self.pictures, self.columns, digest.hexdigest()[:16], rows, skipped)

    def colourful(self, least: float) -> Tensor:
        """Return the indices (int64) of photographs with at least this colourfulness. Training on paler ones would
        teach the network to leave photographs grey, and scores on them would reward that."""
        return (self.colorfulness >= least).nonzero().flatten()

    def without_grey(self, least: float) -> tuple["Photographs", list[str]]:
        """Return the photographs with at least this colourfulness, and the names of the others."""
        grey = (self.colorfulness < least).nonzero().flatten().numpy()
        if not len(grey):
            return self, []
        return self.select(self.colourful(least).numpy(), self.skipped), list(self.names.select(grey))

    def to(self, device: torch.device, where: str = "auto") -> "Photographs":
        """Return these photographs with their pictures copied to an accelerator's memory.

        On a CPU, pictures stay memory-mapped. A decoder is left as it is.

        Args:
            where: "always"; "never"; "auto": on CUDA, if they fit in a quarter of its free memory.
        """
        if device.type == "cpu" or where == "never" or isinstance(self.pictures, Decoder):
            return self
        if where == "auto" and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if len(self) * self.pictures[0].numel() > DEVICE_SHARE * free:
                return self
        elif where == "auto":
            return self  # other accelerators share the machine's memory: nothing is gained
        moved = torch.empty(len(self), *self.pictures.shape[1:], dtype=torch.uint8, device=device)
        for indices in torch.arange(len(self)).split(4096):  # in chunks: else all would be copied in RAM first
            moved[indices[0] : indices[-1] + 1] = self.take(indices).to(device)
        columns = self.columns if self._rows is None else self.columns.select(self._rows)
        return replace(self, pictures=moved, columns=columns, rows=None)


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gancolor"


def load_photographs(
    items: Sequence[Item],
    size: int,
    cache: str | Path | None = None,
    what: str = "",
    fit: Fit = "crop",
    decode: Decode = "once",
) -> Photographs:
    """Load the items' photographs as squares of side `size`. The first call reads all files; later ones use its index.

    The cache's key is a hash of the items' names, versions and labels, size and fit: a changed folder is read again.
    So is a folder with files that could not be read, as soon as one of them can.

    Args:
        what: what to call the photographs on the terminal; if empty, no message is printed.
        decode: "once": keep the decoded pictures, memory-mapped; "always": decode them on every access.
    """
    known = items.catalogue.index if isinstance(items, Selection) else None
    if isinstance(items, Selection) and known and (decode != "once" or known.pictures is not None):
        whole = _photographs(known, Decoder(Selection(items.catalogue), size, fit))
        return whole if items.rows is None else whole.select(items.rows, whole.skipped)
    key = hashlib.sha256(f"{CACHE_VERSION} {size} {fit}".encode())
    facts = iter(facts_of(items))
    while some := "".join([f"{name} {version} {label}\n" for name, version, label in islice(facts, 1024)]):
        key.update(some.encode())

    def outdated(columns: Columns) -> bool:
        return any(_is_readable(items[skip.item], size, fit) for skip in columns.skips if skip.unreadable)

    job = IndexJob(items, len(items), size, fit, what, decode == "once")
    index = open_or_build(job, key.hexdigest()[:16], cache, outdated)
    decodable = select(items, index.columns.items) if index.columns.skips else items
    return _photographs(index, Decoder(decodable, size, fit))


def _photographs(index: Index, decoder: Decoder) -> Photographs:
    """Return all photographs of an index, with a decoder for pictures that are not kept."""
    pictures = decoder if index.pictures is None else index.pictures
    return Photographs(pictures, index.columns, index.digest, None, index.columns.skipped)


def _is_readable(item: Item, size: int, fit: Fit) -> bool:
    try:
        item.load(size, fit)
    except UndecodableError as error:
        return not isinstance(error, UnreadableError)
    return True


def open_or_build(
    job: IndexJob, digest: str, cache: str | Path | None, outdated: Callable[[Columns], bool] = lambda _: False
) -> Index:
    """Open the index of a job; if there is none of that digest yet, or it is outdated, build it."""
    folder = Path(cache or default_cache()).expanduser() / f"{digest}-{job.size}"
    if not job.keep and not folder.is_dir():  # else use the index of a cache with pictures
        folder = folder.with_name(f"{folder.name}-index")

    def missing() -> bool:
        try:
            return not folder.is_dir() or outdated(Columns.open(folder))
        except FileNotFoundError:  # another process replaces it
            return True

    if missing():  # checked before locking: a shared cache may be read-only
        with distributed.one_at_a_time(folder):
            if missing():
                build(job, folder)
    columns = Columns.open(folder)
    return Index(columns, digest, _map(folder / PICTURES, len(columns), job.size) if job.keep else None)


def _map(path: Path, count: int, size: int) -> Tensor:
    if not count:
        return torch.empty(0, 3, size, size, dtype=torch.uint8)
    # not torch.from_file, which takes no names that are not UTF-8
    return torch.from_numpy(np.memmap(path, np.uint8, mode="c", shape=(count, 3, size, size)))


def load_source(
    source: Source, size: int, cache: str | Path | None = None, decode: Decode = "once"
) -> tuple[Photographs, Photographs]:
    """Load a source's training and validation photographs. Validation photographs are decoded once in any case."""
    if not source.held_out:
        train = load_photographs(source.train, size, cache, "training photographs", decode=decode)
    elif decode == "once":
        train, val = load_parts(source, [source.train, source.val], size, cache)
        return train, val
    else:
        (train,) = load_parts(source, [source.train], size, cache, decode=decode)
    return train, load_photographs(source.val, size, cache, "validation photographs")


def load_parts(
    source: Source,
    parts: Sequence[Sequence[Item]],
    size: int,
    cache: str | Path | None = None,
    fit: Fit = "crop",
    decode: Decode = "once",
) -> list[Photographs]:
    """Load parts of a source whose validation photographs were held out by a shuffle. All its photographs share one
    index on the disk, in the order of their names, so that the splits of all seeds use the same index."""
    assert isinstance(source.train, Selection) and isinstance(source.val, Selection)
    whole = source.train.union(source.val)
    photographs = load_photographs(whole, size, cache, "photographs", fit, decode)
    columns, known, found = photographs.columns, whole.catalogue.index, []
    for part in parts:
        assert isinstance(part, Selection)
        items = whole.indices_of(part)
        if known and known.columns is columns:  # shards: skipped photographs are in no part
            found.append(photographs.select(items, photographs.skipped if part is source.train else {}))
        else:
            found.append(photographs.select(columns.rows_of(items), columns.skipped_among(items)))
    return found
