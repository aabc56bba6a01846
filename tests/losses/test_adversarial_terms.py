import copy
import math

import pytest
import torch
from torch import Tensor, nn

from gancolor.choices import GanMode
from gancolor.losses import terms as losses
from gancolor.models import build_discriminator

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
MODES: tuple[GanMode, ...] = ("vanilla", "lsgan", "hinge", "wgan_gp")
modes = pytest.mark.parametrize("mode", MODES)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


# Adversarial losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("vanilla", -(log_sigmoid(0.5) + log_sigmoid(-3.0)) / 2),
        ("lsgan", ((0.5 - 1) ** 2 + (-3.0 - 1) ** 2) / 2),
        ("hinge", -(0.5 - 3.0) / 2),
        ("wgan_gp", -(0.5 - 3.0) / 2),
    ],
)
def test_generator_loss_by_hand(mode, expected):
    assert losses.gan_generator(FAKE, mode).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "real", "fake"),
    [
        ("vanilla", -(log_sigmoid(2.0) + log_sigmoid(-1.0)) / 2, -(log_sigmoid(-0.5) + log_sigmoid(3.0)) / 2),
        ("lsgan", ((2 - 1) ** 2 + (-1 - 1) ** 2) / 2, (0.5**2 + 3.0**2) / 2),
        ("hinge", (0 + 2) / 2, (1.5 + 0) / 2),
    ],
)
def test_discriminator_loss_is_the_mean_of_both_terms(mode, real, fake):
    assert losses.gan_discriminator(REAL, FAKE, mode).item() == pytest.approx((real + fake) / 2)


def test_wasserstein_discriminator_loss_by_hand():
    """The loss is not halved, because its penalty's weight is meant for the whole loss."""
    assert losses.gan_discriminator(REAL, FAKE, "wgan_gp").item() == pytest.approx((0.5 - 3) / 2 - (2 - 1) / 2)


@modes
def test_generator_and_discriminator_losses_have_opposite_gradients(mode):
    """Higher logits of generated pictures lower the generator's loss and raise the discriminator's."""
    fake = torch.zeros(1, requires_grad=True)
    (of_generator,) = torch.autograd.grad(losses.gan_generator(fake, mode), fake)
    fake = torch.full((1,), 0.1, requires_grad=True)
    (of_discriminator,) = torch.autograd.grad(losses.gan_discriminator(torch.zeros(1), fake, mode), fake)
    assert of_generator < 0 < of_discriminator


@modes
def test_discriminator_loss_is_lower_for_right_answers(mode):
    right = losses.gan_discriminator(torch.full((3,), 5.0), torch.full((3,), -5.0), mode)
    wrong = losses.gan_discriminator(torch.full((3,), -5.0), torch.full((3,), 5.0), mode)
    assert right < wrong


@modes
def test_extreme_logits_are_finite(mode):
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    total = losses.gan_generator(far, mode) + losses.gan_discriminator(far, far, mode)
    total.backward()
    assert total.isfinite() and far.grad.isfinite().all()


@modes
def test_losses_of_half_precision_logits_are_float32(mode):
    half = torch.randn(2, 1, 3, 3).bfloat16()
    assert losses.gan_generator(half, mode).dtype == torch.float32
    assert losses.gan_discriminator(half, half, mode).dtype == torch.float32


# Feature matching -------------------------------------------------------------------------------------------------


def test_feature_matching_by_hand():
    """All layers count equally, whatever their size."""
    fake = [torch.ones(1, 2, 4, 4), torch.tensor([[[[1.0]]]])]
    real = [torch.full((1, 2, 4, 4), 0.5), torch.tensor([[[[-2.0]]]])]
    assert losses.feature_matching(fake, real).item() == pytest.approx((0.5 + 3) / 2)
    assert losses.feature_matching([f.bfloat16() for f in fake], real).dtype == torch.float32


def test_feature_matching_requires_equal_numbers_of_layers():
    with pytest.raises(ValueError, match="shorter"):
        losses.feature_matching([torch.ones(1)] * 2, [torch.ones(1)])


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_features_match_those_of_the_forward_pass(layers):
    network = build_discriminator(32, layers=layers, width=4)
    lightness, chroma = torch.rand(2, 1, 32, 32), torch.rand(2, 2, 32, 32)
    *found, logits = network.eval().features(lightness, chroma)
    assert torch.equal(logits, network(lightness, chroma))
    assert len(found) == max(layers, 1) + 1
    assert [part.shape[1] for part in found] == [4 * min(2**level, 8) for level in range(len(found))]


# Penalties --------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Linear discriminator of 2 x 2 patches: (B, 2, H, W) to (B, 1, H / 2, W / 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 1, 2, stride=2, bias=False)

    def forward(self, chroma: Tensor) -> Tensor:
        return self.layer(chroma)


@pytest.fixture
def linear():
    return Linear()


CHROMA = torch.rand(3, 2, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
OTHER = torch.rand(3, 2, 4, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
PATCHES = 2 * 3  # of each picture


def test_r1_of_a_linear_discriminator_by_hand(linear):
    """D is the mean over patches, so that each pixel's slope is its weight / patches, and |grad D|^2 is |w|^2 / patches
    for every picture."""
    weight = linear.layer.weight
    value = losses.r1(linear, CHROMA)
    assert value.item() == pytest.approx(weight.square().sum().item() / PATCHES / 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(value, weight)
    assert torch.allclose(gradient, weight / PATCHES, atol=1e-6)


def test_gradient_penalty_of_a_linear_discriminator_by_hand(linear):
    weight = linear.layer.weight
    norm = weight.norm() / PATCHES**0.5
    value = losses.gradient_penalty(linear, CHROMA, OTHER)
    assert value.item() == pytest.approx((norm.item() - 1) ** 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(value, weight)
    expected = 2 * (norm - 1) * weight / weight.norm() / PATCHES**0.5
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_penalties_have_finite_gradients_at_zero_gradient_norm(linear):
    """|grad D| is not differentiable at 0."""
    nn.init.zeros_(linear.layer.weight)
    for value, expected in ((losses.r1(linear, CHROMA), 0), (losses.gradient_penalty(linear, CHROMA, OTHER), 1)):
        assert value == expected
        (gradient,) = torch.autograd.grad(value, linear.layer.weight)
        assert gradient.isfinite().all()


def test_gradient_penalty_is_evaluated_between_real_and_generated_pictures(linear):
    """Each picture has its own mixing ratio."""
    seen = []

    def judge(chroma: Tensor) -> Tensor:
        seen.append(chroma.detach().clone())
        return linear(chroma)

    losses.gradient_penalty(judge, CHROMA, OTHER)
    shares = ((seen[0] - CHROMA) / (OTHER - CHROMA)).flatten(1)
    assert torch.allclose(shares, shares[:, :1].expand_as(shares), atol=1e-2)
    places = shares.median(dim=1).values
    assert (places > 0).all() and (places < 1).all() and len(places.unique()) == 3
    losses.r1(judge, CHROMA)
    assert torch.equal(seen[1], CHROMA)


def make_discriminator(norm: str, spectral_norm: bool) -> nn.Module:
    torch.manual_seed(3)
    network = build_discriminator(16, layers=1, width=4, norm=norm, spectral_norm=spectral_norm)
    for parameter in network.parameters():  # larger than pix2pix's small initial weights, for larger gradients
        parameter.data.mul_(3)
    return network


@pytest.mark.parametrize("norm", ["none", "instance"])  # option_checks.py refuses BatchNorm, which mixes pictures
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_discriminator_penalties_match_autograd(norm, spectral_norm):
    """Value and gradient are compared picture by picture, with norms and spectral norm."""
    # In eval mode, spectral norm does not change; these norms do the same as in training.
    network = make_discriminator(norm, spectral_norm).eval()
    lightness, chroma = torch.rand(3, 1, 16, 16), torch.rand(3, 2, 16, 16) - 0.5
    parameters = list(network.parameters())
    squares = []
    for light, colour in zip(lightness.split(1), chroma.split(1), strict=True):
        colour = colour.clone().requires_grad_()
        (by_colour,) = torch.autograd.grad(network(light, colour).mean(), colour, create_graph=True)
        squares.append(by_colour.square().sum())
    values = {
        "r1": (losses.r1(lambda c: network(lightness, c), chroma), sum(squares) / 3 / 2),
        "gradient_penalty": (
            # With equal pictures, every mixture is the same picture.
            losses.gradient_penalty(lambda c: network(lightness, c), chroma, chroma),
            sum((square.sqrt() - 1) ** 2 for square in squares) / 3,
        ),
    }
    for name, (found, expected) in values.items():
        assert found.item() == pytest.approx(expected.item(), rel=1e-4), name
        mine, theirs = (
            torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True) for value in (found, expected)
        )
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in mine)
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None and b is None) or torch.allclose(a, b, atol=1e-5, rtol=1e-3), name


@pytest.mark.parametrize("norm", ["none", "instance"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_descending_r1_flattens_the_discriminator(norm, spectral_norm):
    """In training mode, with spectral norm's iteration."""
    network = make_discriminator(norm, spectral_norm).train()
    lightness, chroma = torch.rand(4, 1, 16, 16), torch.rand(4, 2, 16, 16) - 0.5
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    values = []
    for _ in range(15):
        value = losses.r1(lambda c: network(lightness, c), chroma)
        optimizer.zero_grad()
        value.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


def test_penalties_do_not_change_pictures_or_gradients():
    network = make_discriminator("none", False)
    before = copy.deepcopy(network.state_dict())
    chroma = torch.rand(2, 2, 16, 16)
    losses.r1(lambda c: network(torch.rand(2, 1, 16, 16), c), chroma)
    assert not chroma.requires_grad and chroma.grad is None
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
