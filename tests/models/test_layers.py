import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gancolor.models import build_generator
from gancolor.models.layers import (
    AttentionGate,
    SelfAttention,
    concatenate,
    init_weights,
    norm_layer,
    pad_to_multiple,
    upsample_layer,
)

UPSAMPLINGS = ["transposed", "pixel_shuffle", "nearest"]


@pytest.mark.parametrize(
    ("norm", "expected"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d), ("none", nn.Identity)]
)
def test_norms(norm, expected):
    assert isinstance(norm_layer(norm, 6), expected)
    assert norm_layer(norm, 6)(torch.rand(2, 6, 4, 4)).shape == (2, 6, 4, 4)


@pytest.mark.parametrize("training", [False, True])
def test_instance_norm_leaves_1x1_maps_unchanged(training):
    """torch's own layer raises an error, so small photographs would fail."""
    layer = norm_layer("instance", 6).train(training)
    single, pair = torch.rand(2, 6, 1, 1), torch.rand(2, 6, 1, 2)
    assert torch.equal(layer(single), single)
    assert torch.equal(layer(pair), F.instance_norm(pair))
    assert not layer.state_dict()


@pytest.mark.parametrize(
    ("size", "padded"), [((8, 16), (8, 16)), ((7, 16), (8, 16)), ((1, 1), (8, 8)), ((9, 3), (16, 8))]
)
def test_padding_is_to_the_next_multiple(size, padded):
    picture = torch.rand(2, 3, *size)
    out = pad_to_multiple(picture, 8)
    assert out.shape == (2, 3, *padded)
    assert torch.equal(out[..., : size[0], : size[1]], picture)
    assert torch.equal(out[..., -1], out[..., size[1] - 1]) and torch.equal(out[..., -1, :], out[..., size[0] - 1, :])


def test_no_padding_is_no_copy():
    picture = torch.rand(1, 1, 8, 8)
    assert pad_to_multiple(picture, 4) is picture and pad_to_multiple(picture, 1) is picture


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_upsampling_doubles_height_and_width(upsampling, bias, size):
    layer = upsample_layer(upsampling, 5, 3, bias)
    assert layer(torch.rand(2, 5, *size)).shape == (2, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_upsampling_bias_is_optional(upsampling):
    for bias in (True, False):
        layer = upsample_layer(upsampling, 5, 3, bias)
        assert ("bias" in {name.split(".")[-1] for name, _ in layer.named_parameters()}) == bias


def assert_no_checkerboard(layer: nn.Module) -> None:
    """Assert that every pixel of a map is doubled in width and height."""
    flat = torch.randn(1, 6, 1, 1).expand(-1, -1, 5, 5)
    out = layer(flat)
    assert torch.allclose(out, out[..., :1, :1].expand_as(out), atol=1e-6)
    assert out.std(dim=1).min() > 1e-4  # though the channels differ
    blocks = layer(torch.randn(1, 6, 5, 5)).unflatten(-1, (5, 2)).unflatten(-3, (5, 2))
    assert torch.allclose(blocks, blocks[..., :1, :, :1].expand_as(blocks), atol=1e-6)


def test_pixel_shuffle_starts_without_checkerboard():
    assert_no_checkerboard(upsample_layer("pixel_shuffle", 6, 3, bias=True))


def test_initialisation_keeps_icnr_of_pixel_shuffle():
    """Otherwise N(0, 0.02) would overwrite ICNR."""
    layer = upsample_layer("pixel_shuffle", 6, 3, bias=True)
    network = nn.Sequential(nn.ReLU(), layer, nn.BatchNorm2d(3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    init_weights(network)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert_no_checkerboard(layer)


@pytest.mark.parametrize("arch", ["ugan", "attention_ugan", "pretrained_attention_ugan"])
@pytest.mark.parametrize("decoder_convs", [0, 2])
def test_generators_keep_icnr_of_pixel_shuffle(arch, decoder_convs):
    options = {"upsampling": "pixel_shuffle", "decoder_convs": decoder_convs, "backbone_weights": "random"}
    network = build_generator(arch, width=4, size=32, **options)
    shuffles = [
        module for module in network.modules() if any(isinstance(child, nn.PixelShuffle) for child in module.children())
    ]
    assert len(shuffles) == len(network.encoder.channels)
    for layer in shuffles:
        channels = next(layer.parameters()).shape[1]
        out = layer(torch.randn(1, channels, 1, 1).expand(-1, -1, 3, 3))
        assert torch.allclose(out, out[..., :1, :1].expand_as(out), atol=1e-5)


def test_initialisation_matches_pix2pix():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(16, 64, 4), nn.BatchNorm2d(1000), nn.ConvTranspose2d(64, 16, 4), nn.Sequential(nn.Conv2d(64, 64, 3))
    )
    init_weights(network)
    for layer in (network[0], network[2], network[3][0]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert abs(layer.weight.mean().item()) < 1e-3
        assert not layer.bias.any()
    assert network[1].weight.mean().item() == pytest.approx(1, abs=0.003)
    assert network[1].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not network[1].bias.any()


# Attention gates --------------------------------------------------------------------------------------------------


@pytest.fixture
def gate():
    torch.manual_seed(1)
    return AttentionGate(6, 10)


def test_attention_is_a_map_within_0_and_1_at_the_skips_size(gate):
    alpha = gate.attention(10 * torch.randn(2, 6, 8, 12), 10 * torch.randn(2, 10, 4, 6))
    assert alpha.shape == (2, 1, 8, 12)
    assert 0 <= alpha.min() < alpha.max() <= 1


def test_gate_multiplies_the_skip_by_attention(gate):
    skip, signal = torch.randn(2, 6, 8, 12), torch.randn(2, 10, 4, 6)
    gate.out = nn.Identity()
    assert torch.equal(gate(skip, signal), gate.attention(skip, signal) * skip)


@pytest.mark.parametrize(("bias", "share"), [(-1e3, 0.0), (0.0, 0.5), (1e3, 1.0)])
def test_gate_can_close_and_open(gate, bias, share):
    nn.init.zeros_(gate.psi.weight)
    nn.init.constant_(gate.psi.bias, bias)
    gate.out = nn.Identity()
    skip = torch.randn(1, 6, 4, 4)
    assert torch.allclose(gate(skip, torch.randn(1, 10, 2, 2)), share * skip)


def test_attention_by_hand():
    """sigmoid(psi(ReLU(theta x + phi g))) of one channel and one pixel of the gate's."""
    gate = AttentionGate(2, 1)
    with torch.no_grad():
        gate.theta.weight.fill_(0.25)  # the sum over 2 x 2 pixels of both channels, over four
        gate.phi.weight.fill_(2.0)
        gate.phi.bias.fill_(-1.0)
        gate.psi.weight.fill_(0.5)
        gate.psi.bias.fill_(0.1)
    skip = torch.stack([torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.ones(2, 2)])[None]
    signal = torch.full((1, 1, 1, 1), 0.3)
    inner = max(0.25 * (10 + 4) + 2 * 0.3 - 1, 0)
    expected = torch.sigmoid(torch.tensor(0.5 * inner + 0.1))
    assert torch.allclose(gate.attention(skip, signal), expected.expand(1, 1, 2, 2))


def test_attention_is_upsampled_bilinearly(gate):
    skip, signal = torch.randn(1, 6, 8, 8), torch.randn(1, 10, 4, 4)
    alpha = gate.attention(skip, signal)
    coarse = torch.sigmoid(gate.psi((gate.theta(skip) + gate.phi(signal)).relu()))
    assert torch.allclose(alpha[..., 0, 0], coarse[..., 0, 0])  # corners are the corners'
    between = 0.75 * coarse[..., 0, 0] + 0.25 * coarse[..., 0, 1]
    assert torch.allclose(alpha[..., 0, 1], between)


def test_gate_matches_oktay(gate):
    """theta: 2 x 2 of stride 2 without bias to half the channels; phi, psi 1 x 1; then 1 x 1 and BatchNorm."""
    assert (gate.theta.kernel_size, gate.theta.stride, gate.theta.bias) == ((2, 2), (2, 2), None)
    assert gate.theta.out_channels == gate.phi.out_channels == gate.psi.in_channels == 3
    assert gate.phi.kernel_size == gate.psi.kernel_size == gate.out[0].kernel_size == (1, 1)
    assert gate.psi.out_channels == 1
    assert isinstance(gate.out[1], nn.BatchNorm2d) and gate.out[0].out_channels == 6


def test_gate_of_one_channel():
    assert AttentionGate(1, 2)(torch.rand(1, 1, 4, 4), torch.rand(1, 2, 2, 2)).shape == (1, 1, 4, 4)


def test_gradients_reach_skip_and_gating_signal(gate):
    skip, signal = torch.randn(2, 6, 4, 4, requires_grad=True), torch.randn(2, 10, 2, 2, requires_grad=True)
    gate(skip, signal).square().mul(torch.rand(2, 6, 4, 4)).sum().backward()
    assert skip.grad.any() and signal.grad.any()
    assert all(parameter.grad is not None for parameter in gate.parameters())


# Self-attention ---------------------------------------------------------------------------------------------------


def test_self_attention_starts_as_identity():
    features = torch.randn(2, 16, 5, 7)
    assert torch.equal(SelfAttention(16)(features), features)


@pytest.mark.parametrize("channels", [1, 7, 8, 32])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_self_attention_by_its_formula(channels, memory_format):
    """out_j = x_j + gamma sum_i softmax_i(f(x_i) . g(x_j)) h(x_i), unscaled (Zhang 2019, eq. 1 to 3)."""
    layer = SelfAttention(channels)
    nn.init.constant_(layer.gamma, 0.7)
    features = torch.randn(2, channels, 3, 5)
    x = features.flatten(2)
    key, query, value = (
        torch.einsum("oc,bcn->bon", part.weight[..., 0], x) for part in (layer.key, layer.query, layer.value)
    )
    assert key.shape[1] == query.shape[1] == max(channels // 8, 1) and value.shape[1] == channels
    shares = torch.einsum("bci,bcj->bij", key, query).softmax(dim=1)
    expected = (x + 0.7 * torch.einsum("bij,bci->bcj", shares, value)).view_as(features)
    out = layer(features.to(memory_format=memory_format))
    assert torch.allclose(out, expected, atol=1e-5)


def test_self_attention_connects_distant_positions():
    layer = SelfAttention(8)
    nn.init.constant_(layer.gamma, 1.0)
    features = torch.randn(1, 8, 6, 6)
    other = features.clone()
    other[..., -1, -1] += 5
    change = (layer(other) - layer(features)).abs().sum(dim=1)[0]
    assert change.min() > 1e-6


def test_every_parameter_of_self_attention_learns_once_gamma_is_not_0():
    layer = SelfAttention(16)
    features = torch.randn(2, 16, 4, 4, requires_grad=True)
    layer(features).square().sum().backward()
    assert {name for name, parameter in layer.named_parameters() if parameter.grad.any()} == {"gamma"}
    nn.init.constant_(layer.gamma, 0.5)
    layer(features).square().sum().backward()
    assert all(parameter.grad.any() for parameter in layer.parameters()) and features.grad.any()


# Joining ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_concatenate_equals_cat_with_gradients_in_the_maps_layout(memory_format):
    parts = [torch.randn(2, channels, 5, 7).to(memory_format=memory_format).requires_grad_() for channels in (3, 4)]
    seen = []
    for part in parts:
        part.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=memory_format)))
    weights = torch.randn(2, 7, 5, 7).to(memory_format=memory_format)
    assert torch.equal(concatenate(*parts), torch.cat(parts, dim=1))
    mine = torch.autograd.grad((concatenate(*parts) * weights).sum(), parts)
    theirs = torch.autograd.grad((torch.cat(parts, dim=1) * weights).sum(), parts)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    seen.clear()
    (concatenate(*parts) * weights).sum().backward()
    assert seen == [True, True]


def test_concatenate_skips_gradients_that_are_not_needed():
    wanted, other = torch.randn(2, 3, 5, 7, requires_grad=True), torch.randn(2, 1, 5, 7)
    concatenate(wanted, other).sum().backward()
    assert torch.equal(wanted.grad, torch.ones_like(wanted)) and other.grad is None
