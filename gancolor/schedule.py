"""What a run does when: stages, learning rates and EMA decay as functions of the step. So none of it is saved, and a
resumed run lands where it was."""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

from gancolor.config import OptimConfig

Stage = Literal["pretrain", "critic", "adversarial"]


@dataclass(frozen=True)
class Timeline:
    """Generator pretraining, training of the discriminator alone, adversarial training: each may be of no length, and
    has a step at least if it has any. Steps are counted from 0; `done` counts finished ones."""

    steps_per_epoch: int
    pretrain_epochs: float
    epochs: float
    evaluate_every: float = 1.0
    critic_epochs: float = 0.0
    early_evaluations: int = 0

    @property
    def spans(self) -> dict[Stage, tuple[int, int]]:
        """Each stage's first step, and the one after its last."""
        pretrained = self._steps(self.pretrain_epochs)
        judged = pretrained + self._steps(self.critic_epochs)
        total = judged + self._steps(self.epochs)
        return {"pretrain": (0, pretrained), "critic": (pretrained, judged), "adversarial": (judged, total)}

    def _steps(self, epochs: float) -> int:
        return max(round(epochs * self.steps_per_epoch), 1) if epochs else 0

    @property
    def total_steps(self) -> int:
        return self.spans["adversarial"][1]

    def stage(self, step: int) -> Stage:
        return next((stage for stage, (_, last) in self.spans.items() if step < last), "adversarial")

    def span(self, step: int) -> tuple[int, int]:
        """The first step of the step's stage, and the one after its last."""
        return self.spans[self.stage(step)]

    def evaluates(self, done: int) -> bool:
        """Whether an evaluation follows the `done`-th step: every so many epochs, and at the end of each stage; in
        adversarial training also at halves, quarters, ... of the first so many. Never while the generator rests."""
        stage, (first, last) = self.stage(done - 1), self.span(done - 1)
        every = max(round(self.evaluate_every * self.steps_per_epoch), 1)
        halvings = min(self.early_evaluations, every.bit_length())
        early = {max(every >> halving, 1) for halving in range(1, halvings + 1)}
        if stage == "adversarial" and done - first in early:
            return True
        return stage != "critic" and (done == last or (done - first) % every == 0)

    def __str__(self) -> str:
        """Steps of each stage."""
        words = {"pretrain": "of pretraining", "critic": "of the critic", "adversarial": "adversarial"}
        steps = {words[stage]: last - first for stage, (first, last) in self.spans.items()}
        return ", ".join(f"{count} {name}" for name, count in steps.items() if count)


def rate_factor(optim: OptimConfig, timeline: Timeline, step: int) -> float:
    """What the learning rate of the step's stage is multiplied by, in [0, 1].

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
    start, peak = 1 / 25, 0.3
    if progress < peak:
        return warm_up * (start + (1 - start) * (1 - math.cos(math.pi * progress / peak)) / 2)
    return warm_up * (1 + math.cos(math.pi * (progress - peak) / (1 - peak))) / 2


def batch_factor(optim: OptimConfig, effective_batch: int) -> float:
    """What the learning rates are multiplied by for a batch other than the one they are meant for: linear (Goyal 2017),
    or by the square root (Krizhevsky 2014)."""
    ratio = effective_batch / optim.lr_batch
    return {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}[optim.scale_lr]


def ema_decay(decay: float, step: int) -> float:
    """The moving average's decay, less at first so that it forgets the random start: min(decay, (1 + s) / (10 + s))."""
    return min(decay, (1 + step) / (10 + step))


def rates(optim: OptimConfig, timeline: Timeline, step: int, effective_batch: int) -> dict[str, float]:
    """The learning rates of a step ("lr_g", "lr_d") and the decay of its moving average ("ema")."""
    factor = rate_factor(optim, timeline, step) * batch_factor(optim, effective_batch)
    lr_g = optim.lr_pretrain if timeline.stage(step) == "pretrain" else optim.lr_g
    return {"lr_g": lr_g * factor, "lr_d": optim.lr_d * factor, "ema": ema_decay(optim.ema, step)}


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of all that is random in a rank's step."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:8])
