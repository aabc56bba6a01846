"""How things are timed side by side, how a failure stays in its row, and how rows are printed."""

import gc
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import torch

LEAST_ROUNDS, MOST_ROUNDS = 3, 9
Result = TypeVar("Result")
Row = dict[str, Any]  # column -> a figure or a word


def _nothing() -> None:
    pass


@dataclass
class Contender:
    """Something to time.

    Attributes:
        run: does one unit of the work.
        prepare: sets torch's global switches to what `run` needs; called, untimed, before each of its turns.
    """

    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing


@dataclass
class Timing:
    """Seconds a unit, one figure a round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.rounds)

    def speedup_over(self, other: "Timing") -> list[float]:
        """How many times as fast as the other, from each round's pair of turns: lowest, median, highest."""
        ratios = sorted(theirs / mine for mine, theirs in zip(self.rounds, other.rounds, strict=True))
        return [ratios[0], median(ratios), ratios[-1]]


def interleave(
    contenders: Mapping[str, Contender], device: torch.device, seconds: float, warm_up: int = 3
) -> dict[str, Timing]:
    """Times contenders in turns, A B A B ..., so that whatever else the machine does falls on all of them.

    A turn is as many units as make `seconds` over all rounds, without a wait for the device between them; slow units
    mean fewer rounds, 3 at the least.

    Args:
        warm_up: untimed units of each before the first round; the last of them tells how long a unit takes. One that
            takes longer than `seconds` is enough.
    """
    estimates = {}
    for name, contender in contenders.items():
        contender.prepare()
        for _ in range(warm_up):
            estimates[name] = seconds_of(contender, 1, device)
            if estimates[name] > seconds:
                break
    rounds = min(max(int(seconds / max(estimates.values())), LEAST_ROUNDS), MOST_ROUNDS)
    units = {name: max(1, round(seconds / rounds / estimate)) for name, estimate in estimates.items()}
    timings = {name: Timing() for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            contender.prepare()
            timings[name].rounds.append(seconds_of(contender, units[name], device) / units[name])
    return timings


def seconds_of(contender: Contender, units: int, device: torch.device) -> float:
    """What so many units take, the device's work included."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(units):
        contender.run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Memory:
    """Peak memory over what was taken when this was made [GiB]: torch's on CUDA, the process's on a CPU.

    A process's peak never falls again, so on a CPU a figure is good for the first thing that a fresh process does.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before = torch.cuda.memory_allocated(device) / 2**30 if device.type == "cuda" else _process_peak()

    def restart(self) -> None:
        """Forgets CUDA's peak so far: the trial of kernels in the first steps may take more than any step after."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30 - self.before
        return _process_peak() - self.before


def _process_peak() -> float:
    from gancolor.hardware import Hardware

    return Hardware(torch.device("cpu"), "fp32").peak_memory()


def in_fresh_process(function: Callable[..., Result], *args: object) -> Result:
    """Runs a function of a module, on values that pickle, in a process of its own.

    The process is forked from a small server: one started from here would begin with the peak memory of this one.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload([])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        return pool.submit(function, *args).result()


def attempt(measure: Callable[[], Result]) -> Result | str:
    """What `measure` returns, or in a few words why it failed; memory that a failure held is given back."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        failure = "out of memory"
    except BrokenProcessPool:
        failure = "its process was killed, most likely for want of memory"
    except Exception as error:  # one row's failure, whatever it is, must not cost the others
        lines = str(error).strip().splitlines() or [""]
        failure = f"{type(error).__name__}: {lines[0][:120]}".replace("|", "/")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failure


class Table:
    """A Markdown table that prints each row as soon as it is there.

    Attributes:
        rows: all that were printed, for --json.
    """

    def __init__(self, title: str, note: str, columns: Sequence[str]) -> None:
        self.columns, self.rows = columns, list[Row]()
        self.widths = [max(len(column), 8) for column in columns]
        print(f"\n## {title}\n\n{note}\n", flush=True)
        self._print(columns)
        self._print(["-" * width for width in self.widths])

    def add(self, row: Row) -> None:
        """Prints a row; "error", if there, stands in the first column that the row lacks."""
        self.rows.append(row)
        cells = [_cell(row.get(column, "")) for column in self.columns]
        if "error" in row:
            cells[next(i for i, column in enumerate(self.columns) if column not in row)] = row["error"]
        self._print(cells)

    def _print(self, cells: Sequence[str]) -> None:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, self.widths, strict=True)) + " |",
              flush=True)  # fmt: skip


def _cell(value: object) -> str:
    """Figures to three digits; a speedup as its median and range."""
    if isinstance(value, list):
        low, middle, high = (_cell(float(part)) for part in value)
        return f"{middle} ({low}–{high})"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
