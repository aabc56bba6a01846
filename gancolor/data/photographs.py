"""Photographs decoded once: a memory-mapped cache of uint8 squares, and the batches that are drawn from it."""

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gancolor import distributed
from gancolor.color import to_float
from gancolor.data.decode import Fit, UndecodableError
from gancolor.data.sources import Item, Source
from gancolor.files import sync, umask
from gancolor.metrics import colorfulness

CACHE_VERSION = 2
DEVICE_SHARE = 0.25  # of an accelerator's free memory that photographs may take by default


@dataclass
class Photographs:
    """Decoded photographs of one size.

    Attributes:
        pictures: uint8 sRGB (M, 3, S, S), memory-mapped or on a device, these photographs and perhaps others.
        rows: int64 (N,), where these are among the pictures.
        labels: int64 (N,), -1 where there is no class.
        colorfulness: float32 (N,), of each.
        names: N of them.
        contents: a digest of each, of what was in the file, the same on every machine.
        skipped: name -> why it could not be decoded.
        digest: of names, versions of the files and size; it serves this machine.
    """

    pictures: Tensor
    rows: Tensor
    labels: Tensor
    colorfulness: Tensor
    names: list[str]
    contents: list[str]
    digest: str
    skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        return self.pictures.shape[-1]

    @property
    def contents_digest(self) -> str:
        """sha256 of names and contents, in whatever order: the same on every machine."""
        listed = sorted(f"{name} {content}" for name, content in zip(self.names, self.contents, strict=True))
        return hashlib.sha256("\n".join(listed).encode("utf-8", "backslashreplace")).hexdigest()

    def take(self, indices: Tensor) -> Tensor:
        """uint8 (len(indices), 3, S, S), on the device where the photographs are."""
        return self.pictures[self.rows[indices].to(self.pictures.device)]

    def subset(self, names: Sequence[str]) -> "Photographs":
        """Those of these names that could be decoded, in this order. The pictures are shared, not copied."""
        numbers = {name: number for number, name in enumerate(self.names)}
        known = [name for name in names if name in numbers]
        rows = [numbers[name] for name in known]
        chosen, contents = torch.tensor(rows, dtype=torch.int64), [self.contents[row] for row in rows]
        digest = hashlib.sha256("\n".join([self.digest, *known]).encode()).hexdigest()[:16]
        skipped = {name: self.skipped[name] for name in names if name in self.skipped}
        return Photographs(
            self.pictures, self.rows[chosen], self.labels[chosen], self.colorfulness[chosen], known, contents, digest,
            skipped,
        )  # fmt: skip

    def colourful(self, least: float) -> Tensor:
        """The indices (int64) of photographs of at least this colourfulness; the others teach not to colour."""
        return (self.colorfulness >= least).nonzero().flatten()

    def to(self, device: torch.device, where: str = "auto") -> "Photographs":
        """Moves the pictures into an accelerator's memory: "always", "never", or "auto" if they take under a quarter of
        what is free. On a CPU they stay memory-mapped."""
        if device.type == "cpu" or where == "never":
            return self
        if where == "auto" and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if len(self) * self.pictures[0].numel() > DEVICE_SHARE * free:
                return self
        elif where == "auto":
            return self  # other accelerators share the machine's memory: nothing is gained
        self.pictures, self.rows = self.pictures[self.rows].to(device), torch.arange(len(self))
        return self


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gancolor"


def load_photographs(
    items: Sequence[Item], size: int, cache: str | Path | None = None, what: str = "", fit: Fit = "crop"
) -> Photographs:
    """The items' photographs as squares of `size`, decoded the first time and memory-mapped from then on.

    The cache's key is made of the items' names and versions, size and fit, so a changed folder is decoded anew.

    Args:
        what: what to call them on the terminal; where empty, nothing is said.
    """
    key = hashlib.sha256(f"{CACHE_VERSION} {size} {fit}".encode())
    for item in items:
        key.update(f"{item.name} {item.version} {item.label}\n".encode())
    digest = key.hexdigest()[:16]
    folder = Path(cache or default_cache()).expanduser() / f"{digest}-{size}"
    if not folder.is_dir():  # looked for before it is locked: a cache may be shared read-only
        with distributed.one_at_a_time(folder):
            if not folder.is_dir():
                _build(items, size, fit, folder, what)
    return _open(folder, size, digest)


def _open(folder: Path, size: int, digest: str) -> Photographs:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    names: list[str] = index["names"]
    shape = (len(names), 3, size, size)
    numbers = len(names) * 3 * size * size
    if names:
        pictures = torch.from_file(str(folder / "pictures.u8"), shared=False, size=numbers, dtype=torch.uint8)
    else:
        pictures = torch.empty(0, dtype=torch.uint8)
    return Photographs(
        pictures.view(shape),
        torch.arange(len(names)),
        torch.tensor(index["labels"], dtype=torch.int64),
        torch.tensor(index["colorfulness"], dtype=torch.float32),
        names,
        index["contents"],
        digest,
        index["skipped"],
    )


def _build(items: Sequence[Item], size: int, fit: Fit, folder: Path, what: str) -> None:
    """Decodes into a folder beside, which takes its name only when it is whole: a killed build leaves no cache."""
    needed = len(items) * 3 * size * size
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise OSError(
            errno.ENOSPC, f"the cache of {len(items)} photographs takes {needed / 1e9:.1f} GB", str(folder.parent)
        )
    for leaving in folder.parent.glob(f"{folder.name}.*/"):  # of a build that was killed
        shutil.rmtree(leaving, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    if what:
        print(f"decoding {len(items)} {what}, once, into {folder.parent}", flush=True)
    names: list[str] = []
    contents: list[str] = []
    labels: list[int] = []
    colours: list[float] = []
    skipped: dict[str, str] = {}
    try:
        with (scratch / "pictures.u8").open("wb") as file:
            bar = tqdm(
                total=len(items), desc=f"decoding {what}", unit="photo", disable=not sys.stderr.isatty(), leave=False
            )
            for item, loaded in _decoded(items, size, fit):
                bar.update()
                if isinstance(loaded, str):
                    skipped[item.name] = loaded
                    continue
                picture, content = loaded
                file.write(picture.numpy().tobytes())
                names.append(item.name)
                contents.append(content)
                labels.append(item.label)
                colours.append(round(float(colorfulness(to_float(picture))), 3))
            bar.close()
        index = {"names": names, "contents": contents, "labels": labels, "colorfulness": colours, "skipped": skipped}
        (scratch / "index.json").write_text(json.dumps(index), encoding="utf-8")
        for path in scratch.iterdir():
            sync(path)
        scratch.chmod(0o777 & ~umask())
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _decoded(items: Sequence[Item], size: int, fit: Fit) -> Iterator[tuple[Item, tuple[Tensor, str] | str]]:
    """Each item with its picture and digest, or the reason why there is none; decoded ahead by a thread a core, in
    order."""

    def load(item: Item) -> tuple[Tensor, str] | str:
        try:
            return item.load(size, fit), item.digest()
        except UndecodableError as error:
            return str(error)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), 64 * workers):  # in chunks: a million futures at once would fill the memory
            chunk = items[start : start + 64 * workers]
            yield from zip(chunk, pool.map(load, chunk), strict=True)


def load_source(source: Source, size: int, cache: str | Path | None = None) -> tuple[Photographs, Photographs]:
    """A source's training and validation photographs."""
    if source.held_out:
        whole = load_undivided(source, size, cache)
        return whole.subset([item.name for item in source.train]), whole.subset([item.name for item in source.val])
    train = load_photographs(source.train, size, cache, "training photographs")
    return train, load_photographs(source.val, size, cache, "validation photographs")


def load_undivided(source: Source, size: int, cache: str | Path | None = None, fit: Fit = "crop") -> Photographs:
    """All photographs of a source that we divided ourselves, in the order of their names: decoded as one, they serve
    every seed's split."""
    items = sorted([*source.train, *source.val], key=lambda item: item.name)
    return load_photographs(items, size, cache, "photographs", fit)


class Batches:
    """Which photographs each step sees. All of it is a function of the step, so nothing of it needs saving.

    Every epoch is a shuffle of its own; its last, incomplete batch is left out. A rank sees every R-th photograph of
    the effective batch.

    Args:
        kept: indices of the photographs to train on, int64 (N,).
        batch_size: photographs a rank and step.
    """

    def __init__(self, photographs: Photographs, kept: Tensor, batch_size: int, seed: int) -> None:
        self.photographs, self.kept, self.batch_size, self.seed = photographs, kept, batch_size, seed
        self.effective_batch = batch_size * distributed.world_size()
        self.steps_per_epoch = len(kept) // self.effective_batch
        self._epoch, self._order = -1, kept

    def indices(self, step: int) -> Tensor:
        """The photographs of this rank at a step, int64 (batch_size,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, self.kept[torch.randperm(len(self.kept), generator=generator)]
        start = position * self.effective_batch
        return self._order[start : start + self.effective_batch][distributed.rank() :: distributed.world_size()]

    def stream(self, first: int, last: int, device: torch.device) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(step, pictures, labels) for the steps first..last - 1, on the device: uint8 (B, 3, S, S) and int64 (B,).

        The next batch is fetched while this one is worked on.
        """

        def fetch(step: int) -> tuple[Tensor, Tensor]:
            indices = self.indices(step)
            pictures = self.photographs.take(indices)
            if device.type == "cuda" and pictures.device.type == "cpu":
                pictures = pictures.pin_memory()
            return pictures, self.photographs.labels[indices]

        with ThreadPoolExecutor(1, initializer=_use, initargs=(device,)) as pool:
            pending = pool.submit(fetch, first) if first < last else None
            for step in range(first, last):
                assert pending is not None
                pictures, labels = pending.result()
                pending = pool.submit(fetch, step + 1) if step + 1 < last else None
                pinned = device.type == "cuda"
                yield step, pictures.to(device, non_blocking=pinned), labels.to(device, non_blocking=pinned)


def _use(device: torch.device) -> None:
    """Every thread has a current GPU of its own, the first one at the start, which pinning memory would wake."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
