"""Time to a given PSNR: gancolor's training, which starts with pretraining, against the plain loop, in turns."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import reference
import torch
from interleaved import EnoughError, take_turns, trainer_of
from measure import Row, Table, attempt, synchronize
from step_runners import StepSpec, as_torch_ships, forget
from torch import nn

from gancolor.data.cache.photographs import Photographs
from gancolor.evaluation.scoring import score_generator
from gancolor.utils.hardware import Hardware, choose_hardware

GAINS = (0.5, 1.0, 1.5, 2.0)  # over grey [dB]
LOOKS = 40  # PSNR measurements of each contender, over its time limit
VALIDATED = 128  # photographs on which PSNR is measured
EPOCHS = 1000  # of pretraining: the time limit ends it


@dataclass
class Learner:
    """Contender with its own clock, which stops while its PSNR is measured and while the other has its turn.

    Attributes:
        wanted: gains over grey [dB], which end its training once all are reached; none: only time ends it.
        reached: wanted gain -> seconds to reach it.
        last, most: latest and best gain so far [dB].
    """

    photographs: Photographs
    hardware: Hardware
    grey: float
    wanted: Sequence[float] = GAINS
    seconds: float = 0.0
    looks: int = 0
    last: float = float("-inf")
    most: float = float("-inf")
    reached: dict[float, float] = field(default_factory=dict)

    def look(self, generator: nn.Module) -> None:
        """Measure the PSNR of a generator in its current state."""
        training = generator.training
        scores = score_generator(generator.eval(), self.photographs, self.hardware)
        generator.train(training)
        self.last = float(scores["psnr"].mean()) - self.grey
        self.looks, self.most = self.looks + 1, max(self.most, self.last)
        for wanted in self.wanted:
            if self.last >= wanted:
                self.reached.setdefault(wanted, self.seconds)

    @property
    def is_done(self) -> bool:
        return bool(self.wanted) and len(self.reached) == len(self.wanted)


class Race:
    """Turns of both contenders: when the trainer's clock reaches the next measurement, its PSNR is measured, and the
    other loop trains for as long.

    Args:
        limit: seconds on each contender's clock.
        wanted: see `Learner`.
        looks: measurements of each contender's PSNR.

    Attributes:
        steps: of the trainer so far.
    """

    def __init__(
        self, trainer: Any, other: "Loop", limit: float, spec: StepSpec, started: float, wanted: Sequence[float],
        looks: int,
    ) -> None:  # fmt: skip
        self.trainer, self.other, self.limit, self.spec, self.started = trainer, other, limit, spec, started
        self.looks, self.steps = looks, 0
        grey = trainer.validation.grey["psnr"].mean
        self.mine, self.theirs = (Learner(trainer.data.val, trainer.hardware, grey, wanted) for _ in range(2))

    def __call__(self, step: int) -> None:
        mine, theirs = self.mine, self.theirs
        self.steps = step
        now = time.perf_counter()
        if mine.seconds + now - self.started < self.limit * (mine.looks + 1) / self.looks:
            return
        synchronize(self.trainer.hardware.device)
        mine.seconds += time.perf_counter() - self.started
        if step:  # before the first step there is nothing to measure
            mine.look(self.trainer.gan_step.ema)
        while theirs.seconds < self.limit and (theirs.seconds < mine.seconds or self.is_over(mine)):
            if self.is_over(theirs):
                break
            as_torch_ships()
            theirs.seconds += self.other.train(self.limit / self.looks)
            theirs.look(self.other.generator)
        if self.is_over(mine):
            raise EnoughError
        choose_hardware(self.spec.device, self.spec.precision)
        self.started = time.perf_counter()

    def is_over(self, learner: Learner) -> bool:
        return learner.is_done or learner.seconds >= self.limit


class Loop:
    """A training loop that can be paused and continued.

    Args:
        step: takes one training step on a batch of the loader.
        loader: yields one epoch of batches.
        generator: is trained by the steps.

    Attributes:
        steps: taken so far.
    """

    def __init__(
        self, step: Callable[[Any], object], loader: Iterable[Any], generator: nn.Module, device: torch.device
    ) -> None:
        self.step, self.loader, self.generator, self.device = step, loader, generator, device
        self.batches, self.steps = self._forever(), 0

    def _forever(self) -> Iterator[Any]:
        for _ in count():
            yield from self.loader

    def train(self, seconds: float) -> float:
        """Train for at least `seconds`, and return how long it took [s]."""
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.step(next(self.batches))
            self.steps += 1
            synchronize(self.device)
        return time.perf_counter() - start


def plain_loop(spec: StepSpec, paths: list[Path]) -> Loop:
    """Return the plain loop, adversarial from the start."""
    device = choose_hardware(spec.device, "fp32").device
    trainer = reference.ReferenceTrainer(*spec.networks(), device)
    loader = reference.make_loader(paths, spec.size, spec.batch_size, device.type == "cuda")
    return Loop(lambda batch: trainer.adversarial_step(*batch), loader, trainer.generator, device)


def measure_quality(
    architectures: list[str], base: StepSpec, photos: Path, shown: list[str], minutes: float, limit: int | None
) -> list[Row]:
    """Print the table of seconds to each gain over grey and return its rows."""
    table = Table(
        f"Time to a given PSNR, {base.size} x {base.size}, batch {base.batch_size}",
        f"Seconds of training until a given gain over grey, up to {minutes:g} minutes each; decoding is included, "
        f"measuring the PSNR of {VALIDATED} photographs is not. gancolor pretrains first, and its EMA generator is "
        "measured; the plain loop trains adversarially from the start.",
        ["architecture", "precision", "gain [dB]", "gancolor s", "reference s", "× sooner"],
    )
    for arch in architectures:
        for precision in shown:
            spec = replace(base, arch=arch, precision=precision)
            found = attempt(partial(_race, spec, photos, minutes * 60, limit))
            for row in [{"error": found}] if isinstance(found, str) else found:
                table.add({"architecture": arch, "precision": precision} | row)
            forget()
    return table.rows


def _race(spec: StepSpec, photos: Path, seconds: float, limit: int | None) -> list[Row]:
    race = race_with(partial(plain_loop, spec), spec, photos, seconds, limit)
    mine, theirs = race.mine, race.theirs
    rows = [_gain_row(gain, mine, theirs) for gain in GAINS]
    most = {"gancolor s": f"{mine.most:+.2f} dB", "reference s": f"{theirs.most:+.2f} dB"}
    return [*rows, {"gain [dB]": "the most reached"} | most]


def race_with(
    loop_on: Callable[[list[Path]], Loop], spec: StepSpec, photos: Path, seconds: float, limit: int | None,
    wanted: Sequence[float] = GAINS, looks: int = LOOKS,
) -> Race:  # fmt: skip
    """Train gancolor and another loop in turns, up to `seconds` each, and return the finished race.

    Args:
        loop_on: takes the paths of the training photographs.
        limit: maximum number of training photographs.
        wanted: gains over grey [dB] that end it earlier once all are reached.
        looks: measurements of each contender's PSNR.
    """
    words = ["--pretrain_epochs", str(EPOCHS), "--eval.every", str(EPOCHS), "--data.val_limit", str(VALIDATED)]
    words += ["--data.limit", str(limit)] if limit else []
    started = time.perf_counter()
    with trainer_of(spec, photos, *words) as trainer:
        building = time.perf_counter() - started
        loop = loop_on([item.path for item in trainer.data.source.train])  # type: ignore[attr-defined]
        race = Race(trainer, loop, seconds, spec, time.perf_counter() - building, wanted, looks)
        take_turns(trainer, race)
    return race


def _gain_row(gain: float, mine: Learner, theirs: Learner) -> Row:
    words = [
        f"{learner.reached[gain]:.0f}" if gain in learner.reached else f"not in {learner.seconds:.0f}"
        for learner in (mine, theirs)
    ]
    row: Row = {"gain [dB]": gain, "gancolor s": words[0], "reference s": words[1]}
    if gain in mine.reached:
        least = theirs.reached.get(gain, theirs.seconds) / mine.reached[gain]
        row["× sooner"] = least if gain in theirs.reached else f"over {least:.3g}"
    return row
