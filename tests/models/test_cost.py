import copy

import pytest
import torch
from torch import nn

from gancolor.choices import ARCHITECTURES
from gancolor.models import build_generator
from gancolor.models.cost import count_macs, count_parameters
from gancolor.models.eccv16 import ECCV16
from gancolor.models.layers import SelfAttention
from gancolor.models.output import GeneratorOutput

SMALL = {
    "width": 4, "size": 32, "global_size": 32, "classes": 3, "neurons": "low", "filters": "low",
    "backbone": "test_resnet", "backbone_weights": "random",
}  # fmt: skip


class Generator(nn.Module):
    """One layer of each kind, between lightness and chroma."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(6, 4, 1, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1)
        self.scene = nn.Linear(4, 5)

    def forward(self, lightness: torch.Tensor) -> GeneratorOutput:
        features = self.grouped(self.down(lightness).relu())
        return GeneratorOutput(self.up(features), self.scene(features.mean(dim=(2, 3))))


def test_macs_by_hand():
    """Outputs times what each is summed over; of a transposed convolution, inputs times what each is spread over."""
    halved, grouped = 16 * 16 * 6 * 9, 16 * 16 * 4 * 3
    doubled, scene = 16 * 16 * 4 * 2 * 16, 4 * 5
    assert count_macs(Generator(), 32) == halved + grouped + doubled + scene


def test_parameters_by_hand():
    assert count_parameters(Generator()) == (6 * 9 + 6) + 4 * 3 + (4 * 2 * 16 + 2) + (4 * 5 + 5)


def test_parameters_that_are_not_trained_count_too():
    network = Generator()
    network.down.requires_grad_(False)
    assert count_parameters(network) == count_parameters(Generator())


def counted_by_hooks(network: nn.Module, size: int) -> int:
    """Count the same in a real forward pass, layer by layer."""
    total = 0

    def count(layer, inputs, out):
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            total += out.numel() * layer.weight[0].numel()
        elif isinstance(layer, SelfAttention):
            places = out.shape[-2] * out.shape[-1]
            total += places**2 * (layer.query.out_channels + layer.value.out_channels)

    for layer in network.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        prediction = network.eval()(torch.rand(1, 1, size, size))
    if isinstance(network, ECCV16):  # the mean colour of bins is a matrix product
        total += 2 * prediction.bin_logits.numel()
    return total


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_macs_of_every_generator_equal_those_of_a_real_pass(arch):
    network = build_generator(arch, **SMALL)
    macs = count_macs(network, 64)
    assert macs == counted_by_hooks(network, 64) > 0


def test_counting_leaves_the_network_as_it_was():
    network = build_generator("ltbc", **SMALL).train()
    before = copy.deepcopy(network.state_dict())
    count_macs(network, 32)
    assert network.training and all(parameter.device.type == "cpu" for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_macs_are_of_one_photograph_of_the_size():
    network = build_generator("polychromify_v0")
    assert count_macs(network) == count_macs(network, 256) == 4 * count_macs(network, 128)
    assert count_macs(network, 1) == sum(weight.numel() for weight in network.parameters() if weight.dim() > 1)
