"""Files that are whole or not there."""

import hashlib
import json
import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gancolor.errors import InputError

LONGEST_NAME = 240  # bytes, with room for what is added


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside, and gives it the name `path` when it is whole and on the disk. What was there
    before stays until then, and if anything fails (a full disk, a kill)."""
    # Hidden, no longer than names may be, and never through a link, which could lead anywhere.
    beside = path.with_name(f".{os.fsdecode(os.fsencode(path.name)[:LONGEST_NAME])}.part")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask()
    try:
        beside.unlink(missing_ok=True)
        write(beside)
        beside.chmod(mode)  # safetensors makes files that only their owner can read
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def check_writable(option: str, name: str | Path | None) -> None:
    """Makes the folder of a file that is to be written later, before the work that it is to hold.

    Raises:
        InputError: the file can't be written.
    """
    if not name:
        return
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {name}: {error.filename} can't be made ({error.strerror})") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {name}: {'a folder' if path.is_dir() else 'its folder is read-only'}")


def write_json(path: Path, content: Any) -> None:
    """Dictionaries are written a key a line, lists of values in one: a thousand scores don't take a thousand lines."""
    text = _indented(_finite(content), "") + "\n"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="backslashreplace"))


def file_digest(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Waits until a file is on the disk, so that a power cut does not leave its name with nothing in it."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@cache
def umask() -> int:
    """The permissions that the user takes from new files. Reading it means setting it, so it is read once: threads
    would find each other's."""
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


def _finite(content: Any) -> Any:
    """The content with null for numbers that JSON has no way to write (the standard error of a single photograph)."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
