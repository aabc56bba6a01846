"""Other contenders measured between the steps of gancolor's own trainer, so that other work on the machine slows all of
them alike."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from sys import stderr
from typing import Any

from step_runners import StepSpec

from gancolor.training.trainer import Trainer


class EnoughError(Exception):
    """Raised in a turn to end a run that has been measured for long enough."""


@contextmanager
def trainer_of(spec: StepSpec, photos: Path, *words: str) -> Iterator[Trainer]:
    """Yield the trainer of `train.py --arch ... --data.source photos WORDS`, in temporary folders. Its output goes to
    standard error."""
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(stderr):
        source = ("--data.source", str(photos), "--data.cache", f"{scratch}/cache", "--out", f"{scratch}/run")
        yield Trainer(spec.config(*source, "--precision", spec.precision, *words))


def take_turns(trainer: Trainer, turn: Callable[[int], None]) -> None:
    """Train to the end, or until EnoughError, and call `turn(step)` before each step's batch is handed to the loop. By
    then, the logs, saves and evaluations of the step before are done."""
    batches: Any = trainer.batches
    stream = batches.stream

    def with_turns(*args: Any) -> Iterator[Any]:
        for batch in stream(*args):
            turn(batch[0])
            yield batch

    batches.stream = with_turns
    try:
        trainer.fit()
    except EnoughError:
        pass
    finally:
        batches.stream = stream
