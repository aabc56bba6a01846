"""Reading bytes from shards: local ones directly, remote ones by ranges or from temporary copies of a few at a time."""

import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from gancolor.data.sources.tars import CHUNK
from gancolor.utils.errors import InputError

Value = TypeVar("Value")
PAUSES = (1, 5, 15)  # seconds before each further attempt to read a remote shard
COPIERS = 4  # shards copied at a time


class Store:
    """Shards, in order, and the file system that holds them.

    Args:
        fs: an fsspec file system.
        paths: the shards' paths, in the file system's notation.
        names: the shards' short names.
        versions: a string for each shard that changes when the shard does.
        scratch: folder for the copies; None: the system's folder for temporary files.
    """

    def __init__(
        self, fs: Any, paths: Sequence[str], names: Sequence[str], versions: Sequence[str], scratch: Path | None = None
    ) -> None:
        self.fs, self.paths, self.names, self.versions = fs, paths, names, versions
        self.local = "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)
        self.scratch = scratch
        self._copies: dict[int, Future[IO[bytes]]] = {}
        self._unwanted: dict[int, threading.Event] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._turn = threading.Lock()  # a copy has a single read position

    def copying_to(self, scratch: Path | None) -> "Store":
        """Return the same shards with another folder for the copies."""
        return Store(self.fs, self.paths, self.names, self.versions, scratch)

    @contextmanager
    def open(self, shard: int) -> Iterator[IO[bytes]]:
        """Open a shard to read it once from start to end.

        Raises:
            InputError: the shard can't be read.
        """
        with self._blamed(shard), self._opened(shard) as file:
            yield file

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """Read bytes of a shard. Raises InputError if it can't be read."""
        with self._blamed(shard):
            copy = self._copies.get(shard)
            if copy is not None:
                file = copy.result()
                with self._turn:
                    file.seek(offset)
                    return file.read(length)
            if self.local:
                with Path(self.paths[shard]).open("rb", buffering=0) as file:
                    file.seek(offset)
                    return file.read(length)
            data = _tried(lambda: self.fs.cat_file(self.paths[shard], start=offset, end=offset + length))
            if len(data) > length:
                raise InputError(
                    f"{self.paths[shard]}: its server sends whole files instead of the requested parts; use a "
                    "server with range requests, or copy the shards to this machine"
                )
            return data

    def hold(self, shards: Collection[int]) -> None:
        """Start to copy these shards, if they are remote, and drop all other copies to free their disk space. Copies
        are unnamed files, so even a killed process leaves none behind."""
        if self.local:
            return
        for shard in set(self._copies) - set(shards):
            self._unwanted.pop(shard).set()
            copy = self._copies.pop(shard)
            copy.cancel()
            copy.add_done_callback(_close)
        self._pool = self._pool or ThreadPoolExecutor(COPIERS)
        for shard in shards:
            if shard not in self._copies:
                self._unwanted[shard] = threading.Event()
                self._copies[shard] = self._pool.submit(self._copy, shard, self._unwanted[shard])

    @contextmanager
    def _opened(self, shard: int) -> Iterator[IO[bytes]]:
        def open_file() -> IO[bytes]:
            return self.fs.open(self.paths[shard], "rb", block_size=8 * CHUNK)

        with open_file() if self.local else _tried(open_file) as file:
            yield file if self.local else cast(IO[bytes], _Retrying(file))

    def _copy(self, shard: int, unwanted: threading.Event) -> IO[bytes]:
        copy = tempfile.TemporaryFile(dir=self.scratch)  # noqa: SIM115 - closed when it is dropped
        try:
            with self._opened(shard) as file:
                while not unwanted.is_set() and (part := file.read(CHUNK)):
                    copy.write(part)
            copy.flush()
        except BaseException:
            copy.close()
            raise
        return copy

    @contextmanager
    def _blamed(self, shard: int) -> Iterator[None]:
        """Report the many kinds of file-system errors in one line with the shard's name."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            reason = str(getattr(error, "strerror", None) or error or type(error).__name__).split("\n")[0]
            raise InputError(f"{self.paths[shard]} can't be read ({reason})") from None


class _Retrying:
    """A remote file whose reads are repeated after network failures: a failed read does not move its position."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, count: int) -> bytes:
        return _tried(lambda: self.file.read(count))


def _tried(read: Callable[[], Value]) -> Value:
    """Read, and try again after failures of almost any kind: file systems raise their client libraries' exceptions."""
    for pause in PAUSES:
        try:
            return read()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:
            time.sleep(pause)
    return read()


def _close(copy: "Future[IO[bytes]]") -> None:
    if not copy.cancelled() and copy.exception() is None:
        copy.result().close()
