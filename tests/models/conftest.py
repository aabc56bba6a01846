"""Fixtures for tests of networks: small networks, pictures, and files of backbone weights."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import resnet18
from torchvision.models.vgg import cfgs, make_layers

from gancolor.models import build_generator
from gancolor.models.layers import SelfAttention

SMALL = {
    "width": 4, "size": 32, "global_size": 32, "classifier_width": 8, "neurons": "low", "filters": "low",
    "backbone_weights": "random",
}  # fmt: skip


@pytest.fixture(scope="session")
def build():
    """Return a function that builds a small network of an architecture with these options."""

    def small(arch, **options):
        if "backbone" not in options and arch != "vgg16_autoencoder":
            options["backbone"] = "test_resnet"  # the smallest of timm
        network = build_generator(arch, **{**SMALL, **options})
        for layer in network.modules():
            if isinstance(layer, SelfAttention):  # with its initial value 0, attention would have no effect
                torch.nn.init.constant_(layer.gamma, 0.5)
            # As timm's residual blocks start.
            if isinstance(layer, _BatchNorm) and not layer.weight.is_meta and not layer.weight.any():
                torch.nn.init.ones_(layer.weight)
        return network

    return small


@pytest.fixture(scope="session")
def lightness():
    """Return a function that creates noise pictures of a shape, in [-1, 1]."""

    def noise(*shape, seed=0):
        return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1

    return noise


@pytest.fixture(scope="session")
def settle():
    """Return a function that sets a network's BatchNorm statistics to those of a batch, and returns it in eval mode.

    With only a tenth of them, as after one step, outputs for different pictures would be nearly equal.
    """

    def settled(network, pictures):
        norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
        for layer in norms:
            layer.momentum = 1.0
        with torch.no_grad():
            network(pictures)
        for layer in norms:
            layer.momentum = 0.1
        return network.eval()

    return settled


@pytest.fixture(scope="session")
def resnet18_file(tmp_path_factory):
    """A file in torchvision's layout, and the network it is of, with statistics that are not the start's."""
    torch.manual_seed(2)
    network = resnet18(weights=None)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    path = tmp_path_factory.mktemp("resnet18") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return path, network.eval()


@pytest.fixture(scope="session")
def vgg16_file(tmp_path_factory):
    """A file in torchvision's layout, its classifier a stub (it would take half a gigabyte), and the layers it is of,
    with biases that are not 0."""
    torch.manual_seed(2)
    features = make_layers(cfgs["D"])
    for parameter in features.parameters():
        if parameter.dim() > 1:
            torch.nn.init.kaiming_normal_(parameter)
        else:
            torch.nn.init.normal_(parameter, 0, 0.1)
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.pth"
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    torch.save({**state, "classifier.6.bias": torch.zeros(1000)}, path)
    return path, features.eval()
