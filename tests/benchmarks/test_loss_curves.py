"""Comparison of the fast path with the benchmarks' plain loop: equal except for the order of arithmetic."""

import loss_curves
import pytest
import torch
from loss_curves import ALLOWED, ROUNDED, Curves, Way, excess
from reference import L1_WEIGHT, ReferenceTrainer
from step_runners import StepSpec

from gancolor.losses import terms as losses

WORDS = ("--generator.width", "4", "--discriminator.width", "4", "--discriminator.layers", "1")
STEPS = 6


def curves_of(*words: str, arch: str = "attention_ugan") -> Curves:
    return Curves(StepSpec(arch, 16, 4, "cpu", 1.0, words=(*WORDS, *words)), STEPS)


@pytest.fixture(scope="module")
def plain():
    return curves_of().plain()


@pytest.fixture(scope="module")
def rounded():
    return [curves_of().plain(way) for way in ROUNDED.values()]


def test_rounding_differences_are_small_but_not_zero(plain, rounded):
    """Otherwise the tolerance would accept everything or nothing."""
    explained = [float(loss_curves.deviation(curves, plain)[-1]) for curves in rounded]
    assert 0 < max(explained) < 1e-4


def test_fast_path_equals_plain_loop(plain, rounded):
    assert excess(curves_of().fast(), plain, rounded).max() <= ALLOWED


def test_one_generator_pass_equals_two(plain, rounded):
    assert excess(curves_of().plain(Way(shares_pass=False)), plain, rounded).max() <= ALLOWED


@pytest.mark.parametrize(
    "words",
    [
        ("--loss.l1", f"{L1_WEIGHT * 1.001}"),
        ("--loss.gan", "0.999"),
        ("--loss.gan_mode", "lsgan"),
        ("--optim.lr_d", "2.02e-4"),
        ("--optim.betas", "[0.51, 0.999]"),
        ("--data.flip", "true"),
    ],
)
def test_different_setting_is_detected(words, plain, rounded):
    assert excess(curves_of(*words).fast(), plain, rounded).max() > 10 * ALLOWED


def test_label_smoothing_is_detected(plain, rounded, monkeypatch):
    vanilla = losses.gan_discriminator

    def smoothed(real: torch.Tensor, fake: torch.Tensor, mode: str) -> torch.Tensor:
        return vanilla(real, fake, mode) + 0.001 * real.mean() / 2

    monkeypatch.setattr(losses, "gan_discriminator", smoothed)
    assert excess(curves_of().fast(), plain, rounded).max() > 10 * ALLOWED


class GeneratorFirst(ReferenceTrainer):
    """Trainer with the two updates in reverse order."""

    def adversarial_step(self, lightness: torch.Tensor, chroma: torch.Tensor) -> dict[str, float]:
        self.discriminator.requires_grad_(False)
        fake = self.generator(lightness).chroma
        self.optim_g.zero_grad()
        gan, l1 = self._judge(lightness, fake, 1.0), self.l1_loss(fake, chroma) * L1_WEIGHT
        (gan + l1).backward()
        self.optim_g.step()
        self.discriminator.requires_grad_(True)
        self.optim_d.zero_grad()
        d = (self._judge(lightness, fake.detach(), 0.0) + self._judge(lightness, chroma, 1.0)) * 0.5
        d.backward()
        self.optim_d.step()
        return {"d": d.item(), "gan": gan.item(), "l1": l1.item(), "g": (gan + l1).item()}


def test_generator_update_before_discriminator_is_detected(plain, rounded, monkeypatch):
    monkeypatch.setattr(loss_curves, "ReferenceTrainer", GeneratorFirst)
    assert excess(curves_of().plain(), plain, rounded).max() > 10 * ALLOWED


def test_deviation_never_falls():
    one, other = torch.tensor([[1.0, 2.0], [1.5, 2.0], [1.0, 2.0]]), torch.tensor([[1.0, 2.0]]).repeat(3, 1)
    assert loss_curves.deviation(one, other).tolist() == [0.0, 0.5, 0.5]
