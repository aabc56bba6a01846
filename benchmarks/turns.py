"""Others take turns with a run of gancolor's own trainer, so that whatever else the machine does falls on all."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from sys import stderr
from typing import Any

from steps import StepSpec

from gancolor.trainer import Trainer


class EnoughError(Exception):
    """Raised in a turn: the run has been measured for long enough."""


@contextmanager
def trainer_of(spec: StepSpec, photos: Path, *words: str) -> Iterator[Trainer]:
    """The trainer that `train.py --arch ... --data.source photos WORDS` makes, in folders that are thrown away. What
    it prints goes to the standard error."""
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(stderr):
        source = ("--data.source", str(photos), "--data.cache", f"{scratch}/cache", "--out", f"{scratch}/run")
        yield Trainer(spec.config(*source, "--precision", spec.precision, *words))


def take_turns(trainer: Trainer, turn: Callable[[int], None]) -> None:
    """Trains to the end, or until EnoughError, with `turn(step)` before each step's batch is handed to the loop:
    all that a step brings with it (logs, saves, evaluations) is done by then."""
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
