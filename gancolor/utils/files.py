"""Atomic file writing, and related helpers."""

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from gancolor.utils.errors import InputError

LONGEST_NAME = 240  # bytes; file systems allow 255, and the prefix and suffix are added


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a temporary file with `write`, sync it to disk, and rename it to `path`. Until then, and if
    anything fails (a full disk, a kill), an existing file stays as it is.

    Raises:
        OSError: the file can't be written, or another process is writing it.
    """
    beside = path.with_name(temporary_name(path.name))
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask()
    new = not beside.exists()
    try:
        with _claimed(beside, path):
            new = False
            try:
                write(beside)
                with suppress(OSError):  # some file systems have no modes
                    beside.chmod(mode)  # safetensors creates files that only their owner can read
                sync(beside)
                beside.replace(path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
    except KeyboardInterrupt:
        if new:  # interrupted between creating and locking it
            beside.unlink(missing_ok=True)
        raise
    except OSError as error:
        if error.errno and error.filename in (None, str(beside)):  # a full disk is reported without a name
            with suppress(AttributeError):  # FFmpeg's errors have names that can't be set
                error.filename = str(path)
        raise


def temporary_name(name: str) -> str:
    """Return a hidden name within the length limit, which no other file's result shares."""
    encoded = os.fsencode(name)
    return f".{name if len(encoded) <= LONGEST_NAME else hashlib.sha256(encoded).hexdigest()}.part"


@contextmanager
def _claimed(beside: Path, path: Path) -> Iterator[None]:
    """Hold a lock on a temporary file, so that no other process writes it."""
    if beside.is_symlink():  # to somewhere else
        beside.unlink()
    if fcntl is None:
        yield
        return
    with beside.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another process is writing it", str(path)) from None
        except OSError:  # a file system without locks
            pass
        yield


def check_writable(option: str, name: str | Path | None) -> None:
    """Create the folder of a file that will be written later, before the work starts.

    Raises:
        InputError: the file can't be written.
    """
    if not name:
        return
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {name}: {error.filename} can't be created ({error.strerror})") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {name}: {'it is a folder' if path.is_dir() else 'its folder is read-only'}")


def write_json(path: Path, content: Any) -> None:
    """Write JSON with one line per dictionary key and per list of values, so that a thousand scores take one line."""
    text = _indented(finite(content), "") + "\n"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="backslashreplace"))


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file is on disk, so that a power cut does not leave an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@cache
def umask() -> int:
    """Return the process's umask. Reading it means setting it, so it is read once: concurrent threads could read each
    other's temporary value."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _indented(content: Any, margin: str) -> str:
    inside = margin + "  "
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return "[\n" + ",\n".join(inside + _indented(item, inside) for item in content) + f"\n{margin}]"
    if not isinstance(content, dict) or not content:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    lines = [
        f"{inside}{json.dumps(str(key), ensure_ascii=False)}: {_indented(v, inside)}" for key, v in content.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def finite(content: Any) -> Any:
    """Replace numbers that JSON can't represent (the standard error of a single photograph) with null."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
