"""A run is a folder."""

import json
import os
import platform
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from gancolor.config import TrainConfig
from gancolor.errors import InputError
from gancolor.files import write_atomically, write_json
from gancolor.options import fixed_options, flatten, save_yaml
from gancolor.results import versions


class Run:
    """The folder of one run. `runs/NAME` holds

    config.yaml         every option, resolved
    environment.json    each start: command, versions, hardware
    photographs.json    how many, which were left out and why, and the split where we made it
    prior.png           the training set's colours, where the objective weighs by their rarity
    metrics.jsonl       one JSON object a line
    samples/            grey, predicted, truth at every evaluation
    last.safetensors    all that resuming needs
    best.safetensors    the best generator of the stage reached
    generator.safetensors    the finished generator
    results.json        its figures, beside grey's and the truth's
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.last = self.folder / "last.safetensors"
        self.best = self.folder / "best.safetensors"
        self.generator = self.folder / "generator.safetensors"
        self.photographs = self.folder / "photographs.json"
        self.prior = self.folder / "prior.png"
        self.results = self.folder / "results.json"
        self._lock = FileLock(self.folder / ".lock")
        self._new = False

    def sample(self, step: int) -> Path:
        return self.folder / "samples" / f"step_{step:07d}.png"

    def open(self, config: TrainConfig) -> None:
        """Makes the folder this process's, and checks that the command is the one that the run was started with.

        Raises:
            InputError: another process trains in it, it holds a run of other options, or it can't be made.
        """
        self._new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"--out {self.folder}: there is a file of that name") from None
        except Timeout:
            raise InputError(f"--out {self.folder}: another process is training in this folder") from None
        if self.config.is_file() and self.last.is_file():  # a start that was refused or killed binds to nothing
            self._check_options(config)
        # What a killed process was writing.
        for leaving in (*self.folder.glob("*.part"), *self.folder.glob("samples/*.part")):
            leaving.unlink()
        write_atomically(self.config, lambda beside: save_yaml(config, beside))

    def reopen(self) -> None:
        """Takes back what a finished run said of itself, when it is to go on."""
        self.generator.unlink(missing_ok=True)
        self.results.unlink(missing_ok=True)

    def close(self) -> None:
        self._lock.release()

    def discard(self) -> None:
        """Closes it, and removes what `open` made, if it made the folder: for a start that is refused."""
        self.close()
        if self._new:
            self.config.unlink(missing_ok=True)
            Path(self._lock.lock_file).unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it
                self.folder.rmdir()

    def _check_options(self, config: TrainConfig) -> None:
        kept = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        before, now = flatten(kept), fixed_options(config)
        differing = [
            f"--{name} was {before.get(name)}, is {value}" for name, value in now.items() if before.get(name) != value
        ]
        if differing:
            raise InputError(
                f"--out {self.folder} holds a run of other options ({'; '.join(differing)}). "
                "Give the same to resume it, or another --out"
            )

    def note_start(self, step: int, hardware: str, processes: int, effective_batch: int) -> None:
        """Adds this start to environment.json."""
        path = self.folder / "environment.json"
        starts: list[dict[str, Any]] = []
        if path.is_file():
            starts = json.loads(path.read_text(encoding="utf-8"))
        start = {
            "step": step,
            "command": shlex.join(sys.argv),
            "hardware": hardware,
            "processes": processes,
            "effective_batch": effective_batch,
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            **versions(),
        }
        write_json(path, [*starts, start])
