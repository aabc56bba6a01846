"""Training schedule: stages, learning rates and EMA decay as functions of the step. So none of it needs saving, and a
resumed run continues where it stopped."""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

from gancolor.config.options import OptimConfig

Stage = Literal["pretrain", "critic", "adversarial"]


@dataclass(frozen=True)
class Timeline:
    """Stages of a run: generator pretraining, training of the discriminator alone (critic), adversarial training.

    A stage of 0 epochs is left out; any other has at least one step. Steps are counted from 0; `done` counts finished
    steps.
    """

    steps_per_epoch: int
    pretrain_epochs: float
    epochs: float
    evaluate_every: float = 1.0
    critic_epochs: float = 0.0
    early_evaluations: int = 0

    @property
    def spans(self) -> dict[Stage, tuple[int, int]]:
        """First step of each stage, and the step after its last."""
        pretrain_end = self._steps(self.pretrain_epochs)
        critic_end = pretrain_end + self._steps(self.critic_epochs)
        total = critic_end + self._steps(self.epochs)
        return {"pretrain": (0, pretrain_end), "critic": (pretrain_end, critic_end), "adversarial": (critic_end, total)}

    def _steps(self, epochs: float) -> int:
        return max(round(epochs * self.steps_per_epoch), 1) if epochs else 0

    @property
    def total_steps(self) -> int:
        return self.spans["adversarial"][1]

    def stage(self, step: int) -> Stage:
        return next((stage for stage, (_, last) in self.spans.items() if step < last), "adversarial")

    def span(self, step: int) -> tuple[int, int]:
        """Return the first step of this step's stage, and the step after its last."""
        return self.spans[self.stage(step)]

    def evaluates(self, done: int) -> bool:
        """Return whether an evaluation follows the `done`-th step.

        Evaluations run every `evaluate_every` epochs and at the end of each stage; in adversarial training also after
        1/2, 1/4, ... of the first interval. The critic stage has none, since the generator does not change.
        """
        stage, (first, last) = self.stage(done - 1), self.span(done - 1)
        every = max(round(self.evaluate_every * self.steps_per_epoch), 1)
        halvings = min(self.early_evaluations, every.bit_length())
        early = {max(every >> halving, 1) for halving in range(1, halvings + 1)}
        if stage == "adversarial" and done - first in early:
            return True
        return stage != "critic" and (done == last or (done - first) % every == 0)

    def __str__(self) -> str:
        """List the number of steps of each stage."""
        words = {"pretrain": "pretraining", "critic": "discriminator only", "adversarial": "adversarial"}
        steps = {words[stage]: last - first for stage, (first, last) in self.spans.items()}
        return ", ".join(f"{count} {name}" for name, count in steps.items() if count)


def rate_factor(optim: OptimConfig, timeline: Timeline, step: int) -> float:
    """Return the factor on the learning rate of the step's stage, in [0, 1].

    constant_linear: 1, then linearly to 0 (Isola 2017); cosine: half a cosine from 1 to 0 (Loshchilov 2017);
    one_cycle: from 1/25 up to 1 over 30 % of the stage, then down to 0, by cosines (Smith 2018).
    """
    first, last = timeline.span(step)
    progress = (step - first) / max(last - first, 1)
    warm_up = min(1.0, (step - first + 1) / (optim.warmup_steps + 1))
    if optim.schedule == "constant_linear":
        return warm_up * min(1.0, (1 - progress) / (1 - optim.decay_from))
    if optim.schedule == "cosine":
        return warm_up * (1 + math.cos(math.pi * progress)) / 2
    start, peak = 1 / 25, 0.3  # the defaults of torch.optim.lr_scheduler.OneCycleLR (div_factor, pct_start)
    if progress < peak:
        return warm_up * (start + (1 - start) * (1 - math.cos(math.pi * progress / peak)) / 2)
    return warm_up * (1 + math.cos(math.pi * (progress - peak) / (1 - peak))) / 2


def batch_factor(optim: OptimConfig, effective_batch: int) -> float:
    """Return the factor on the learning rates for a batch other than `lr_batch`: linear (Goyal 2017), or by the square
    root (Krizhevsky 2014)."""
    ratio = effective_batch / optim.lr_batch
    return {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}[optim.scale_lr]


def ema_decay(decay: float, step: int) -> float:
    """Return the EMA decay, lower at first to forget the random weights: min(decay, (1 + step) / (10 + step)).

    The formula is that of TensorFlow with `num_updates`:
    https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage
    """
    return min(decay, (1 + step) / (10 + step))


def rates(optim: OptimConfig, timeline: Timeline, step: int, effective_batch: int) -> dict[str, float]:
    """Return a step's learning rates ("lr_g", "lr_d") and EMA decay ("ema")."""
    factor = rate_factor(optim, timeline, step) * batch_factor(optim, effective_batch)
    lr_g = optim.lr_pretrain if timeline.stage(step) == "pretrain" else optim.lr_g
    return {"lr_g": lr_g * factor, "lr_d": optim.lr_d * factor, "ema": ema_decay(optim.ema, step)}


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of all random numbers in one rank's step."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:8])
