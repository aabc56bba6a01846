"""Floor of a training step (its roofline bound): the time that its arithmetic and transfers (flops_and_bytes.py) take
at least, at the rates that this device reaches."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from flops_and_bytes import StepCounter, Work
from measure import Row, Table, attempt, synchronize
from step_runners import REFERENCE, STAGES, StepSpec, precisions

from gancolor.utils.hardware import choose_hardware

SIZES = (128, 256)  # sizes that --only floor counts [pixels]
MATRIX_SIDE, COPIED_BYTES = {"cpu": 2048, "cuda": 8192}, {"cpu": 2**29, "cuda": 2**31}  # far larger than caches
REPEATS = 5  # the fastest one counts: a rate that was reached once is possible


@dataclass(frozen=True)
class Rates:
    """Rates that a device reaches.

    Attributes:
        macs: multiply-accumulates per second of a large matrix product, by precision.
        bytes: bytes per second of a large copy, counting both reads and writes.
    """

    macs: dict[str, float]
    bytes: float

    def floor(self, work: Work, precision: str) -> float:
        """Return the least time for the work [s]."""
        return work.seconds(self.macs[precision], self.bytes)

    def bound(self, work: Work, precision: str) -> str:
        """Return what determines the floor: "MACs" or "bytes"."""
        return "MACs" if work.macs / self.macs[precision] > work.bytes / self.bytes else "bytes"


def measure_rates(device: str, seconds: float = 0.2) -> Rates:
    """Measure the rates of a large matrix product in each precision, and of a large copy.

    On a CPU, take the better of one thread and all: if other work occupies a core, several threads wait for each other.

    Args:
        seconds: time to spend on each repeat, which computes at least one product.
    """
    kind, threads = torch.device(device), torch.get_num_threads()
    found = []
    for count in {1, threads} if kind.type == "cpu" else {threads}:
        torch.set_num_threads(count)
        found.append(_measure_rates(kind, seconds))
    torch.set_num_threads(threads)
    best = {precision: max(rates.macs[precision] for rates in found) for precision in found[0].macs}
    return Rates(best, max(rates.bytes for rates in found))


def _measure_rates(device: torch.device, seconds: float) -> Rates:
    side, numbers = MATRIX_SIDE[device.type], COPIED_BYTES[device.type] // 4
    macs = {}
    for precision in precisions(device.type):
        choose_hardware(device.type, precision)
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(one)
        macs[precision] = side**3 / _fastest(partial(torch.mm, one, other, out=out), device, seconds)
    # On CUDA, the reference's convolutions run in TF32, which is torch's default.
    macs[REFERENCE] = macs.get("tf32", macs["fp32"])
    source, target = (torch.ones(numbers, device=device) for _ in range(2))
    return Rates(macs, 2 * 4 * numbers / _fastest(partial(target.copy_, source), device, seconds))


def _fastest(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the seconds per call of the fastest repeat."""
    run()
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    calls = max(1, round(seconds / (time.perf_counter() - start)))
    found = []
    for _ in range(REPEATS):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(calls):
            run()
        synchronize(device)
        found.append((time.perf_counter() - start) / calls)
    return min(found)


def show_rates(device: str) -> Rates:
    """Measure the rates, print them and return them."""
    rates = measure_rates(device)
    table = Table(
        "Rates of this device",
        f"Matrix product of {MATRIX_SIDE[torch.device(device).type]} squared, and a copy (bytes read and written).",
        ["precision", "GMACs/s", "copy GB/s"],
    )
    for precision in precisions(device):
        table.add({"precision": precision, "GMACs/s": rates.macs[precision] / 1e9, "copy GB/s": rates.bytes / 1e9})
    return rates


def measure_floors(architectures: list[str], base: StepSpec) -> list[Row]:
    """Print the tables of rates and of counts, and return the rows of the counts."""
    rates = show_rates(base.device)
    shown = [precision for precision in precisions(base.device) if precision in ("fp32", "tf32", "bf16", "fp16")]
    columns = ["architecture", "size", "stage", "GMACs forward", "GMACs", "GB fp32", "GB half"]
    floors = [f"ms {precision}" for precision in shown]
    table = Table(
        "Minimum work of a training step",
        f"Per photograph in a batch of {base.batch_size}: multiply-accumulates of the generator's forward pass and of "
        "the whole step, and the minimum of moved bytes, in float32 and with autocast to 16 bits. Then the minimum "
        "time for the whole batch on this device, by precision, and what determines it.",
        [*columns, *floors],
    )
    for arch in architectures:
        for size in SIZES:
            spec = replace(base, arch=arch, size=size)
            rows = attempt(partial(_counts, spec, rates, shown))
            for row in [{"error": rows}] if isinstance(rows, str) else rows:
                table.add({"architecture": arch, "size": size} | row)
    return table.rows


def _counts(spec: StepSpec, rates: Rates, shown: list[str]) -> list[Row]:
    counter = StepCounter(spec)
    each = spec.batch_size * 1e9
    rows = []
    for stage in spec.stages():
        whole, half = (counter.step(stage, precision) for precision in ("fp32", "bf16"))
        row: Row = {"stage": stage, "GMACs forward": counter.forward().macs / each, "GMACs": whole.macs / each}
        row |= {"GB fp32": whole.bytes / each, "GB half": half.bytes / each}
        for precision in shown:
            work = half if precision in ("bf16", "fp16") else whole
            row[f"ms {precision}"] = f"{rates.floor(work, precision) * 1e3:.3g} ({rates.bound(work, precision)})"
        rows.append(row)
    return rows


def step_floors(spec: StepSpec, rates: Rates) -> dict[str, float]:
    """Return the least time of a step [s], by stage."""
    counter = StepCounter(spec)
    return {stage: rates.floor(counter.step(stage, spec.precision), spec.precision) for stage in STAGES}
