"""Pure functions, each one term of an objective. A term's name is its weight's flag (`--loss.NAME`) and its log key."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from gancolor.config import GanMode


def l1(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error of chroma (B, 2, H, W) in [-1, 1] (Isola 2017, eq. 3)."""
    return F.l1_loss(predicted.float(), truth.float())


def gan_generator(fake: Tensor, mode: GanMode) -> Tensor:
    """The generator's part of the game, given the discriminator's logits of its pictures (any shape).

    vanilla: -log D(fake), the non-saturating form (Goodfellow 2014); lsgan: (D(fake) - 1)^2 (Mao 2017);
    hinge: -D(fake) (Lim and Ye 2017).
    """
    fake = fake.float()
    if mode == "vanilla":
        return F.softplus(-fake).mean()
    if mode == "lsgan":
        return (fake - 1).square().mean()
    return -fake.mean()


def gan_discriminator(real: Tensor, fake: Tensor, mode: GanMode) -> Tensor:
    """The discriminator's part, given its logits of true and generated pictures: the mean of both, so that it learns
    at half the generator's pace (Isola 2017, section 3.3)."""
    real, fake = real.float(), fake.float()
    if mode == "vanilla":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if mode == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The objective: each term times the weight of its name."""
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
