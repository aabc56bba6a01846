"""State of a sweep in DIR/sweep.json, which is written atomically, so that the same command resumes the sweep."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gancolor.config.identity import flatten
from gancolor.sweeps.parameters import make_parameter
from gancolor.sweeps.plan import Trial
from gancolor.sweeps.sweep_file import SweepFile
from gancolor.utils.errors import InputError
from gancolor.utils.files import finite, write_json


class Journal:
    """The trials that have been started, in the order of their numbers.

    Args:
        folder: of the sweep, created if missing.
        sweep: the checked file.
        given: options that override the file's.
        seed: seed of the values that random and bayes draw.

    Raises:
        InputError: the folder holds another sweep, or another process runs a sweep in it.
    """

    def __init__(self, folder: Path, sweep: SweepFile, given: Mapping[str, str], seed: int) -> None:
        self.folder = folder
        self._path = folder / "sweep.json"
        about = {"file": sweep.content, "configs": sweep.configs, "given": given, "search_seed": seed}
        self._about: dict[str, Any] = finite(json.loads(json.dumps(about, default=str)))
        self.trials: list[Trial] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"--out {folder}: there is a file of that name") from None
        except Timeout:
            raise InputError(f"--out {folder}: another process runs a sweep in this folder") from None
        if self._path.is_file():
            try:
                kept = json.loads(self._path.read_text(encoding="utf-8"))
                self.trials = [Trial(**trial) for trial in kept["trials"]]
                before = {key: kept[key] for key in self._about}
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{self._path}: damaged; remove it to start the sweep from the beginning, or give a different --out"
                ) from None
            if sweep.method == "grid" and _has_further_values(before["file"], self._about["file"]):
                before["file"]["parameters"] = self._about["file"]["parameters"]
                before["configs"] = self._about["configs"] | before["configs"]
            self._check(before)

    def save(self) -> None:
        write_json(self._path, self._about | {"trials": [asdict(trial) for trial in self.trials]})

    def close(self) -> None:
        self._lock.release()

    def folder_of(self, trial: Trial) -> Path:
        return self.folder / trial.folder

    def ended(self, trial: Trial) -> bool:
        """Return whether nothing is left to do; a trial whose folder was removed runs again."""
        return trial.status in ("done", "stopped early") and self.folder_of(trial).is_dir()

    def _check(self, kept: Mapping[str, Any]) -> None:
        before, now = (flatten({key: about[key] for key in self._about}) for about in (kept, self._about))
        differing = [
            f"{_named(key)} was {before.get(key, 'not there')}, is {now.get(key, 'not there')}"
            for key in dict.fromkeys((*before, *now))
            if before.get(key, ...) != now.get(key, ...)
        ]
        if differing:
            raise InputError(
                f"--out {self.folder} holds another sweep ({'; '.join(differing)}). "
                "Give the same options to resume it, or a different --out"
            )


def _has_further_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether a grid's parameters have all the values that they had before."""
    then, since = (
        {name: make_parameter(spec).grid() or [] for name, spec in file["parameters"].items()} for file in (before, now)
    )
    return then.keys() == since.keys() and all(value in since[name] for name in then for value in then[name])


def _named(key: str) -> str:
    """Return a key's name for messages: `--seed` for given.seed, `--search_seed`, and keys of files unchanged."""
    kind, _, name = key.partition(".")
    return name if kind in ("file", "configs") else f"--{name or kind}"
