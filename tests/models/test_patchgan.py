import copy

import pytest
import torch
from torch import nn

from gancolor.models import build_discriminator
from gancolor.models.patchgan import PatchGAN, least_size
from gancolor.utils.errors import InputError


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def logits(network: nn.Module, size: int) -> torch.Tensor:
    return network(torch.rand(2, 1, size, size), torch.rand(2, 2, size, size))


def test_has_pix2pixs_number_of_parameters():
    assert sum(parameter.numel() for parameter in PatchGAN().parameters()) == 2_765_633


def test_has_pix2pixs_layers():
    """C64 without norm, C128, C256 of stride 2, C512 and the logits of stride 1; biases where no BatchNorm follows."""
    network = PatchGAN()
    table = [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], layer.padding[0])
        for layer in convolutions(network)
    ]
    assert table == [(3, 64, 4, 2, 1), (64, 128, 4, 2, 1), (128, 256, 4, 2, 1), (256, 512, 4, 1, 1), (512, 1, 4, 1, 1)]
    assert [layer.bias is not None for layer in convolutions(network)] == [True, False, False, False, True]
    assert [layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)] == [128, 256, 512]
    slopes = [layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2] * 4


def test_map_is_30_by_30_at_256():
    with torch.device("meta"):
        assert logits(PatchGAN(), 256).shape == (2, 1, 30, 30)


def seen_by_the_middle(layers: int, size: int) -> tuple[int, int]:
    """Return height and width of the patch that one logit depends on, from its gradient."""
    network = PatchGAN(layers, width=2, norm="none")
    for layer in convolutions(network):  # gradients of pixels must not cancel
        nn.init.constant_(layer.weight, 0.1)
    chroma = torch.rand(1, 2, size, size, requires_grad=True)
    out = network(torch.rand(1, 1, size, size), chroma)
    middle = out.shape[-1] // 2
    out[0, 0, middle, middle].backward()
    rows, columns = chroma.grad.abs().sum(dim=(0, 1)).nonzero().unbind(dim=1)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(("layers", "patch"), [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142)])
def test_patches(layers, patch):
    assert seen_by_the_middle(layers, 320) == (patch, patch)


def test_layers_0_classifies_single_pixels():
    network = PatchGAN(0, width=4, norm="none")
    lightness, chroma = torch.rand(1, 1, 5, 5), torch.rand(1, 2, 5, 5)
    before = network(lightness, chroma)
    chroma = chroma.clone()
    chroma[..., 2, 3] = 1
    changed = (network(lightness, chroma) != before)[0, 0]
    assert before.shape == (1, 1, 5, 5)
    assert changed.nonzero().tolist() == [[2, 3]]


@pytest.mark.parametrize("layers", range(7))
def test_least_size_is_the_smallest_that_works(layers):
    least = least_size(layers)
    network = PatchGAN(layers, width=1, norm="none")
    assert logits(network, least).numel() >= 2
    if least > 1:
        with pytest.raises(RuntimeError):
            logits(network, least - 1)


@pytest.mark.parametrize("layers", range(1, 6))
def test_photographs_that_are_too_small_are_refused(layers):
    least = least_size(layers)
    assert logits(build_discriminator(least, layers, width=1, norm="none"), least).shape[:2] == (2, 1)
    with pytest.raises(InputError, match=rf"--data.size {least - 1} .*--discriminator.layers {layers}.* {least}"):
        build_discriminator(least - 1, layers)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_every_option_trains(norm, spectral_norm, layers):
    network = PatchGAN(layers, width=4, norm=norm, spectral_norm=spectral_norm)
    out = logits(network, 48)
    out.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == (norm == "batch")
    if norm != "batch":
        assert all(layer.bias is not None for layer in convolutions(network))


def test_channels_stop_doubling_at_eight_times():
    assert [layer.out_channels for layer in convolutions(PatchGAN(5, width=2))] == [2, 4, 8, 16, 16, 16, 1]


def test_sees_both_lightness_and_chroma():
    network = PatchGAN(1, width=4)
    lightness, chroma = (torch.rand(2, channels, 16, 16, requires_grad=True) for channels in (1, 2))
    network(lightness, chroma).square().sum().backward()
    assert lightness.grad.any() and (chroma.grad.abs().sum(dim=(0, 2, 3)) > 0).all()


def test_discriminator_initialisation_matches_pix2pix():
    torch.manual_seed(0)
    for layer in convolutions(PatchGAN())[1:4]:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_spectral_norm_is_on_every_convolution_and_survives_a_copy():
    network = PatchGAN(2, width=4, spectral_norm=True)
    for _ in range(50):  # of the power iteration
        logits(network, 32)
    network.eval()
    twin = copy.deepcopy(network)
    for one, other in zip(convolutions(network), convolutions(twin), strict=True):
        assert torch.linalg.matrix_norm(one.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
        assert torch.equal(one.weight, other.weight)
    inputs = torch.rand(1, 1, 32, 32), torch.rand(1, 2, 32, 32)
    assert torch.equal(network(*inputs), twin(*inputs))
    fresh = PatchGAN(2, width=4, spectral_norm=True).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(network(*inputs), fresh(*inputs))


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_last_feature_is_the_logits(layers, spectral_norm):
    network = PatchGAN(layers, width=4, spectral_norm=spectral_norm).eval()
    inputs = torch.rand(2, 1, 48, 48), torch.rand(2, 2, 48, 48)
    *features, judged = network.features(*inputs)
    assert torch.equal(judged, network(*inputs))
    widths = [layer.out_channels for layer in convolutions(network)]
    assert [feature.shape[1] for feature in features] == widths[:-1]
    # features are taken after activations; the last ones are the logits
    assert torch.equal(network.layers[-1](features[-1]), judged)
    assert all((feature < 0).float().mean() > 0.05 for feature in features)
    assert all(feature.min().abs() < feature.max() for feature in features)


def test_features_pass_gradients_to_the_chroma():
    chroma = torch.rand(2, 2, 32, 32, requires_grad=True)
    first, *_ = PatchGAN(1, width=4).features(torch.rand(2, 1, 32, 32), chroma)
    first.square().sum().backward()
    assert chroma.grad.any()
