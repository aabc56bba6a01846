"""Benchmarks of whole epochs of training with data loading (gancolor's trainer against the plain loop and against its
own step alone), and of the first epoch's decoding on one core."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import reference
import torch
from data_pipeline import Pipeline, photo_files
from interleaved import EnoughError, take_turns, trainer_of
from measure import Contender, Row, Table, Timing, attempt, in_fresh_process, interleave, seconds_of, synchronize
from step_runners import GancolorSteps, StepSpec, as_torch_ships, forget

from gancolor.utils.hardware import choose_hardware

MINE, PLAIN, STEP = "gancolor", "reference", "step alone"
RATIO, SHARE = "× reference (range)", "of the step alone (range)"
NEVER = "1e6"  # epochs between evaluations
VALIDATED = 64  # photographs per evaluation, by default


class Epochs:
    """Timing of whole epochs in turns: the trainer's from one epoch boundary to the next, the others' in between. The
    first epoch, which decodes and warms up, does not count.

    Args:
        epochs: number of epochs that count.
        prepare: sets torch's global switches for the trainer again, after the others' turns.
    """

    def __init__(
        self, per_epoch: int, epochs: int, others: dict[str, Contender], prepare: Callable[[], object],
        device: torch.device,
    ) -> None:  # fmt: skip
        self.per_epoch, self.epochs, self.others, self.prepare, self.device = per_epoch, epochs, others, prepare, device
        self.timings = {name: Timing() for name in (MINE, *others)}
        self.started = 0.0

    def __call__(self, step: int) -> None:
        epoch, position = divmod(step, self.per_epoch)
        if position:
            return
        synchronize(self.device)
        seconds = {MINE: time.perf_counter() - self.started}
        if epoch:
            seconds |= {name: self._timed(contender) for name, contender in self.others.items()}
        if epoch > 1:
            for name, timing in self.timings.items():
                timing.rounds.append(seconds[name])
        if epoch > self.epochs:
            raise EnoughError
        self.prepare()
        self.started = time.perf_counter()

    def _timed(self, contender: Contender) -> float:
        contender.prepare()
        return seconds_of(contender, 1, self.device)


def measure_epochs(
    architectures: list[str], base: StepSpec, photos: Path, shown: list[str], epochs: int, limit: int | None
) -> list[Row]:
    """Print the table of whole epochs and return its rows."""
    table = Table(
        f"Whole epochs, {base.size} x {base.size}, batch {base.batch_size}",
        f"{epochs} epochs of gancolor's adversarial training (its trainer, with logs and saves) without the first, in "
        "turns with the plain loop's epochs and with as many of gancolor's steps on batches that are already loaded. "
        f'"{SHARE.removesuffix(" (range)")}": speed relative to these steps.',
        ["architecture", "precision", "evaluations", "photos/s", "s an epoch", RATIO, SHARE],
    )
    for arch in architectures:
        for precision in shown:
            for evaluations in ("none", "every epoch"):
                spec = replace(base, arch=arch, precision=precision)
                every = "1" if evaluations == "every epoch" else NEVER
                found = attempt(partial(_epochs_row, spec, photos, epochs, limit, every))
                words = {"architecture": arch, "precision": precision, "evaluations": evaluations}
                table.add(words | ({"error": found} if isinstance(found, str) else found))
                forget()
    return table.rows


def _epochs_row(spec: StepSpec, photos: Path, epochs: int, limit: int | None, every: str) -> Row:
    device = choose_hardware(spec.device, spec.precision).device
    # The reference trains on grey photographs too. The last epoch, with the evaluation that ends a run, does not count.
    words = ["--pretrain_epochs", "0", "--critic_epochs", "0", "--epochs", str(epochs + 2), "--eval.every", every]
    words += ["--data.min_colorfulness", "0", "--data.val_limit", str(VALIDATED)]
    words += ["--data.limit", str(limit)] if limit else []
    with trainer_of(spec, photos, *words, *spec.words) as trainer:
        paths = [item.path for item in trainer.data.source.train]  # type: ignore[attr-defined]
        per_epoch = trainer.timeline.steps_per_epoch
        others = {PLAIN: _reference_epoch(spec, paths), STEP: _steps_alone(spec, per_epoch)}
        prepare = partial(choose_hardware, spec.device, spec.precision)
        turns = Epochs(per_epoch, epochs, others, prepare, device)
        take_turns(trainer, turns)
    mine_timing = turns.timings[MINE]
    return {
        "photos/s": per_epoch * spec.batch_size / mine_timing.median,
        "s an epoch": mine_timing.median,
        RATIO: mine_timing.speedup_over(turns.timings[PLAIN]),
        SHARE: mine_timing.speedup_over(turns.timings[STEP]),
    }


def _reference_epoch(spec: StepSpec, paths: list[Path]) -> Contender:
    device = choose_hardware(spec.device, "fp32").device
    trainer = reference.ReferenceTrainer(*spec.networks(), device)
    loader = reference.make_loader(paths, spec.size, spec.batch_size, device.type == "cuda")

    def epoch() -> None:
        for lightness, chroma in loader:
            trainer.adversarial_step(lightness, chroma)

    return Contender(epoch, as_torch_ships)


def _steps_alone(spec: StepSpec, count: int) -> Contender:
    contender = GancolorSteps(spec).contender("adversarial")

    def steps() -> None:
        for _ in range(count):
            contender.run()

    return Contender(steps, contender.prepare)


# Decoding, on one core ------------------------------------------------------------------------------------------------


def measure_decoding(base: StepSpec, photos: Path, limit: int | None) -> list[Row]:
    """Print the table of the first epoch's decoding on one core and return its rows."""
    table = Table(
        f"First epoch's decoding on one core, {base.size} x {base.size}, batch {base.batch_size}",
        "From picture files in the system's file cache, in a process that has one core: the textbook's loader without "
        "workers, up to batches of Lab; gancolor's, which builds its cache, up to uint8 batches and up to Lab.",
        ["loader", "photos/s", "ms a photo", RATIO],
    )
    found = attempt(partial(in_fresh_process, decode_on_one_core, base, str(photos), limit))
    for row in [{"loader": "both", "error": found}] if isinstance(found, str) else found:
        table.add(row)
    return table.rows


def decode_on_one_core(spec: StepSpec, photos: str, limit: int | None) -> list[Row]:
    """Return the rows of both loaders. This process stays on one core from then on."""
    if hasattr(os, "sched_setaffinity"):  # Linux only: elsewhere, libraries see all cores and may start more threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    files = photo_files(Path(photos), limit)
    hardware = choose_hardware("cpu", "fp32")
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = Pipeline(files, spec.size, spec.batch_size, hardware, scratch, workers=0)
        contenders = {
            PLAIN: Contender(pipeline.reference_epoch),
            f"{MINE}, uint8": Contender(pipeline.first_batches),
            f"{MINE}, Lab": Contender(pipeline.first_epoch),
        }
        timings = interleave(contenders, hardware.device, spec.seconds, warm_up=1)
    count = len(pipeline.files)
    rows: list[Row] = []
    for name, timing in timings.items():
        ratio = 1.0 if name == PLAIN else timing.speedup_over(timings[PLAIN])
        each = timing.median / count
        rows.append({"loader": name, "photos/s": 1 / each, "ms a photo": each * 1000, RATIO: ratio})
    return rows
