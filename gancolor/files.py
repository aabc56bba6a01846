"""Files that are whole or not there."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside, and gives it the name `path` when it is whole and on the disk. What was there
    before stays until then, and if anything fails (a full disk, a kill)."""
    beside = path.with_name(path.name + ".part")
    try:
        write(beside)
        beside.chmod(0o666 & ~umask())  # safetensors makes files that only their owner can read
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="backslashreplace"))


def sync(path: Path) -> None:
    """Waits until a file is on the disk, so that a power cut does not leave its name with nothing in it."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def umask() -> int:
    """The permissions that the user takes from new files (reading it means setting it)."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _finite(content: Any) -> Any:
    """The content with null for numbers that JSON has no way to write (the standard error of a single photograph)."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
