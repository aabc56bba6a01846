"""`gancolor sweep FILE`: runs a Weights & Biases sweep file's grid here, with no account, server or network, and puts
the runs into one table."""

import itertools
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from gancolor.config import TrainConfig, fixed_options, flatten
from gancolor.errors import InputError
from gancolor.files import write_atomically
from gancolor.parsing import parse_train
from gancolor.run import Run

KEYS = {"program", "method", "parameters", "command", "metric", "name", "description", "project", "entity"}
COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]  # the agent's own, and all that is known here
INTERRUPTED = (130, 143, -2, -15)  # statuses of a run that a signal has stopped


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: what it is called in the table: the values that tell it from the others.
        args: of train.py, `--key=value`, as the agent of Weights & Biases writes them.
        folder: the run's.
    """

    name: str
    args: tuple[str, ...]
    folder: Path

    @cached_property
    def config(self) -> TrainConfig:
        return parse_train([*self.args, f"--out={self.folder}"])

    @property
    def done(self) -> bool:
        """Whether it has been run to its end with these options."""
        run = Run(self.folder)
        if not run.results.is_file() or not run.config.is_file():
            return False
        kept = flatten(yaml.safe_load(run.config.read_text(encoding="utf-8")))
        wanted = fixed_options(self.config) | {"epochs": self.config.epochs}
        return all(kept.get(name) == value for name, value in wanted.items())


class Sweep:
    """A sweep file's grid.

    Args:
        file: YAML, as `wandb sweep` takes it; only grids of listed values.
        folder: of the runs and their table.
        given: options that stand above the file's, by name.

    Raises:
        InputError: a file that can't be read, no grid, or not train.py's.
    """

    def __init__(self, file: Path, folder: Path, given: Mapping[str, str]) -> None:
        self.file, self.folder = file, folder
        content = self._read()
        self.program = str(content.get("program", "train.py"))
        if not Path(self.program).is_file():
            raise InputError(f"{file}: there is no {self.program} here; run it from the folder that has it")
        choices = {name: self._choices(name, spec) for name, spec in content["parameters"].items()}
        choices |= {name: [value] for name, value in given.items()}
        varying = [name for name, values in choices.items() if len(values) > 1] or list(choices)[:1]
        self.trials = [
            self._trial(dict(zip(choices, values, strict=True)), varying)
            for values in itertools.product(*choices.values())
        ]

    def _read(self) -> dict[str, Any]:
        try:
            content = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{self.file}: no such sweep file") from None
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise InputError(f"{self.file}: can't be read ({' '.join(str(error).split())})") from None
        if (
            not isinstance(content, dict)
            or not isinstance(content.get("parameters"), dict)
            or not content["parameters"]
        ):
            raise InputError(f"{self.file}: a sweep file has `method` and `parameters`")
        if content.get("method") != "grid":
            raise InputError(f"{self.file}: method {content.get('method')}: only grid runs here; use `wandb sweep`")
        if unknown := content.keys() - KEYS:
            raise InputError(f"{self.file}: {', '.join(sorted(map(str, unknown)))}: not known here; use `wandb sweep`")
        if content.get("command", COMMAND) != COMMAND:
            raise InputError(f"{self.file}: command: only {' '.join(COMMAND)} runs here; use `wandb sweep`")
        return content

    def _choices(self, name: str, spec: Any) -> list[Any]:
        if isinstance(spec, dict) and spec.keys() == {"value"}:
            return [spec["value"]]
        if isinstance(spec, dict) and spec.keys() == {"values"} and isinstance(spec["values"], list) and spec["values"]:
            return spec["values"]
        raise InputError(f"{self.file}: {name}: a grid takes `value: X` or `values: [X, ...]`")

    def _trial(self, values: dict[str, Any], varying: Sequence[str]) -> Trial:
        name = ", ".join(str(values[key]) if key == "arch" else f"{key}={values[key]}" for key in varying)
        folder = self.folder / name.replace(", ", ",").replace("/", "_")
        return Trial(name, tuple(f"--{key}={_written(value)}" for key, value in values.items()), folder)

    def run(self) -> int:
        """Runs what is not done yet, one after the other, writes the table, and returns 0; 1 where runs have failed,
        which the others don't mind; or the status of a run that a signal has stopped, after which nothing else runs."""
        from gancolor.assembly import check_options  # brings torch

        failed = []
        for trial in self.trials:  # before hours of training, not after
            check_options(trial.config)
        for number, trial in enumerate(self.trials, 1):
            print(f"\n[{number}/{len(self.trials)}] {trial.name}", flush=True)
            if trial.done:
                print(f"is done: {trial.folder}", flush=True)
                continue
            words = [sys.executable, self.program, *trial.args, f"--out={trial.folder}"]
            print(shlex.join(["python", *words[1:]]), flush=True)
            status = _run(words)
            if status in INTERRUPTED:
                return abs(status) if status > 0 else 128 - status
            if status:
                failed.append(f"{trial.name} (status {status})")
        if failed:
            print(f"failed: {'; '.join(failed)}", file=sys.stderr, flush=True)
        self._write_table()
        return 1 if failed else 0

    def _write_table(self) -> None:
        from gancolor.sweep_table import sweep_table  # brings torch

        done = {trial.name: trial.folder for trial in self.trials if trial.done}
        if not done:
            return
        table = sweep_table(done)
        path = self.folder / "table.md"
        write_atomically(path, lambda beside: beside.write_text(table + "\n", encoding="utf-8"))
        print(f"\n{table}\n\ntable  {path}")


def _written(value: Any) -> str:
    """A value as a flag takes it: null and lists as YAML has them, the rest as the agent writes it (True, 0.1)."""
    return json.dumps(value) if value is None or isinstance(value, list) else str(value)


def _run(words: Sequence[str]) -> int:
    """Runs a command to its end and returns its status. A signal is the command's to obey, which saves first: Ctrl-C
    reaches it by itself, SIGTERM is handed on."""
    with subprocess.Popen(words) as process:
        old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def parse_options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """`--key=value` words, each to (key, value).

    Raises:
        InputError: another word.
    """
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("--") or not equals:
            raise InputError(f"{word}: options of the runs are written --NAME=VALUE")
        yield key[2:], value
