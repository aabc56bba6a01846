"""PolyChromify and the networks that it was compared with (Ghiotto 2021)."""

import pytest
import torch
from torch import nn

from gancolor.models import build_generator
from gancolor.models.cost import count_parameters
from gancolor.models.polychromify import PolyChromify

FAMILY = ["polychromify", "polychromify_v0", "polychromify_v1", "polychromify_v3", "polychromify_cnn"]


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def table(network: nn.Module) -> list[tuple[int, int, int]]:
    """(kernel, width, stride) of every layer."""
    layers = convolutions(network)
    assert all(layer.padding[0] == layer.kernel_size[0] // 2 and layer.dilation == (1, 1) for layer in layers)
    return [(layer.kernel_size[0], layer.out_channels, layer.stride[0]) for layer in layers]


def around(*widths: int) -> list[tuple[int, int, int]]:
    return [(3, width, 1) for width in widths]


def connected(*widths: int) -> list[tuple[int, int, int]]:
    return [(1, width, 1) for width in widths]


HIGH = connected(256, 128, 64, 128, 256)
LAYERS = {
    "polychromify": around(16, 32, 64) + HIGH + around(64, 32, 16),
    "polychromify_v0": connected(128, 64, 32, 64, 128),
    "polychromify_v1": around(16, 32, 64, 64, 32, 16),
    "polychromify_v3": (
        around(16) + [(3, width, 2) for width in (32, 64, 128, 256)] + HIGH + around(256, 128, 64, 32, 16)
    ),
    "polychromify_cnn": around(16, 32, 64, 128),
}  # fmt: skip


@pytest.mark.parametrize("arch", FAMILY)
def test_layers_match_the_report(arch):
    assert table(build_generator(arch)) == [*LAYERS[arch], (1, 2, 1)]


@pytest.mark.parametrize(("arch", "parameters"), [("polychromify", 293_074), ("polychromify_cnn", 97_650)])
def test_have_the_reports_numbers_of_parameters(arch, parameters):
    """293 k and 98 k."""
    assert count_parameters(build_generator(arch)) == parameters


@pytest.mark.parametrize("arch", FAMILY)
def test_only_the_plain_cnn_has_batchnorm_by_default(arch):
    network = build_generator(arch)
    norms = [layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == ([16, 32, 64, 128] if arch == "polychromify_cnn" else [])
    assert [layer.bias is None for layer in convolutions(network)].count(True) == len(norms)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("arch", FAMILY)
def test_norm_and_relu_are_after_every_layer_but_the_last(build, arch, norm):
    network = build(arch, norm=norm)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d)]
    assert sum(isinstance(layer, nn.ReLU) for layer in network.modules()) == len(convolutions(network)) - 1
    assert len(norms) == (len(convolutions(network)) - 1 if norm != "none" else 0)
    assert isinstance(network.layers[-1], nn.ReLU) and network.to_chroma.bias is not None


@pytest.mark.parametrize(
    ("neurons", "widths"),
    [
        ("low", [64, 32, 16, 32, 64]),
        ("medium", [128, 64, 32, 64, 128]),
        ("high", [256, 128, 64, 128, 256]),
    ],
)
def test_neurons(neurons, widths):
    found = [width for kernel, width, _ in table(build_generator("polychromify", neurons=neurons)) if kernel == 1]
    assert found == [*widths, 2]


@pytest.mark.parametrize(("filters", "widths"), [("low", [8, 16, 32]), ("high", [16, 32, 64])])
@pytest.mark.parametrize("arch", ["polychromify", "polychromify_v1"])
def test_filters(arch, filters, widths):
    found = [width for kernel, width, _ in table(build_generator(arch, filters=filters)) if kernel == 3]
    assert found == [*widths, *widths[::-1]]


@pytest.mark.parametrize("arch", ["polychromify", "polychromify_v1"])
def test_strides_halve_and_restore_the_size(arch):
    plain, strided = build_generator(arch), build_generator(arch, strides=True)
    assert [stride for _, _, stride in table(strided)][:4] == [1, 2, 2, 1]
    kinds = [layer for layer in strided.layers if isinstance(layer, nn.Conv2d | nn.Upsample)]
    # one before each of the first two mirrored convolutions
    mirrored = [isinstance(layer, nn.Upsample) for layer in kinds[-5:]]
    assert mirrored == [True, False, True, False, False]
    assert sum(isinstance(layer, nn.Upsample) for layer in kinds) == 2
    assert not any(isinstance(layer, nn.Upsample) for layer in plain.layers)
    assert count_parameters(plain) == count_parameters(strided)


def test_v3_comes_back_to_full_size(lightness):
    network = build_generator("polychromify_v3")
    sizes = []
    for layer in convolutions(network):
        layer.register_forward_hook(lambda _layer, _inputs, out: sizes.append(out.shape[-1]))
    network(lightness(1, 1, 32, 32))
    assert sizes == [32, 16, 8, 4, 2, *[2] * 5, 4, 8, 16, 32, 32, 32]


def seen_by_a_pixel(network: PolyChromify) -> int:
    """Return the side of the patch that one pixel's colour depends on, from its gradient."""
    for layer in convolutions(network):  # gradients of pixels must not cancel
        nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        nn.init.zeros_(layer.bias)
    picture = torch.rand(1, 1, 31, 31, requires_grad=True)
    network(picture).chroma[0, :, 15, 15].sum().backward()
    rows, columns = picture.grad[0, 0].nonzero().unbind(dim=1)
    assert rows.max() - rows.min() == columns.max() - columns.min()
    return int(rows.max() - rows.min()) + 1


@pytest.mark.parametrize(
    ("arch", "side"), [("polychromify_v0", 1), ("polychromify_v1", 13), ("polychromify", 13), ("polychromify_cnn", 9)]
)
def test_receptive_field_of_a_pixel(arch, side):
    """Layers that are fully connected at each pixel do not enlarge the receptive field."""
    network = build_generator(arch, neurons="low", filters="low", norm="none")
    assert seen_by_a_pixel(network) == side


def test_v0_gives_equal_greys_equal_colours(lightness):
    network = build_generator("polychromify_v0").eval()
    picture = lightness(1, 1, 8, 8)
    shuffled = picture.flip(-1, -2)
    assert torch.allclose(network(shuffled).chroma, network(picture).chroma.flip(-1, -2), atol=1e-6)
