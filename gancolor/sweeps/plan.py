"""The runs of a sweep: their values, names and folders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from gancolor.sweeps.search import RunSoFar, draw_bayes, draw_random, grid
from gancolor.sweeps.sweep_file import SweepFile
from gancolor.utils.errors import InputError

LONGEST = 200  # most characters of a folder's name; file systems allow 255 bytes

Status = Literal["running", "done", "failed", "stopped early", "interrupted"]


@dataclass
class Trial:
    """One run of a sweep.

    Attributes:
        name: the values that distinguish it from other runs.
        folder: its folder's name within the sweep's folder.
        values: of the parameters, by name.
        metric: the best value that it reached, once it has ended.
    """

    name: str
    folder: str
    values: dict[str, Any]
    status: Status = "running"
    metric: float | None = None


class Plan:
    """The runs of a sweep, in order.

    Args:
        sweep: the checked file.
        seed: seed of the values that random and bayes draw.
        trials: maximum number of runs; overrides the file's run_cap.

    Attributes:
        total: number of runs.

    Raises:
        InputError: the search has no end.
    """

    def __init__(self, sweep: SweepFile, seed: int, trials: int | None) -> None:
        self._sweep, self._seed = sweep, seed
        self._cap = trials or sweep.run_cap
        self._folders: list[str] = []
        if sweep.method == "grid":
            self.resume([])
        elif self._cap is None:
            raise InputError(f"{sweep.path}: method {sweep.method} never ends: give run_cap in the file, or --trials N")
        else:
            self.total = self._cap

    def resume(self, started: Sequence[Trial]) -> None:
        """Put the runs that have been started first, since a grid may have got further values after them."""
        if self._sweep.method != "grid":
            return
        first = [trial.values for trial in started]
        most = None if self._cap is None else self._cap + len(first)
        further = [values for values in islice(grid(self._sweep.parameters), most) if values not in first]
        self._grid = [*first, *further][: self._cap]
        self.total = len(self._grid)
        self._folders = [_folder(self._describe(values)) for values in self._grid]
        # number the folders if names collide or are too long for a file system
        if len(set(self._folders)) < self.total or max(map(len, self._folders)) > LONGEST:
            self._folders = []
        for trial in started:
            trial.name = self._describe(trial.values) if self._folders else trial.name

    def trial(self, number: int, results: Sequence[RunSoFar]) -> Trial:
        """Return run `number` (from 0), given the results so far."""
        if self._sweep.method == "grid":
            values = self._grid[number]
        elif self._sweep.method == "random":
            values = draw_random(self._sweep.parameters, self._seed, number)
        else:
            values = draw_bayes(self._sweep.parameters, self._seed, number, results)
        if self._folders:
            return Trial(self._describe(values), self._folders[number], values)
        numbered = f"trial-{number:03d}"
        return Trial(f"{numbered}: {self._describe(values)}", numbered, values)

    def samples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield names and values that test whether the program accepts what the sweep will pass.

        They are all combinations of a grid. Other searches get every choice and the ends of every range, one at a time,
        with the other parameters at quantile 0.5.
        """
        if self._sweep.method == "grid":
            yield from ((self._describe(values), values) for values in self._grid)
            return
        parameters = self._sweep.parameters
        middle = {name: parameter.at([0.5])[0] for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            for value in parameter.ends():
                yield f"{name}={value}", middle | {name: value}

    def _describe(self, values: Mapping[str, Any]) -> str:
        named = ((key, values[key]) for key in self._sweep.varying)
        return ", ".join(str(value) if key == "arch" else f"{key}={value}" for key, value in named)


def _folder(name: str) -> str:
    return name.replace(", ", ",").replace("/", "_")
