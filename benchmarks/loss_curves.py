"""Check that gancolor's step (the fast path) and the reference's (the plain path) give the same losses from the same
seeds, and measure what 16-bit training costs in PSNR.

In float32, both paths do the same arithmetic in different orders. So their losses differ by rounding, which training
then amplifies. That effect alone is measured by comparing the plain path with itself: with each batch's photographs in
another order, in another memory format, with one thread. The fast path may differ from the plain one by at
most ALLOWED times as much.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import torch
from interleaved import take_turns, trainer_of
from measure import Row, Table, attempt
from reference import L1_WEIGHT, ReferenceTrainer
from step_runners import GancolorSteps, StepSpec, forget
from torch import Tensor

from gancolor.data.preprocess import Preprocess
from gancolor.utils.hardware import choose_hardware

PLAIN_WORDS = (  # the plain loop's objective and optimizer, without randomness
    *("--loss.l1", str(L1_WEIGHT), "--loss.gan", "1", "--loss.gan_mode", "vanilla"),
    *("--optim.lr_g", "2e-4", "--optim.lr_d", "2e-4", "--optim.betas", "[0.5, 0.999]"),
    *("--optim.weight_decay", "0", "--optim.clip", "0"),
    *("--generator.dropout", "0", "--data.flip", "false", "--data.crop_scale", "1"),
)
TERMS = {"d": "discriminator", "gan": "gan", "l1": "l1", "g": "generator"}  # name in the plain loop: name in gancolor
ALLOWED = 5.0  # times the difference that rounding alone explains
LEAST = 2.0**-22  # relative difference that rounding always explains: two units in the last place
LIMIT_DB = 0.1  # most that PSNR after bf16 training may differ from float32


@dataclass(frozen=True)
class Way:
    """Variant of the plain loop that computes the same losses. Variants differ only by rounding.

    Attributes:
        rolled: number of positions by which each batch's photographs are rotated.
    """

    shares_pass: bool = True
    rolled: int = 0
    channels_last: bool = False
    threads: int | None = None


ROUNDED = {
    "plain, photographs moved by 1": Way(rolled=1),
    "plain, photographs moved by 2": Way(rolled=2),
    "plain, channels_last": Way(channels_last=True),
    "plain, both": Way(rolled=1, channels_last=True),
    "plain, one thread": Way(threads=1),
}


class Curves:
    """Loss curves of a short training on the spec's noise, from the same initial networks: (steps, 4) in the order of
    TERMS, with the plain loop's weights."""

    def __init__(self, spec: StepSpec, steps: int) -> None:
        self.spec, self.steps = replace(spec, words=(*PLAIN_WORDS, *spec.words)), steps

    def plain(self, way: Way = Way()) -> Tensor:
        """Return the reference implementation's curves."""
        device = choose_hardware(self.spec.device, "fp32").device  # float32 on CUDA too, where torch's default is TF32
        trainer = ReferenceTrainer(*self.spec.networks(), device, way.shares_pass)
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        for network in (trainer.generator, trainer.discriminator):
            network.to(memory_format=layout)
        batches = self._batches()
        rows = []
        with _threads(way.threads):
            for step in range(self.steps):
                parts = [part.roll(way.rolled, 0) for part in batches[step % len(batches)]]
                losses = trainer.adversarial_step(*(part.contiguous(memory_format=layout) for part in parts))
                rows.append([losses[name] for name in TERMS])
        return torch.tensor(rows)

    def _batches(self) -> list[tuple[Tensor, Tensor]]:
        """Return the pictures as Lab, converted by gancolor, whose tests check that. Here only steps are compared."""
        hardware = choose_hardware(self.spec.device, "fp32")
        prepare, labels = Preprocess(self.spec.config().data, hardware), torch.zeros(self.spec.batch_size)
        batches = (prepare(pictures.to(hardware.device), labels) for pictures in self.spec.pictures())
        return [(batch.lightness, batch.chroma) for batch in batches]

    def fast(self) -> Tensor:
        """Return gancolor's curves, computed from uint8 pictures."""
        choose_hardware(self.spec.device, self.spec.precision)
        steps = GancolorSteps(self.spec)
        found = [steps.step("adversarial") for _ in range(self.steps)]
        weights = {"l1": L1_WEIGHT}
        return torch.tensor(
            [[float(terms[mine]) * weights.get(name, 1.0) for name, mine in TERMS.items()] for terms in found]
        )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def deviation(curves: Tensor, others: Tensor) -> Tensor:
    """Return the largest relative difference of any loss up to each step, (steps,)."""
    gaps = (curves - others).abs() / others.abs().clamp(min=1e-8)
    return gaps.amax(dim=1).cummax(dim=0).values


def excess(mine: Tensor, plain: Tensor, rounded: list[Tensor]) -> Tensor:
    """Return how far `mine` deviates from `plain`, as a multiple of what rounding explains: (steps,), at most ALLOWED
    if they are equal.

    What rounding explains is taken one step later: Adam turns it into jumps, which may come a step earlier or later.

    Args:
        rounded: curves of the plain path, computed in other ways.
    """
    explained = torch.stack([deviation(curves, plain) for curves in rounded]).amax(dim=0)
    explained = torch.cat([explained[1:], explained[-1:]])
    return deviation(mine, plain) / explained.clamp(min=LEAST)


def measure_curves(architectures: list[str], base: StepSpec, steps: int) -> list[Row]:
    """Print the table of deviations and return its rows."""
    table = Table(
        f"Equal results in float32, {steps} adversarial steps, {base.size} x {base.size}, batch {base.batch_size}",
        "Largest relative difference of any loss from the plain loop's with one generator pass, dropout 0, after the "
        f"first step, half of the steps and all. Equal: never more than {ALLOWED:g} times the difference that rounding "
        "makes in the plain loop.",
        ["architecture", "path", "first", "half", "all", "× rounding", "equal"],
    )
    for arch in architectures:
        found = attempt(partial(_curve_rows, replace(base, arch=arch), steps))
        for row in [{"error": found}] if isinstance(found, str) else found:
            table.add({"architecture": arch} | row)
        forget()
    return table.rows


def _curve_rows(spec: StepSpec, steps: int) -> list[Row]:
    curves = Curves(spec, steps)
    plain = curves.plain()
    rounded = {name: curves.plain(way) for name, way in ROUNDED.items()}
    rows = [_deviation_row(name, other, plain) for name, other in rounded.items()]
    for name, mine in (("gancolor", curves.fast()), ("plain, two passes", curves.plain(Way(shares_pass=False)))):
        most = float(excess(mine, plain, list(rounded.values())).max())
        equal = {"× rounding": most, "equal": "yes" if most <= ALLOWED else "NO"}
        rows.append(_deviation_row(name, mine, plain) | equal)
    return rows


def _deviation_row(path: str, curves: Tensor, plain: Tensor) -> Row:
    gaps = deviation(curves, plain)
    places = {"first": 0, "half": len(gaps) // 2, "all": -1}
    return {"path": path} | {name: f"{float(gaps[place]):.1e}" for name, place in places.items()}


# bf16 -----------------------------------------------------------------------------------------------------------------


def measure_bf16(
    architectures: list[str], base: StepSpec, photos: Path, seeds: int, epochs: int, limit: int | None
) -> list[Row]:
    """Print the table of the cost of 16 bits, by trainings that differ only in precision, and return its rows."""
    table = Table(
        f"bf16 beside float32, {base.size} x {base.size}, batch {base.batch_size}",
        f"{epochs} epochs of adversarial training; PSNR on the validation photographs, mean over {seeds} seeds; "
        f"difference of bf16 from float32, and its standard deviation over seeds. Equal: within {LIMIT_DB} dB.",
        ["architecture", "grey [dB]", "float32 [dB]", "bf16 [dB]", "difference [dB]", "± [dB]", "equal"],
    )
    for arch in architectures:
        found = attempt(partial(_bf16_row, replace(base, arch=arch), photos, seeds, epochs, limit))
        table.add({"architecture": arch} | ({"error": found} if isinstance(found, str) else found))
        forget()
    return table.rows


def _bf16_row(spec: StepSpec, photos: Path, seeds: int, epochs: int, limit: int | None) -> Row:
    words = ["--epochs", str(epochs), "--eval.every", str(epochs), *spec.words]
    words += ["--data.limit", str(limit)] if limit else []
    ends: dict[str, list[float]] = {"fp32": [], "bf16": []}
    grey = 0.0
    for seed in range(seeds):
        for precision, found in ends.items():
            chosen = replace(spec, precision=precision)
            with trainer_of(chosen, photos, *words, "--seed", str(seed)) as trainer:
                take_turns(trainer, lambda _: None)
                found.append(trainer.validation.means["psnr"].mean)
                grey = trainer.validation.grey["psnr"].mean
    differences = [half - full for half, full in zip(ends["bf16"], ends["fp32"], strict=True)]
    mean = fmean(differences)
    return {
        "grey [dB]": grey,
        "float32 [dB]": f"{fmean(ends['fp32']):.2f}",
        "bf16 [dB]": f"{fmean(ends['bf16']):.2f}",
        "difference [dB]": f"{mean:+.3f}",
        "± [dB]": f"{stdev(differences):.3f}" if seeds > 1 else "-",
        "equal": "yes" if abs(mean) <= LIMIT_DB else "NO",
    }
