"""Time contenders in turns, report failures in their own rows without stopping the others, and print tables."""

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
Row = dict[str, Any]  # column -> figure or text


def _nothing() -> None:
    pass


@dataclass
class Contender:
    """Something to time.

    Attributes:
        run: does one unit of work.
        prepare: sets torch's global switches for `run`; called, untimed, before each of its turns.
    """

    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing


@dataclass
class Timing:
    """Seconds per unit, one figure per round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.rounds)

    def speedup_over(self, other: "Timing") -> list[float]:
        """Return how many times as fast as the other this is, over each round's pair of turns: [lowest, median,
        highest]."""
        ratios = sorted(theirs / mine for mine, theirs in zip(self.rounds, other.rounds, strict=True))
        return [ratios[0], median(ratios), ratios[-1]]


def interleave(
    contenders: Mapping[str, Contender], device: torch.device, seconds: float, warm_up: int = 3
) -> dict[str, Timing]:
    """Time contenders in turns, A B A B ..., so that other work on the machine affects all of them.

    A turn has as many units as take `seconds` over all rounds, without a wait for the device between units. Slow units
    mean fewer rounds, but at least 3.

    Args:
        warm_up: untimed units of each contender before the first round; the last one tells how long a unit takes. A
            unit that takes longer than `seconds` ends the warm-up.
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
    """Return the time for `units` units [s], including the device's work."""
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
    """Peak memory above what was in use at construction [GiB]: torch's on CUDA, the process's on a CPU.

    A process's peak never falls, so on a CPU the figure is valid only for the first thing that a fresh process does.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before = torch.cuda.memory_allocated(device) / 2**30 if device.type == "cuda" else _process_peak()

    def restart(self) -> None:
        """Reset CUDA's peak: kernel selection in the first steps may take more memory than any later step."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30 - self.before
        return _process_peak() - self.before


def _process_peak() -> float:
    from gancolor.utils.hardware import Hardware

    return Hardware(torch.device("cpu"), "fp32").peak_memory()


def in_fresh_process(function: Callable[..., Result], *args: object) -> Result:
    """Run a module-level function in a new process. Its arguments must be picklable.

    The process is forked from a small server: one started from here would begin with this process's peak memory.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload([])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        return pool.submit(function, *args).result()


def attempt(measure: Callable[[], Result]) -> Result | str:
    """Return the result of `measure`, or a few words on why it failed. Memory that the failure held is freed."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        failure = "out of memory"
    except BrokenProcessPool:
        failure = "its process was killed, most likely because memory was full"
    except Exception as error:  # no failure of one row may stop the others
        lines = str(error).strip().splitlines() or [""]
        failure = f"{type(error).__name__}: {lines[0][:120]}".replace("|", "/")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failure


class Table:
    """Markdown table that prints each row as soon as it is added.

    Attributes:
        rows: all printed rows, for --json.
    """

    def __init__(self, title: str, note: str, columns: Sequence[str]) -> None:
        self.columns, self.rows = columns, list[Row]()
        self.widths = [max(len(column), 8) for column in columns]
        print(f"\n## {title}\n\n{note}\n", flush=True)
        self._print(columns)
        self._print(["-" * width for width in self.widths])

    def add(self, row: Row) -> None:
        """Print a row. An "error", if present, goes into the first column that the row lacks."""
        self.rows.append(row)
        cells = [_cell(row.get(column, "")) for column in self.columns]
        if "error" in row:
            cells[next(i for i, column in enumerate(self.columns) if column not in row)] = row["error"]
        self._print(cells)

    def _print(self, cells: Sequence[str]) -> None:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, self.widths, strict=True)) + " |",
              flush=True)  # fmt: skip


def _cell(value: object) -> str:
    """Format a figure with three digits, or a speedup as its median and range."""
    if isinstance(value, list):
        low, middle, high = (_cell(float(part)) for part in value)
        return f"{middle} ({low}–{high})"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
