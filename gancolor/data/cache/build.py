"""Construction of an index: read all photographs once, store their metadata and, on request, the decoded pictures."""

import errno
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from gancolor.color.colorfulness import colorfulness_of_bytes
from gancolor.data.cache.index import IndexWriter
from gancolor.data.catalogue import Item
from gancolor.data.decode import Fit, UndecodableError, UnreadableError
from gancolor.utils.cores import cores
from gancolor.utils.files import sync, umask

PICTURES = "pictures.u8"
PART = 16  # photographs per decoding task


@dataclass(frozen=True)
class IndexJob:
    """An index to build.

    Attributes:
        items: the photographs, in the order of the index.
        count: number of items, if known.
        size, fit: side of the squares [pixels], and how photographs are made square.
        what: what to call the photographs on the terminal; if empty, no message is printed.
        keep: whether to keep the decoded pictures.
        place: maps an item to (shard, first byte, number of bytes), or () if it is not in a shard.
        labelling: called after the last item; returns an array that maps the items' labels to the final ones (None:
            unchanged), and the class names.
    """

    items: Iterable[Item]
    count: int | None
    size: int
    fit: Fit
    what: str
    keep: bool
    place: Callable[[Any], tuple[int, ...]] = lambda _: ()
    labelling: Callable[[], tuple[np.ndarray | None, tuple[str, ...]]] = lambda: (None, ())


def build(job: IndexJob, folder: Path) -> None:
    """Build an index in a temporary folder and rename that when it is complete: a killed build leaves no index, and one
    that is outdated stays until then.

    Raises:
        OSError: the disk is full, or has too little space left.
    """
    for leaving in folder.parent.glob(f"{folder.name}.*/"):  # left by a killed build
        shutil.rmtree(leaving, ignore_errors=True)
    if job.keep and job.count is not None:
        _check_space(job.count * 3 * job.size**2, job.count, folder.parent)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    outdated = scratch.with_name(f"{scratch.name}.outdated")
    if job.what:
        count = "" if job.count is None else f"{job.count} "
        doing = "decoding" if job.keep else "indexing"
        print(f"{doing} {count}{job.what}, once, into {folder.parent}", flush=True)
    try:
        _fill(job, scratch)
        for path in scratch.iterdir():
            sync(path)
        scratch.chmod(0o777 & ~umask())
        if folder.is_dir():
            folder.rename(outdated)
        scratch.rename(folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(folder.parent, "the cache of the decoded photographs does not fit") from None
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(outdated, ignore_errors=True)


def _fill(job: IndexJob, scratch: Path) -> None:
    writer = IndexWriter(scratch)
    bar = tqdm(total=job.count, desc=f"reading {job.what}", unit="photo", disable=not sys.stderr.isatty(), leave=False)
    with bar, (scratch / PICTURES).open("wb") as pictures:
        for index, (item, made) in enumerate(_decoded(job)):
            bar.update()
            if isinstance(made, UndecodableError):
                writer.skip(index, item.name, str(made), isinstance(made, UnreadableError))
                continue
            if job.keep:
                pictures.write(made.picture.numpy().data)
            writer.append(index, item.name, item.label, made.colorfulness, made.content, job.place(item))
    writer.close(*job.labelling())
    if not job.keep:
        (scratch / PICTURES).unlink()


@dataclass
class _Decoded:
    picture: Tensor
    content: str
    colorfulness: float


def _decoded(job: IndexJob) -> Iterator[tuple[Item, _Decoded | UndecodableError]]:
    """Yield the items in order, each with its decoded picture or the error that says why it can't be decoded. One
    thread per core decodes ahead."""

    def load(item: Item) -> _Decoded | UndecodableError:
        try:
            picture = item.load(job.size, job.fit)
        except UndecodableError as error:
            return error.with_traceback(None)
        return _Decoded(picture, item.digest(), round(colorfulness_of_bytes(picture), 3))

    workers = len(cores())
    items, pending = iter(job.items), deque[tuple[list[Item], Future[list[_Decoded | UndecodableError]]]]()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while part := list(islice(items, PART)):
                pending.append((part, pool.submit(lambda part: [load(item) for item in part], part)))
                if len(pending) > 4 * workers:  # bounded: a million futures would fill the memory
                    part, made = pending.popleft()
                    yield from zip(part, made.result(), strict=True)
            for part, made in pending:
                yield from zip(part, made.result(), strict=True)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_space(needed: int, count: int, cache: Path) -> None:
    if needed > shutil.disk_usage(cache).free:
        raise _full(cache, f"the cache of {count} photographs takes {needed / 1e9:.1f} GB")


def _full(cache: Path, problem: str) -> OSError:
    advice = "--data.decode always keeps none, and decodes in every epoch"
    return OSError(errno.ENOSPC, f"{problem}; give --data.cache on a larger disk, or {advice}", str(cache))
