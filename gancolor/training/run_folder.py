"""The folder of a run."""

import contextlib
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gancolor.config.identity import fixed_options, flatten, save_yaml
from gancolor.config.options import TrainConfig
from gancolor.evaluation.results import versions
from gancolor.models.checkpoint import describe
from gancolor.utils import run_files
from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically, write_json


class RunFolder:
    """Folder of one run. `runs/NAME` contains

    config.yaml         every option, resolved
    environment.json    each start: command, versions, hardware
    photographs.json    how many, which were left out and why, and the split if gancolor made it
    prior.png           the training set's colours, if the objective weights them by rarity
    metrics.jsonl       one JSON object per line
    samples/            grey, predicted and true pictures at every evaluation
    last.safetensors    everything needed to resume
    best.safetensors    the best generator of the stage that the run has reached
    generator.safetensors    the finished generator
    results.json        its scores, beside those of grey and the ground truth
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = self.folder / run_files.CONFIG
        self.last = self.folder / run_files.LAST
        self.best = self.folder / run_files.BEST
        self.generator = self.folder / run_files.GENERATOR
        self.photographs = self.folder / "photographs.json"
        self.prior = self.folder / "prior.png"
        self.results = self.folder / run_files.RESULTS
        self._lock = FileLock(self.folder / ".lock")
        self._new = False
        self.former: Mapping[str, Any] = {}  # the options of the last saved state, by dotted name

    def sample(self, step: int) -> Path:
        return self.folder / "samples" / f"step_{step:07d}.png"

    def open(self, config: TrainConfig) -> None:
        """Lock the folder for this process, and check that the options are those that the run was started with.

        Raises:
            InputError: another process trains in the folder, it holds a run with other options, its saved state can't
                be read, or it can't be made.
        """
        self._new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"--out {self.folder}: there is a file of that name") from None
        except Timeout:
            raise InputError(f"--out {self.folder}: another process is training in this folder") from None
        if self.last.is_file():  # without a saved state, any options will do
            self._check_options(config)
        # Unfinished files of a killed process.
        for leaving in (*self.folder.glob("*.part"), *self.folder.glob("samples/*.part")):
            leaving.unlink()

    def begin(self, config: TrainConfig, continues: bool) -> None:
        """Save the options, once nothing can refuse the start any more.

        Args:
            continues: more is trained: remove a finished run's generator and results.
        """
        write_atomically(self.config, lambda beside: save_yaml(config, beside))
        if continues:
            self.generator.unlink(missing_ok=True)
            self.results.unlink(missing_ok=True)

    def close(self) -> None:
        self._lock.release()

    def discard(self) -> None:
        """Close the folder after a refused start; remove it, with what it holds, if `open` created it."""
        self.close()
        if self._new:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _check_options(self, config: TrainConfig) -> None:
        # From the state, not from config.yaml, which may have been lost or edited.
        self.former = before = flatten(describe(self.last)["config"])
        differing = [
            f"--{name} was {before.get(name)}, is {value}"
            for name, value in fixed_options(config).items()
            if before.get(name) != value
        ]
        if differing:
            raise InputError(
                f"--out {self.folder} contains a run with different options ({'; '.join(differing)}). "
                "Give the same options to resume it, or a different --out"
            )

    def note_start(self, step: int, hardware: str, processes: int, effective_batch: int) -> None:
        """Add this start to environment.json."""
        path = self.folder / "environment.json"
        starts: list[dict[str, Any]] = []
        if path.is_file():
            with contextlib.suppress(ValueError):  # a damaged file is no reason not to train
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
