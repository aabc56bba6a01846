"""Tables of the training step: gancolor's against the plain reference's on the same networks, and against its floor."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Literal

import torch
from measure import Contender, Memory, Row, Table, Timing, attempt, in_fresh_process, synchronize
from roofline import show_rates, step_floors
from step_runners import REFERENCE, StepSpec, forget, make_steps, precisions

from gancolor.utils.hardware import choose_hardware

WARM_UP = 2  # steps
SPEED, MEMORY, RATIO = "photos/s", "peak GiB", "× reference (range)"
FLOOR, OVER_FLOOR, MEMORY_SHARE = "floor ms", "× floor", "of its memory"


# The table of steps ---------------------------------------------------------------------------------------------------


@dataclass
class Turns:
    """Measurements of one specification, by stage: seconds per step, one figure per turn, and memory [GiB]."""

    timings: dict[str, Timing] = field(default_factory=lambda: defaultdict(Timing))
    memory: dict[str, float] = field(default_factory=dict)


def take_turn(spec: StepSpec) -> dict[str, tuple[float, float]]:
    """Return peak memory [GiB] and seconds per step of each stage. It needs a process that does nothing else, so that
    other specifications' memory and allocator state do not interfere."""
    torch.set_num_threads(spec.threads)
    device = choose_hardware(spec.device, "fp32").device
    import_module("fastai.vision.learner")  # networks may import it when built; it is not part of the step's memory
    memory = Memory(device)
    steps = make_steps(spec)
    found: dict[str, tuple[float, float]] = {}
    for stage in spec.stages():
        contender = steps.contender(stage)
        contender.prepare()
        # From the second step on, memory holds all that a step needs. On CUDA, more steps settle the choice of kernels.
        for _ in range(WARM_UP if device.type == "cuda" else 1):
            contender.run()
        if spec.compiled != "graphs":  # graphs allocate their memory when they are recorded
            memory.restart()
        took = _timed(contender, spec.seconds / spec.turns, device)
        found[stage] = memory.peak(), took
    return found


def _timed(contender: Contender, seconds: float, device: torch.device) -> float:
    """Return the seconds per step, over as many steps as take `seconds`, but at least one."""
    synchronize(device)
    start, steps = time.perf_counter(), 0
    while not steps or time.perf_counter() - start < seconds:
        contender.run()
        steps += 1
    synchronize(device)
    return (time.perf_counter() - start) / steps


def measure_steps(architectures: list[str], base: StepSpec, shown: list[str], compiles: bool) -> list[Row]:
    """Print the table of training steps and return its rows."""
    rates = show_rates(base.device)
    table = Table(
        f"Training step, {base.size} x {base.size}, batch {base.batch_size}",
        "gancolor's step (augmentation and rgb to Lab included) and the plain reference's (Lab done by its loader), "
        "on the same networks; gancolor with the recipe's objective, the reference with L1 and the vanilla GAN loss. "
        f"{base.turns} turns each, every turn in a new process. The floor is the least time that the "
        "step's counted arithmetic and bytes take at the rates above.",
        ["architecture", "stage", "precision", "compiled", SPEED, "ms", RATIO, FLOOR, OVER_FLOOR, MEMORY, MEMORY_SHARE],
    )
    for arch in architectures:
        specs = [
            replace(base, arch=arch, precision=name, compiled=made)
            for name, made in _ways(base.device, shown, compiles)
        ]
        found = _all_turns(specs)
        for spec, turns in zip(specs, found, strict=True):
            floors = attempt(partial(step_floors, spec, rates))
            for stage in spec.stages():
                row: Row = {"architecture": arch, "stage": stage, "precision": spec.precision}
                row["compiled"] = spec.compiled
                table.add(row | _figures(turns, found[0], stage, spec, floors))
    return table.rows


def _all_turns(specs: list[StepSpec]) -> list[Turns | str]:
    """Take the turns of all specifications, A B C A B C ..., so that other work on the machine affects all of them.
    Returns each one's measurements, or why it failed."""
    found: list[Turns | str] = [Turns() for _ in specs]
    for _ in range(specs[0].turns):
        for number, spec in enumerate(specs):
            turns = found[number]
            if isinstance(turns, str):
                continue
            turn = attempt(partial(in_fresh_process, take_turn, spec))
            if isinstance(turn, str):
                found[number] = turn
                continue
            for stage, (memory, seconds) in turn.items():
                turns.timings[stage].rounds.append(seconds)
                turns.memory.setdefault(stage, memory)
    return found


def _figures(
    turns: Turns | str, reference: Turns | str, stage: str, spec: StepSpec, floors: dict[str, float] | str
) -> Row:
    if isinstance(turns, str):
        return {"error": turns}
    timing, memory = turns.timings[stage], turns.memory[stage]
    row: Row = {SPEED: spec.batch_size / timing.median, "ms": timing.median * 1000, MEMORY: memory}
    if isinstance(floors, dict):
        row |= {FLOOR: floors[stage] * 1000, OVER_FLOOR: timing.median / floors[stage]}
    if spec.precision != REFERENCE and not isinstance(reference, str):
        row[RATIO] = timing.speedup_over(reference.timings[stage])
        row[MEMORY_SHARE] = f"{memory / reference.memory[stage]:.0%}"
    return row


def _ways(device: str, shown: list[str], compiles: bool) -> Iterator[tuple[str, Literal["no", "yes", "graphs"]]]:
    yield REFERENCE, "no"
    for precision in shown:
        yield precision, "no"
        if compiles:
            yield precision, "yes"
        if compiles and device == "cuda":
            yield precision, "graphs"


# The table of choices -------------------------------------------------------------------------------------------------


def measure_choices(architectures: list[str], base: StepSpec) -> list[Row]:
    """Compare each of gancolor's choices with its alternative, in the adversarial step. Print the table and return its
    rows."""
    table = Table(
        f"Choices, {base.size} x {base.size}, batch {base.batch_size}",
        f"Two ways to compute the adversarial step, {base.turns} turns each, every turn in a new process; a ratio over "
        "1 means that the first is faster. Memory: peak of the first, relative to the second.",
        ["architecture", "choice", "against", "ms", "ms against", "× (range)", "memory"],
    )
    for arch in architectures:
        for choice, against, first, second in _choices(replace(base, arch=arch)):
            words = {"architecture": arch, "choice": choice, "against": against}
            table.add(words | _compared(first, second))
            forget()
    return table.rows


def _choices(base: StepSpec) -> Iterator[tuple[str, str, StepSpec, StepSpec]]:
    """Yield (choice, alternative, specification of each)."""
    fp32, bf16 = replace(base, precision="fp32"), replace(base, precision="bf16")
    if "bf16" in precisions(base.device):
        yield "bf16", "fp32", bf16, fp32
    for spec in (fp32, bf16) if "bf16" in precisions(base.device) else (fp32,):
        last, first = replace(spec, layout="channels_last"), replace(spec, layout="contiguous")
        yield f"channels_last, {spec.precision}", f"contiguous, {spec.precision}", last, first
    usual = choose_hardware(base.device, "auto").precision
    fused = replace(base, precision=usual)
    yield f"fused AdamW, {usual}", f"default AdamW, {usual}", fused, replace(fused, fused=False)
    usual_step = replace(base, precision=usual)
    yield f"dense gradients of concatenated maps, {usual}", "with gaps", usual_step, replace(usual_step, joins=False)
    if base.device == "cpu":
        yield f"freed memory kept, {usual}", "returned", usual_step, replace(usual_step, keeps_memory=False)
        yield f"{base.threads} threads, {usual}", "1 thread", usual_step, replace(usual_step, threads=1)
    for words in (("--generator.recompute", "true"), ("--optim.accumulate", "2")):
        yield " ".join(words), f"without, {usual}", replace(usual_step, words=(*base.words, *words)), usual_step
    plain = replace(base, precision=REFERENCE)
    yield "reference with one generator pass", REFERENCE, replace(plain, shares_pass=True), plain


def _compared(first: StepSpec, second: StepSpec) -> Row:
    if "adversarial" not in first.stages():
        return {"error": "the recipe has no adversarial training"}
    mine, theirs = _all_turns([replace(spec, only=("adversarial",)) for spec in (first, second)])
    if isinstance(mine, str) or isinstance(theirs, str):
        return {"error": mine if isinstance(mine, str) else theirs}
    timing, other = mine.timings["adversarial"], theirs.timings["adversarial"]
    return {
        "ms": timing.median * 1000,
        "ms against": other.median * 1000,
        "× (range)": timing.speedup_over(other),
        "memory": f"{mine.memory['adversarial'] / theirs.memory['adversarial']:.0%}",
    }
