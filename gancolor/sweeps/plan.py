"""Which runs a sweep has: their values, names and folders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from gancolor.errors import InputError
from gancolor.sweeps.file import SweepFile
from gancolor.sweeps.search import Result, draw_bayes, draw_random, grid

LONGEST = 200  # characters of a folder's name; file systems take 255 bytes

Status = Literal["running", "done", "failed", "stopped early", "interrupted"]


@dataclass
class Trial:
    """One run of a sweep.

    Attributes:
        name: what it is called: the values that tell it from the others.
        folder: its folder's name, in the sweep's.
        values: of the parameters, by name.
        metric: the best value that it has reached, once it has ended.
    """

    name: str
    folder: str
    values: dict[str, Any]
    status: Status = "running"
    metric: float | None = None


class Plan:
    """The runs of a sweep, one after the other.

    Args:
        sweep: what there is to search.
        draw: seed of what is drawn.
        trials: greatest number of runs; it stands above the file's run_cap.

    Attributes:
        total: number of runs.

    Raises:
        InputError: a search without an end.
    """

    def __init__(self, sweep: SweepFile, draw: int, trials: int | None) -> None:
        self._sweep, self._draw = sweep, draw
        cap = trials or sweep.run_cap
        if sweep.method == "grid":
            self._grid = list(islice(grid(sweep.parameters), cap))
            self.total = len(self._grid)
            self._folders = [_folder(self._describe(values)) for values in self._grid]
            # names that fall together, or that no file system takes
            if len(set(self._folders)) < self.total or max(map(len, self._folders)) > LONGEST:
                self._folders = []
        elif cap is None:
            raise InputError(f"{sweep.path}: method {sweep.method} has no end: give run_cap in the file, or --trials N")
        else:
            self.total, self._folders = cap, []

    def trial(self, number: int, results: Sequence[Result]) -> Trial:
        """Run `number` (from 0), given the results so far."""
        if self._sweep.method == "grid":
            values = self._grid[number]
        elif self._sweep.method == "random":
            values = draw_random(self._sweep.parameters, self._draw, number)
        else:
            values = draw_bayes(self._sweep.parameters, self._draw, number, results)
        if self._folders:
            return Trial(self._describe(values), self._folders[number], values)
        numbered = f"trial-{number:03d}"
        return Trial(f"{numbered}: {self._describe(values)}", numbered, values)

    def samples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and values that show whether the program takes what the sweep will give it: all combinations of a grid;
        otherwise every choice and the ends of every range, one at a time, the others at their middle."""
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
