"""Entry point of `gancolor sweep FILE`: runs a Weights & Biases sweep file locally and writes one table of the runs."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gancolor.choices import RANKING_METRICS
from gancolor.sweeps.check import check_sweep
from gancolor.sweeps.command import JSON_FILE, command_words, program_words
from gancolor.sweeps.history import History, logged_names
from gancolor.sweeps.journal import Journal
from gancolor.sweeps.plan import Plan, Trial
from gancolor.sweeps.processes import Leftover, find_leftover, start_process
from gancolor.sweeps.search import RunSoFar
from gancolor.sweeps.sweep_file import SweepFile, read_sweep_file
from gancolor.utils.errors import InputError, near
from gancolor.utils.files import write_atomically

POLL_SECONDS = 0.1  # between checks for ended runs
JUDGE_SECONDS = 1.0  # between checks of logged values, for early termination


def run_sweep(
    file: Path, folder: Path, given: Mapping[str, str], *, jobs: int | None, trials: int | None, seed: int
) -> int:
    """Run the unfinished trials of a sweep, and write folder/table.md.

    Args:
        file: sweep file as for `wandb sweep`.
        folder: for the runs.
        given: options by name, which override the file's.
        jobs: number of concurrent runs; None: one per GPU, or one without GPUs.
        trials: maximum number of runs; None: the file's.
        seed: seed of the values that random and bayes draw.

    Returns:
        0; 1 if runs have failed, which does not affect the others; or 128 + the signal that stopped the sweep.

    Raises:
        InputError: the user made a mistake that is found before the first run.
    """
    sweep = read_sweep_file(file, given)
    plan = Plan(sweep, seed, trials)
    check_sweep(sweep, plan.samples())
    journal = Journal(folder, sweep, given, seed)
    plan.resume(journal.trials)
    try:
        status = SweepRunner(sweep, plan, journal, _slots(jobs)).run()
        if status < 128:
            _write_table(sweep, journal)
        return status
    finally:
        journal.close()


@dataclass
class Running:
    """A trial's process, or the one that a killed sweep has left. `asked_to_stop`: early, being behind the others."""

    trial: Trial
    number: int
    process: subprocess.Popen[bytes] | Leftover
    slot: str | None
    history: History
    asked_to_stop: bool = False


class SweepRunner:
    """A runner of trials, one per slot at a time.

    Args:
        slots: $CUDA_VISIBLE_DEVICES of each; None: unchanged.
    """

    def __init__(self, sweep: SweepFile, plan: Plan, journal: Journal, slots: Sequence[str | None]) -> None:
        self.sweep, self.plan, self.journal = sweep, plan, journal
        self._free = list(slots)
        self._alone = len(slots) == 1
        self._running: list[Running] = []
        self._failed: list[str] = []
        self._signal: int | None = None
        self._warned = False

    def run(self) -> int:
        """Run everything, and return 0, 1 if a run has failed, or 128 + the signal received."""
        for number, trial in enumerate(self.journal.trials):
            if self.journal.ended(trial):
                self._say(number, f"{trial.name} is {trial.status}: {self.journal.folder_of(trial)}", gap=False)
        judged = time.monotonic()
        upcoming = self._upcoming()
        with self._handling_signals():
            while True:
                while self._free and self._signal is None and (one := next(upcoming, None)):
                    self._start(*one)
                if not self._running:
                    break
                time.sleep(POLL_SECONDS)
                for running in [each for each in self._running if each.process.poll() is not None]:
                    self._end(running)
                if self.sweep.hyperband and time.monotonic() - judged >= JUDGE_SECONDS:
                    self._judge()
                    judged = time.monotonic()
        if self._signal:
            return 128 + self._signal
        if self._failed:
            print(f"failed: {'; '.join(self._failed)}", file=sys.stderr, flush=True)
        return 1 if self._failed else 0

    def _upcoming(self) -> Iterator[tuple[int, Trial]]:
        """Yield what is left to run, earlier trials first; values of a new trial are drawn when it is requested."""
        trials, metric = self.journal.trials, self.sweep.metric
        for number, trial in enumerate([*trials]):
            if not self.journal.ended(trial):
                yield number, trial
        while len(trials) < self.plan.total:
            if metric and (reached := [trial for trial in trials if metric.reached(trial.metric)]):
                print(f"\n{metric.name} has reached {metric.target}: {reached[0].name}", flush=True)
                return
            trials.append(self.plan.trial(len(trials), self._results()))
            yield len(trials) - 1, trials[-1]

    def _results(self) -> list[RunSoFar]:
        ended = ("done", "stopped early", "failed")
        metric = self.sweep.metric
        return [
            RunSoFar(
                trial.values,
                None if metric is None or trial.metric is None else metric.loss(trial.metric),
                running=trial.status not in ended,
            )
            for trial in self.journal.trials
        ]

    # One run ----------------------------------------------------------------------------------------------------------

    def _start(self, number: int, trial: Trial) -> None:
        folder = self.journal.folder_of(trial)
        folder.mkdir(parents=True, exist_ok=True)
        if leftover := find_leftover(folder):
            self._say(number, f"{trial.name}: a killed sweep has left it running (process {leftover.pid}); waiting")
            self._watch(number, trial, leftover, self._free.pop(0))
            return
        values, json_file = {**trial.values, "out": str(folder)}, folder / "args.json"
        program = program_words(self.sweep.program)
        words = partial(command_words, self.sweep.command, program, values, json_file=str(json_file))
        if JSON_FILE in self.sweep.command:
            json_file.write_text(json.dumps(values), encoding="utf-8")
        slot = self._free.pop(0)
        environment = os.environ | ({} if slot is None else {"CUDA_VISIBLE_DEVICES": slot})
        line = shlex.join(words(interpreter="python"))
        how: dict[str, Any] = {"env": environment}
        trial.status, trial.metric = "running", None
        self.journal.save()
        with contextlib.ExitStack() as stack:
            if self._alone:
                self._say(number, f"{trial.name}\n{line}")
            else:
                log = stack.enter_context((folder / "log.txt").open("a", encoding="utf-8"))
                self._say(number, f"{trial.name}: started, {log.name}")
                print(line, file=log, flush=True)
                how |= {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            try:
                process = start_process(words(interpreter=sys.executable), folder, **how)
            except OSError as error:
                raise InputError(f"{self.sweep.path}: {words(interpreter='python')[0]}: {error.strerror}") from None
        self._watch(number, trial, process, slot)

    def _watch(
        self, number: int, trial: Trial, process: subprocess.Popen[bytes] | Leftover, slot: str | None
    ) -> None:  # fmt: skip
        history = History(self.journal.folder_of(trial), self.sweep.metric.name if self.sweep.metric else None)
        self._running.append(Running(trial, number, process, slot, history))
        if self._signal:  # it came before this process was in the list
            process.terminate()

    def _end(self, running: Running) -> None:
        self._running.remove(running)
        self._free.append(running.slot)
        trial, status, history = running.trial, running.process.returncode, running.history.read()
        if isinstance(running.process, Leftover) and status and not running.asked_to_stop and self._signal is None:
            self._start(running.number, trial)  # it was not finished
            return
        reached = self.sweep.metric.best(history) if self.sweep.metric else None
        figure = f", {self.sweep.metric.name} {reached:.6g}" if self.sweep.metric and reached is not None else ""
        if status == 0:
            trial.status, trial.metric = "done", reached
            said = f"done{figure}"
        elif running.asked_to_stop:
            trial.status, trial.metric = "stopped early", reached
            said = f"stopped early after {len(history)} values{figure}"
        elif self._signal:
            trial.status = "interrupted"
            said = "interrupted; the same command resumes it"
        else:
            trial.status = "failed"
            said = f"failed (status {status})"
            self._failed.append(f"{trial.name} (status {status})")
            if not self._alone:
                said += f": {_last_line(self.journal.folder_of(trial) / 'log.txt')}"
        self.journal.save()
        self._say(running.number, f"{trial.name}: {said}")
        if trial.status == "done" and not history:
            self._warn_of_metric(trial)

    def _warn_of_metric(self, trial: Trial) -> None:
        """Warn once that a run has logged no value of the sweep's metric."""
        if self._warned or self.sweep.metric is None:
            return
        self._warned = True
        names, wanted = logged_names(self.journal.folder_of(trial)), self.sweep.metric.name
        has = f"it logged {', '.join(names)}{near(wanted, names)}" if names else "it has no metrics.jsonl"
        so = "; so values are drawn at random" if self.sweep.method == "bayes" else ""
        print(f"{self.sweep.path}: metric: {trial.name} logged no {wanted}; {has}{so}", file=sys.stderr, flush=True)

    def _judge(self) -> None:
        """Ask runs that are behind the others to stop, with SIGTERM: the trainer then saves before it exits."""
        metric = self.sweep.metric
        assert metric is not None and self.sweep.hyperband is not None
        asked = {running.number: running for running in self._running}
        histories = {
            number: [
                metric.loss(value)
                for value in (
                    asked[number].history.read()
                    if number in asked
                    else History(self.journal.folder_of(trial), metric.name).read()
                )
            ]
            for number, trial in enumerate(self.journal.trials)
        }
        running = {number: histories.pop(number) for number in asked}
        for number in self.sweep.hyperband.stops(running, [*histories.values()]):
            if not asked[number].asked_to_stop:
                asked[number].asked_to_stop = True
                asked[number].process.terminate()

    # Messages and signals ---------------------------------------------------------------------------------------------

    def _say(self, number: int, text: str, gap: bool = True) -> None:
        """Print a line about a run, separate from the run's own output."""
        before = "\n" if gap and self._alone else ""
        print(f"{before}[{number + 1}/{self.plan.total}] {text}", flush=True)

    def _terminate(self, leftovers_only: bool = False) -> None:
        for running in self._running:
            if isinstance(running.process, Leftover) or not leftovers_only:
                running.process.terminate()

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """Let the runs handle signals, because they save first, and start no further runs.

        Ctrl-C reaches the runs by itself, except those of a killed sweep; SIGTERM is forwarded. Then the runner waits
        for them.
        """

        def keep(number: int, _frame: Any) -> None:
            self._signal = number
            self._terminate(leftovers_only=number != signal.SIGTERM)

        before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            self._terminate()  # if an error ended the sweep; otherwise none is left
            for number, handler in before.items():
                signal.signal(number, handler)


def _slots(jobs: int | None) -> list[str | None]:
    """Return $CUDA_VISIBLE_DEVICES of each concurrent run: one GPU each, in turn; None: unchanged."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if jobs == 1:
        devices = []
    elif visible is not None:
        devices = [device.strip() for device in visible.split(",") if device.strip()]
    else:
        import torch

        devices = [str(index) for index in range(torch.cuda.device_count())]
    jobs = jobs or max(1, len(devices))
    return [None] * jobs if jobs == 1 or not devices else [devices[index % len(devices)] for index in range(jobs)]


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def _write_table(sweep: SweepFile, journal: Journal) -> None:
    """Write the table of finished runs, and print it, the best run, and the runs that are not in it."""
    from gancolor.compare.inputs import sweep_table  # imports torch
    from gancolor.training.run_folder import RunFolder

    done = {trial.name: journal.folder_of(trial) for trial in journal.trials if trial.status == "done"}
    finished = [folder for folder in done.values() if RunFolder(folder).results.is_file()]
    if finished:
        rank_by = sweep.metric.name.removeprefix("val/") if sweep.metric else "psnr"
        table = sweep_table(finished, rank_by if rank_by in RANKING_METRICS else "psnr")
        path = journal.folder / "table.md"
        write_atomically(path, lambda beside: beside.write_text(table + "\n", encoding="utf-8"))
        print(f"\n{table}\n\ntable  {path}")
    stopped = [trial.name for trial in journal.trials if trial.status == "stopped early"]
    if stopped:
        print(f"stopped early, and not in the table: {'; '.join(stopped)}")
    if metric := sweep.metric:
        values = {trial.name: trial.metric for trial in journal.trials if trial.status == "done"}
        ranked = [(metric.loss(value), name) for name, value in values.items() if value is not None]
        if ranked:
            print(f"best   {min(ranked)[1]}: {metric.name} {values[min(ranked)[1]]:.6g}")
