"""Colorful Image Colorization (Zhang 2016): its layers, and how bins become colour."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gancolor.color.bins import annealed_mean, bin_centres
from gancolor.models.eccv16 import ECCV16, eccv16


@pytest.fixture(scope="module")
def paper():
    return eccv16()


def test_has_its_32_2_million_parameters(paper):
    """The released network's, but for its last layer, which is the bins' centres: 313 x 2."""
    assert sum(parameter.numel() for parameter in paper.parameters()) == 32_235_385
    assert paper.centres.shape == (313, 2)


def test_features_layer_by_layer(paper):
    """3 x 3 and ReLU; the first three blocks end with stride 2, the fifth and sixth are dilated; norm ends each."""
    blocks, block = [], []
    for layer in paper.features:
        if isinstance(layer, nn.Conv2d):
            assert layer.kernel_size == (3, 3) and layer.padding == layer.dilation
            block.append((layer.in_channels, layer.out_channels, layer.stride[0], layer.dilation[0]))
        elif isinstance(layer, nn.BatchNorm2d):
            blocks.append(block)
            assert layer.num_features == block[-1][1]
            block = []
    assert not block
    assert blocks == [
        [(1, 64, 1, 1), (64, 64, 2, 1)],
        [(64, 128, 1, 1), (128, 128, 2, 1)],
        [(128, 256, 1, 1), (256, 256, 1, 1), (256, 256, 2, 1)],
        [(256, 512, 1, 1), (512, 512, 1, 1), (512, 512, 1, 1)],
        [(512, 512, 1, 2)] * 3,
        [(512, 512, 1, 2)] * 3,
        [(512, 512, 1, 1)] * 3,
    ]
    kinds = [type(layer) for layer in paper.features]
    assert all(after is nn.ReLU for kind, after in pairwise(kinds) if kind is nn.Conv2d)
    assert kinds.count(nn.BatchNorm2d) == 7


def test_bins_come_from_256_channels_at_twice_the_size(paper):
    doubling, *others = (layer for layer in paper.up if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))
    assert isinstance(doubling, nn.ConvTranspose2d)
    assert (doubling.in_channels, doubling.out_channels) == (512, 256)
    assert (doubling.kernel_size, doubling.stride, doubling.padding) == ((4, 4), (2, 2), (1, 1))
    assert [(layer.in_channels, layer.out_channels, layer.kernel_size) for layer in others] == [(256, 256, (3, 3))] * 2
    assert sum(isinstance(layer, nn.ReLU) for layer in paper.up) == 3
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in paper.up)
    assert (paper.to_bins.in_channels, paper.to_bins.out_channels, paper.to_bins.kernel_size) == (256, 313, (1, 1))


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_other_norms_replace_batchnorm(norm):
    network = eccv16(width=2, norm=norm)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    instances = sum(isinstance(layer, nn.InstanceNorm2d) for layer in network.modules())
    assert instances == (7 if norm == "instance" else 0)


def test_default_temperature_is_the_papers(paper):
    assert paper.temperature == 0.38


# Colour -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def network(lightness, settle):
    network = settle(ECCV16(width=2), lightness(4, 1, 32, 32, seed=5))
    nn.init.normal_(network.to_bins.weight, 0, 3)  # so that bins differ
    return network


def say(network: ECCV16, logits: torch.Tensor) -> None:
    """Set the bins' logits (313,) everywhere."""
    nn.init.zeros_(network.to_bins.weight)
    network.to_bins.bias = nn.Parameter(logits)


@pytest.mark.parametrize("number", [0, 100, 156, 312])
def test_probability_1_of_a_bin_gives_its_colour(network, lightness, number):
    say(network, 1000 * F.one_hot(torch.tensor(number), 313).float())
    expected = bin_centres()[number][None, :, None, None].expand(2, 2, 9, 14)
    assert torch.allclose(network(lightness(2, 1, 9, 14)).chroma, expected, atol=1e-6)


def test_colour_is_the_annealed_mean_of_the_logits_that_are_given_out(network, lightness):
    with torch.no_grad():
        prediction = network(lightness(2, 1, 32, 40))
    assert prediction.bin_logits.std(dim=1).min() > 0.1
    shares = (prediction.bin_logits / 0.38).softmax(dim=1)
    coarse = (shares.unsqueeze(2) * bin_centres()[None, :, :, None, None]).sum(dim=1)
    expected = F.interpolate(coarse, (32, 40), mode="bilinear", align_corners=False)
    assert torch.allclose(prediction.chroma, expected, atol=1e-5)


def test_upsampling_probabilities_gives_the_same_chroma(network, lightness):
    with torch.no_grad():
        prediction = network(lightness(1, 1, 16, 16))
    shares = (prediction.bin_logits / 0.38).softmax(dim=1)
    fine = F.interpolate(shares, scale_factor=4, mode="bilinear", align_corners=False)
    assert torch.allclose(prediction.chroma, torch.einsum("bqhw,qc->bchw", fine, bin_centres()), atol=1e-5)


def test_logits_of_odd_sizes_are_cropped_like_the_chroma(network, lightness):
    """The padding's logits are cropped, like its colour."""
    picture = lightness(1, 1, 21, 30)
    padded = F.pad(picture, (0, 2, 0, 3), mode="replicate")
    with torch.no_grad():
        logits, whole = network(picture).bin_logits, network(padded).bin_logits
    assert logits.shape[-2:] == (6, 8) and whole.shape[-2:] == (6, 8)
    assert torch.allclose(logits, whole, atol=1e-5)
    with torch.no_grad():
        assert network(picture[..., :17, :]).bin_logits.shape[-2:] == (5, 8)


def test_gradient_of_colour_comes_through_the_bins(network, lightness):
    network(lightness(1, 1, 16, 16)).chroma.square().sum().backward()
    assert network.to_bins.weight.grad.any()
    assert next(network.features.parameters()).grad.any()


@pytest.fixture
def logits():
    return 2 * torch.randn(2, 313, 3, 4)


def test_towards_temperature_0_colour_is_the_mode(logits):
    mode = bin_centres()[logits.argmax(dim=1)].movedim(-1, 1)
    assert torch.allclose(annealed_mean(logits, bin_centres(), 1e-4), mode, atol=1e-4)


def test_at_temperature_1_colour_is_the_mean(logits):
    mean = torch.einsum("bqhw,qc->bchw", logits.softmax(dim=1), bin_centres())
    assert torch.allclose(annealed_mean(logits, bin_centres(), 1.0), mean, atol=1e-6)


def test_the_papers_temperature_is_between_mode_and_mean(logits):
    mode, between, mean = (annealed_mean(logits, bin_centres(), t).norm(dim=1).mean() for t in (1e-4, 0.38, 1.0))
    assert mean < between < mode  # the mean is the greyest


def test_temperature_option_reaches_the_generator(lightness):
    torch.manual_seed(0)
    cold = ECCV16(width=2, temperature=0.01).eval()
    warm = ECCV16(width=2, temperature=1.0).eval()
    warm.load_state_dict(cold.state_dict())
    picture = lightness(1, 1, 16, 16)
    assert torch.equal(cold(picture).bin_logits, warm(picture).bin_logits)
    assert not torch.allclose(cold(picture).chroma, warm(picture).chroma, atol=1e-3)


def test_bin_centres_are_not_in_the_state_dict(network):
    """They are constants, so files, optimizers and EMA do not contain them."""
    assert not any("centres" in name for name in network.state_dict())
    assert torch.equal(network.centres, bin_centres())
    assert network.centres.abs().max() <= 1
