import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancolor import losses
from gancolor.config import LossConfig, OptimConfig
from gancolor.hardware import choose_hardware
from gancolor.models import build_discriminator, build_generator
from gancolor.players import Players

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_l1_is_the_mean_absolute_error():
    predicted = torch.tensor([[[[0.5, -0.5]], [[0.0, 1.0]]]])
    truth = torch.tensor([[[[0.0, -1.0]], [[0.0, -1.0]]]])
    assert losses.l1(predicted, truth).item() == pytest.approx((0.5 + 0.5 + 0 + 2) / 4)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("vanilla", -(log_sigmoid(0.5) + log_sigmoid(-3.0)) / 2),
        ("lsgan", ((0.5 - 1) ** 2 + (-3.0 - 1) ** 2) / 2),
        ("hinge", -(0.5 - 3.0) / 2),
    ],
)
def test_generators_part_by_hand(mode, expected):
    assert losses.gan_generator(FAKE, mode).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "real", "fake"),
    [
        ("vanilla", -(log_sigmoid(2.0) + log_sigmoid(-1.0)) / 2, -(log_sigmoid(-0.5) + log_sigmoid(3.0)) / 2),
        ("lsgan", ((2 - 1) ** 2 + (-1 - 1) ** 2) / 2, (0.5**2 + 3.0**2) / 2),
        ("hinge", (0 + 2) / 2, (1.5 + 0) / 2),
    ],
)
def test_discriminators_part_is_half_of_both_by_hand(mode, real, fake):
    assert losses.gan_discriminator(REAL, FAKE, mode).item() == pytest.approx((real + fake) / 2)


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge"])
def test_the_players_want_opposite_things(mode):
    """The generator gains from higher logits of its pictures, the discriminator from lower ones."""
    fake = torch.zeros(1, requires_grad=True)
    (of_generator,) = torch.autograd.grad(losses.gan_generator(fake, mode), fake)
    fake = torch.full((1,), 0.1, requires_grad=True)
    (of_discriminator,) = torch.autograd.grad(losses.gan_discriminator(torch.zeros(1), fake, mode), fake)
    assert of_generator < 0 < of_discriminator


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge"])
def test_the_discriminators_part_rewards_right_answers(mode):
    right = losses.gan_discriminator(torch.full((3,), 5.0), torch.full((3,), -5.0), mode)
    wrong = losses.gan_discriminator(torch.full((3,), -5.0), torch.full((3,), 5.0), mode)
    assert right < wrong


def test_vanilla_of_extreme_logits_is_finite():
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    total = losses.gan_generator(far, "vanilla") + losses.gan_discriminator(far, far, "vanilla")
    total.backward()
    assert total.isfinite() and far.grad.isfinite().all()


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge"])
def test_half_precision_logits_are_judged_in_float32(mode):
    half = torch.randn(2, 1, 3, 3).bfloat16()
    assert losses.gan_generator(half, mode).dtype == torch.float32
    assert losses.gan_discriminator(half, half, mode).dtype == torch.float32
    assert losses.l1(half, half).dtype == torch.float32


@given(weights=st.lists(st.floats(0, 1e4), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_weighted_sum_is_the_dot_product(weights, seed):
    values = torch.rand(len(weights), generator=torch.Generator().manual_seed(seed))
    terms = {f"term{number}": value for number, value in enumerate(values)}
    total = losses.weighted_sum(terms, {f"term{number}": weight for number, weight in enumerate(weights)})
    assert total.item() == pytest.approx(sum(w * v for w, v in zip(weights, values.tolist(), strict=True)), rel=1e-5)


def test_weighted_sum_wants_a_weight_for_every_term():
    with pytest.raises(KeyError, match="perceptual"):
        losses.weighted_sum({"perceptual": torch.ones(())}, {"l1": 1.0})


def test_weights_have_the_names_of_the_flags():
    """A term's name is its weight's flag and its log key."""
    loss = LossConfig(l1=3.0, gan=0.25)
    players = Players(
        build_generator("ugan", width=2, size=16), build_discriminator(16, layers=1, width=2), loss, OptimConfig(),
        choose_hardware("cpu", "fp32"),
    )  # fmt: skip
    numbers = {name: value for name, value in vars(loss).items() if isinstance(value, float)}
    assert players.weights == numbers == {"l1": 3.0, "gan": 0.25}
    ab = torch.rand(2, 2, 16, 16) - 0.5
    terms = players.step(torch.rand(2, 1, 16, 16), ab, True, {"lr_g": 1e-4, "lr_d": 1e-4, "ema": 0.9})
    assert numbers.keys() <= terms.keys()
    expected = sum(weight * terms[name] for name, weight in numbers.items())
    assert torch.allclose(terms["generator"], expected)
