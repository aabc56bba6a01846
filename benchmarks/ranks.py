"""Measure how a step's speed grows with ranks, what averaging gradients over them costs, and how much of it overlaps
with the backward pass: `torchrun --nproc_per_node 2 benchmarks/ranks.py`; see `--help`."""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from gancolor's dependencies

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from measure import Row, Table, Timing, synchronize  # noqa: E402
from step_runners import GancolorSteps, StepSpec  # noqa: E402
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors  # noqa: E402

from gancolor.training.gan_step import parameters_of  # noqa: E402
from gancolor.utils import distributed  # noqa: E402
from gancolor.utils.hardware import choose_hardware  # noqa: E402

ONE = "one rank, the others idle"
UNAVERAGED, OVERLAPPED, AFTER = "not averaged", "averaged behind the backward pass", "averaged after it"


def main() -> None:
    options = parse()
    hardware = choose_hardware(options.device, options.precision)
    torch.set_num_threads(options.threads)
    distributed.start(hardware.device.type)
    spec = StepSpec(options.arch, options.size, options.batch_size, options.device, 0.0, options.threads)
    ways = {name: make(replace(spec, precision=hardware.precision)) for name, make in WAYS.items()}
    for step in ways.values():
        step()
    ways = {ONE: ways[UNAVERAGED] if distributed.is_main() else idle, **ways}
    timings = {name: Timing() for name in ways}
    for _ in range(options.rounds):
        for name, step in ways.items():
            dist.barrier()  # gloo's waits without using the processor
            start = time.perf_counter()
            step()
            synchronize(hardware.device)
            timings[name].rounds.append(time.perf_counter() - start)
    if distributed.is_main():
        report(timings, options, str(hardware))
    distributed.stop()


def report(timings: dict[str, Timing], options: argparse.Namespace, hardware: str) -> None:
    ranks = distributed.world_size()
    table = Table(
        f"Adversarial step of {options.arch}, {options.size} x {options.size}, batch {options.batch_size} per rank",
        f"{ranks} ranks on {hardware}, {options.threads} threads each; medians of {options.rounds} steps in turns.",
        ["gradients", "ms", "photos/s", "× one rank (range)", "of not averaged (range)"],
    )
    for name, timing in timings.items():
        at_work = 1 if name == ONE else ranks
        row: Row = {
            "gradients": name,
            "ms": timing.median * 1000,
            "photos/s": at_work * options.batch_size / timing.median,
            "× one rank (range)": [at_work * ratio for ratio in timing.speedup_over(timings[ONE])],
        }
        if name != ONE:
            row["of not averaged (range)"] = timing.speedup_over(timings[UNAVERAGED])
        table.add(row)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ranks.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--arch", default="attention_ugan")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=16, help="photographs per rank and step (default: 16)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each rank (default: 1)")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


# Ways to take a step --------------------------------------------------------------------------------------------------


def overlapped(spec: StepSpec) -> Callable[[], object]:
    """Return the trainer's step: DistributedDataParallel averages one bucket while the next one is computed."""
    return partial(GancolorSteps(spec).step, "adversarial")


def unaveraged(spec: StepSpec) -> Callable[[], object]:
    with unwrapped():
        return partial(GancolorSteps(spec).step, "adversarial")


def after(spec: StepSpec) -> Callable[[], object]:
    with unwrapped():
        steps = GancolorSteps(spec)
    for optimizer in (steps.gan_step.optim_g, steps.gan_step.optim_d):
        optimizer.register_step_pre_hook(average)
    return partial(steps.step, "adversarial")


WAYS = {UNAVERAGED: unaveraged, OVERLAPPED: overlapped, AFTER: after}


def idle() -> None:
    """Take no step: the rank waits for the others at the next barrier."""


@contextmanager
def unwrapped() -> Iterator[None]:
    """Leave networks without DistributedDataParallel: each rank has its own."""
    with mock.patch.object(distributed, "wrap", lambda network: network):
        yield


def average(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    gradients = [p.grad for p in parameters_of(optimizer) if p.grad is not None]
    flat = distributed.mean(_flatten_dense_tensors(gradients))
    for gradient, averaged in zip(gradients, _unflatten_dense_tensors(flat, gradients), strict=True):
        gradient.copy_(averaged)


if __name__ == "__main__":
    main()
