"""Processes of a sweep's runs, and those that a killed sweep has left running."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gancolor.utils.run_files import RESULTS

try:
    import fcntl
except ImportError:  # Windows: what a killed sweep leaves running is not found there
    fcntl = None  # type: ignore[assignment]

LOCK = ".process"  # file in a run's folder with the process's number, locked as long as that process lives


def start_process(words: Sequence[str], folder: Path, **how: Any) -> subprocess.Popen[bytes]:
    """Start a run's process with the lock of its folder, which the system keeps for it even if the sweep is killed.

    Args:
        how: options of Popen.
    """
    if fcntl is None:
        return subprocess.Popen(words, **how)
    # A child of a launcher that was killed may still hold the old file's lock; the run's own lock decides about it.
    (folder / LOCK).unlink(missing_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = subprocess.Popen(words, pass_fds=[file.fileno()], **how)
        print(process.pid, file=file, flush=True)
    return process


class Leftover:
    """A run's process that a killed sweep has left running; its methods are those of Popen.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._lock, self._results = folder / LOCK, folder / RESULTS
        with suppress(OSError, ValueError):
            self.pid = int(self._lock.read_text())

    pid: int | None = None

    @property
    def returncode(self) -> int:
        """0 if the run has written its results; the exit status itself is unknown."""
        return 0 if self._results.is_file() else 1

    def poll(self) -> int | None:
        return None if self._is_locked() and self._is_alive() else self.returncode

    def terminate(self) -> None:
        if self.pid is not None and self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def _is_locked(self) -> bool:
        if fcntl is None or not self._lock.is_file():
            return False
        with self._lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _is_alive(self) -> bool:
        """Return whether the process is there: those that it started may have the lock too, and outlive it."""
        if self.pid is None:  # the sweep was killed before it wrote the number
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


def find_leftover(folder: Path) -> Leftover | None:
    """Return the process that a killed sweep has left running in a run's folder, if there is one."""
    found = Leftover(folder)
    return found if found.poll() is None else None
