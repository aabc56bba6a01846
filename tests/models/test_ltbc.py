"""Let there be Color (Iizuka 2016): its layers and the fusion of its branches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gancolor.models import build_generator
from gancolor.models.ltbc import LTBC, ltbc

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@pytest.fixture(scope="module")
def paper():
    """Full-size network for 205 classes, on the meta device."""
    with torch.device("meta"):
        return ltbc(classes=205)


def convolutions(branch: nn.Module) -> list[tuple[int, int, int]]:
    """(channels in, out, stride) of 3 x 3 convolutions."""
    layers = [layer for layer in branch.modules() if isinstance(layer, nn.Conv2d)]
    assert all((layer.kernel_size, layer.padding, layer.dilation) == ((3, 3), (1, 1), (1, 1)) for layer in layers)
    return [(layer.in_channels, layer.out_channels, layer.stride[0]) for layer in layers]


def connected(branch: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in branch.modules() if isinstance(layer, nn.Linear)]


# Layers -----------------------------------------------------------------------------------------------------------


def test_low_level_features(paper):
    widths = [(1, 64, 2), (64, 128, 1), (128, 128, 2), (128, 256, 1), (256, 256, 2), (256, 512, 1)]
    assert convolutions(paper.low) == widths


def test_global_features(paper):
    assert convolutions(paper.global_convolutions) == [(512, 512, 2), (512, 512, 1), (512, 512, 2), (512, 512, 1)]
    assert connected(paper.global_scene) == [(7 * 7 * 512, 1024), (1024, 512)]
    assert connected(paper.global_colour) == [(512, 256)]


def test_middle_level_features(paper):
    assert convolutions(paper.middle) == [(512, 512, 1), (512, 256, 1)]


def test_fusion_takes_both_to_256(paper):
    layer = paper.fusion[0]
    assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (256 + 256, 256, (1, 1))


def test_colour(paper):
    """128, up, 64, 64, up, 32, 2 with a sigmoid, up; nearest."""
    assert convolutions(paper.colour) == [(256, 128, 1), (128, 64, 1), (64, 64, 1), (64, 32, 1), (32, 2, 1)]
    kinds = [layer for layer in paper.colour.modules() if isinstance(layer, nn.Conv2d | nn.Upsample | nn.Sigmoid)]
    order = "".join({nn.Conv2d: "c", nn.Upsample: "u", nn.Sigmoid: "s"}[type(layer)] for layer in kinds)
    assert order == "cuccuccsu"
    assert all(layer.mode == "nearest" and layer.scale_factor == 2 for layer in kinds if isinstance(layer, nn.Upsample))


def test_classifier_takes_the_512_vector(paper):
    assert connected(paper.classifier) == [(512, 256), (256, 205)]


def test_norm_and_relu_are_after_every_layer_but_the_last_of_each_head(paper):
    layers = [layer for layer in paper.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    norms = [layer for layer in paper.modules() if isinstance(layer, NORMS)]
    assert sum(isinstance(layer, nn.ReLU) for layer in paper.modules()) == len(norms) == len(layers) - 2
    assert [layer.bias is not None for layer in layers].count(True) == 2
    assert paper.classifier[-1].bias is not None and paper.colour[-3].bias is not None


def test_report_variant_has_no_norm_and_its_classifier_width():
    """Jacob and Darcey: 400 of 365 classes."""
    with torch.device("meta"):
        network = ltbc(classes=365, classifier_width=400, norm="none")
    assert connected(network.classifier) == [(512, 400), (400, 365)]
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert all(layer.bias is not None for layer in layers)
    assert not any(isinstance(layer, NORMS) for layer in network.modules())


def test_instance_norm_is_not_used_on_vectors(build):
    network = build("ltbc", norm="instance", classes=2)
    assert any(isinstance(layer, nn.InstanceNorm2d) for layer in network.middle)
    for branch in (network.global_scene, network.global_colour, network.classifier):
        assert not any(isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d | NORMS[0]) for layer in branch)


@pytest.mark.parametrize("arch", ["ltbc", "ltbc_no_classifier"])
def test_without_classes_there_is_no_classifier(build, arch):
    network = build(arch)
    assert network.classifier is None
    assert not any(name.startswith("classifier") for name in network.state_dict())


@pytest.mark.parametrize("global_size", [16, 33, 100, 224, 225])
def test_every_global_size_fits(lightness, global_size):
    network = LTBC(2, width=1, global_size=global_size).eval()
    assert network(lightness(1, 1, 24, 40)).scene_logits.shape == (1, 2)


# Branches ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(build, lightness, settle):
    torch.manual_seed(1)
    return settle(build("ltbc", classes=3, width=8, global_size=64), lightness(4, 1, 64, 64, seed=5))


def in_two_branches(network: LTBC, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the network in two separate branches, as in the paper's figure."""
    scaled = F.interpolate(picture, (network.global_size,) * 2, mode="bilinear", antialias=True)
    scene = network.global_scene(network.global_convolutions(network.low(scaled)))
    middle = network.middle(network.low(picture))
    colour = network.global_colour(scene)[:, :, None, None].expand(-1, -1, *middle.shape[-2:])
    chroma = network.colour(network.fusion(torch.cat([middle, colour], dim=1))) * 2 - 1
    return chroma, network.classifier(scene)


@pytest.mark.parametrize(("size", "passes"), [((64, 64), 1), ((64, 72), 2), ((32, 32), 2)])
def test_low_level_features_are_shared_for_equal_inputs(network, lightness, size, passes):
    picture, calls = lightness(2, 1, *size), []
    handle = network.low.register_forward_hook(lambda *call: calls.append(call[1]))
    with torch.no_grad():
        prediction = network(picture)
        handle.remove()
        chroma, logits = in_two_branches(network, picture)
    assert len(calls) == passes
    assert torch.allclose(prediction.chroma, chroma, atol=1e-5)
    assert torch.allclose(prediction.scene_logits, logits, atol=1e-4)


def test_the_global_vector_is_repeated_at_every_pixel(network, lightness):
    seen = []
    handles = [
        network.fusion.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0])),
        network.global_colour.register_forward_hook(lambda _layer, _inputs, out: seen.append(out)),
    ]
    network(lightness(2, 1, 40, 64))
    for handle in handles:
        handle.remove()
    vector, fused = seen
    assert vector.shape == (2, 32) and fused.shape == (2, 64, 5, 8)
    assert torch.equal(fused[:, 32:], vector[:, :, None, None].expand(-1, -1, 5, 8))


def test_colour_depends_on_distant_pixels(network, lightness):
    """A corner's colour depends on the opposite corner, through the global features."""
    picture = lightness(1, 1, 256, 256)
    other = picture.clone()
    other[..., 192:, 192:] = 1.0

    def change():
        with torch.no_grad():
            return (network(picture).chroma - network(other).chroma)[..., :32, :32].abs().max()

    assert change() > 1e-3
    kernel = network.fusion[0].weight
    held = kernel.detach().clone()
    with torch.no_grad():
        kernel[:, 32:] = 0
        assert change() == 0
        kernel.copy_(held)


def test_gradients_of_classifier_and_colour_loss_reach_the_right_layers(build, lightness):
    network = build("ltbc", classes=3, width=16).train()
    prediction = network(lightness(4, 1, 40, 40))
    prediction.scene_logits.square().sum().backward(retain_graph=True)
    taught = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert taught == {"low", "global_convolutions", "global_scene", "classifier"}
    network.zero_grad(set_to_none=True)
    prediction.chroma.square().sum().backward()
    untaught = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is None}
    assert untaught == {"classifier"}


def test_network_without_classifier_is_otherwise_equal(build, lightness):
    with_it, without = build("ltbc", classes=3), build("ltbc_no_classifier")
    state = with_it.state_dict()
    without.load_state_dict({name: value for name, value in state.items() if not name.startswith("classifier.")})
    picture = lightness(1, 1, 40, 33)
    assert torch.equal(with_it.eval()(picture).chroma, without.eval()(picture).chroma)
    assert without(picture).scene_logits is None


def test_default_options_are_the_papers():
    with torch.device("meta"):
        network = build_generator("ltbc", classes=2)
    assert network.global_size == 224
    assert network.low[0].out_channels == 64 and network.classifier[0].out_features == 256
