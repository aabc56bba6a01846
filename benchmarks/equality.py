"""No speed by changing the result: curves of the fast and the plain path at equal seeds, and what 16 bits cost.

In float32 both paths do the same arithmetic in another order, so their losses part by rounding, which training then
multiplies. What that alone comes to is measured: the plain path against itself, with each batch's photographs in
another order, in another memory format, with one thread. The fast path may part from the plain one by no more than a
few times that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import torch
from measure import Row, Table, attempt
from reference import L1_WEIGHT, ReferenceTrainer
from steps import GancolorSteps, StepSpec, forget
from torch import Tensor
from turns import take_turns, trainer_of

from gancolor.hardware import choose_hardware
from gancolor.preparation import Preparation

PLAIN_WORDS = (  # what the plain loop does: its objective and optimizer, no chance
    *("--loss.l1", str(L1_WEIGHT), "--loss.gan", "1", "--loss.gan_mode", "vanilla"),
    *("--optim.lr_g", "2e-4", "--optim.lr_d", "2e-4", "--optim.betas", "[0.5, 0.999]"),
    *("--optim.weight_decay", "0", "--optim.clip", "0"),
    *("--generator.dropout", "0", "--data.flip", "false", "--data.crop_scale", "1"),
)
TERMS = {"d": "discriminator", "gan": "gan", "l1": "l1", "g": "generator"}  # the plain loop's name: gancolor's
ALLOWED = 5.0  # times what rounding alone explains
LEAST = 2.0**-22  # deviation that rounding always explains: two units in the last place
LIMIT_DB = 0.1  # that bf16 may end from float32


@dataclass(frozen=True)
class Way:
    """One way for the plain loop to work out the same losses: rounding is all that tells them apart.

    Attributes:
        rolled: places that each batch's photographs are moved on by.
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
    """Losses of a small training on the spec's noise, from the same networks: (steps, 4) in the order of TERMS, as the
    plain loop weighs them."""

    def __init__(self, spec: StepSpec, steps: int) -> None:
        self.spec, self.steps = replace(spec, words=(*PLAIN_WORDS, *spec.words)), steps

    def plain(self, way: Way = Way()) -> Tensor:
        """Those of the reference."""
        device = choose_hardware(self.spec.device, "fp32").device  # float32 on CUDA too, where TF32 is shipped
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
        """The Lab that gancolor makes of the pictures, which its own tests compare: here the steps are compared."""
        hardware = choose_hardware(self.spec.device, "fp32")
        prepare, labels = Preparation(self.spec.config().data, hardware), torch.zeros(self.spec.batch_size)
        batches = (prepare(pictures.to(hardware.device), labels) for pictures in self.spec.pictures())
        return [(batch.lightness, batch.chroma) for batch in batches]

    def fast(self) -> Tensor:
        """Those of gancolor, from uint8 pictures on."""
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
    """The largest relative difference of any loss up to each step, (steps,)."""
    gaps = (curves - others).abs() / others.abs().clamp(min=1e-8)
    return gaps.amax(dim=1).cummax(dim=0).values


def excess(mine: Tensor, plain: Tensor, rounded: list[Tensor]) -> Tensor:
    """How far `mine` parts from `plain`, in what rounding explains: (steps,), up to ALLOWED where they are the same.

    What rounding explains is taken a step later: Adam turns it into jumps, which come a step sooner or later.

    Args:
        rounded: the plain path's, worked out in other ways.
    """
    explained = torch.stack([deviation(curves, plain) for curves in rounded]).amax(dim=0)
    explained = torch.cat([explained[1:], explained[-1:]])
    return deviation(mine, plain) / explained.clamp(min=LEAST)


def measure_curves(architectures: list[str], base: StepSpec, steps: int) -> list[Row]:
    """The table of deviations."""
    table = Table(
        f"Equal results in float32, {steps} adversarial steps, {base.size} x {base.size}, batch {base.batch_size}",
        "Largest relative difference of any loss from the plain loop's with one generator pass, dropout 0, after the "
        f"first step, half of them and all. Equal: never over {ALLOWED:g} times what the plain loop's other orders of "
        "arithmetic explain.",
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
    """The table of what 16 bits cost: whole trainings, the same but for their precision."""
    table = Table(
        f"bf16 beside float32, {base.size} x {base.size}, batch {base.batch_size}",
        f"{epochs} epochs of adversarial training; PSNR on the validation photographs, mean over {seeds} seeds, and "
        f"bf16's less float32's with its standard deviation over seeds. Equal: within {LIMIT_DB} dB.",
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
