"""Encoders on networks that were trained on ImageNet."""

from hashlib import sha256

import pytest
import torch
import torchvision.models as tv
from torch import nn

from gancolor.errors import InputError
from gancolor.models import GENERATORS, build_generator, generator_options
from gancolor.models.encoders import GREY_MEAN, GREY_STD, RESNETS, ResNetEncoder, VGGEncoder

ON_RESNETS = [arch for arch in GENERATORS if "backbone" in generator_options(arch)]
ON_BACKBONES = [*ON_RESNETS, "vgg16_autoencoder"]
VGG16 = tv.VGG16_Weights.IMAGENET1K_V1


def grey(picture: torch.Tensor) -> torch.Tensor:
    """What a network of three channels is shown of lightness."""
    return (((picture + 1) / 2 - GREY_MEAN) / GREY_STD).expand(-1, 3, -1, -1)


def move_published(monkeypatch, weights: tv.WeightsEnum, url: str) -> None:
    monkeypatch.setattr(type(weights), "url", property(lambda _: url), raising=False)


# ResNets ----------------------------------------------------------------------------------------------------------


def test_resnet_sees_lightness_as_the_grey_picture_it_is(resnet18_file, lightness):
    """One channel in gives what the three-channel network gives of the same picture in all of them."""
    path, network = resnet18_file
    encoder = ResNetEncoder("resnet18", str(path)).eval()
    picture = lightness(2, 1, 64, 64)
    stem = network.relu(network.bn1(network.conv1(grey(picture))))
    expected = [stem, network.layer1(network.maxpool(stem))]
    for layer in (network.layer2, network.layer3, network.layer4):
        expected.append(layer(expected[-1]))
    pyramid = encoder(picture)
    assert len(pyramid) == len(expected) == 5
    for one, other in zip(pyramid, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_widths_of_every_backbone(backbone):
    with torch.device("meta"):
        encoder = ResNetEncoder(backbone, "random")
        pyramid = encoder(torch.empty(1, 1, 64, 96))
    assert encoder.channels == RESNETS[backbone]
    for number, level in enumerate(pyramid):
        assert level.shape == (1, encoder.channels[number], 64 >> (number + 1), 96 >> (number + 1))


@pytest.mark.parametrize("arch", ON_RESNETS)
def test_backbone_keeps_its_weights(build, resnet18_file, arch):
    """The start of the other layers must not touch them."""
    path, network = resnet18_file
    encoder = build(arch, backbone_weights=str(path)).encoder
    assert torch.equal(encoder.stages[3][1].conv2.weight, network.layer4[1].conv2.weight)
    assert torch.equal(encoder.stages[0][0].bn1.running_var, network.layer1[0].bn1.running_var)
    assert torch.allclose(encoder.stem[0].weight, network.conv1.weight.sum(dim=1, keepdim=True))


def test_weights_without_the_classifier_do(resnet18_file, tmp_path):
    path, _ = resnet18_file
    body = {name: value for name, value in torch.load(path).items() if not name.startswith("fc.")}
    torch.save(body, tmp_path / "body.pth")
    assert torch.equal(
        ResNetEncoder("resnet18", str(tmp_path / "body.pth")).stem[0].weight,
        ResNetEncoder("resnet18", str(path)).stem[0].weight,
    )


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50"])
def test_weights_of_another_backbone_are_refused(resnet18_file, backbone):
    path, _ = resnet18_file
    with pytest.raises(InputError, match=f"not {backbone}'s weights"):
        ResNetEncoder(backbone, str(path))


def test_incomplete_weights_are_refused(resnet18_file, tmp_path):
    state = torch.load(resnet18_file[0])
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(InputError, match="not resnet18's weights"):
        ResNetEncoder("resnet18", str(tmp_path / "incomplete.pth"))


# VGG-16 -----------------------------------------------------------------------------------------------------------


def test_vgg16_has_its_14_7_million_parameters():
    with torch.device("meta"):
        encoder = VGGEncoder("random")
    of_colour = 64 * 2 * 9  # the kernels of the two channels that lightness lacks
    assert sum(parameter.numel() for parameter in encoder.parameters()) + of_colour == 14_714_688


def test_vgg16_is_configuration_d_to_its_last_pooling():
    with torch.device("meta"):
        encoder = VGGEncoder("random")
        pyramid = encoder(torch.empty(1, 1, 224, 224))
    widths = [layer.out_channels for layer in encoder.features if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert encoder.features[0].in_channels == 1
    assert isinstance(encoder.features[-1], nn.MaxPool2d)
    # 18 layers of weights and poolings, 7 x 7 x 512 in the end
    assert sum(isinstance(layer, nn.Conv2d | nn.MaxPool2d) for layer in encoder.features) == 18
    assert encoder.channels == [64, 128, 256, 512, 512]
    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)
    ]  # fmt: skip


def test_vgg16_sees_lightness_as_the_grey_picture_it_is(vgg16_file, lightness):
    """Kernels summed, biases and all: fastai's cut leaves the first layer's bias behind."""
    path, features = vgg16_file
    encoder, picture = VGGEncoder(str(path)), lightness(2, 1, 64, 32)
    expected, level = [], grey(picture)
    for layer in features:
        level = layer(level)
        if isinstance(layer, nn.MaxPool2d):
            expected.append(level)
    pyramid = encoder(picture)
    assert len(pyramid) == len(expected) == 5
    for one, other in zip(pyramid, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
    assert torch.equal(encoder.features[0].bias, features[0].bias)


def test_vgg16_starts_with_the_variance_of_he_where_it_is_random(lightness):
    """So that the picture comes through to the innermost level."""
    encoder = VGGEncoder("random")
    for layer in encoder.features:
        if isinstance(layer, nn.Conv2d):
            assert not layer.bias.any()
            if layer.in_channels > 3:
                assert layer.weight.std().item() == pytest.approx((2 / (9 * layer.in_channels)) ** 0.5, rel=0.05)
    innermost = encoder(lightness(2, 1, 64, 64))[-1]
    assert (innermost[0] - innermost[1]).std() > 0.1 * innermost.std()


def test_vgg16_refuses_weights_of_another_network(resnet18_file, vgg16_file, tmp_path):
    with pytest.raises(InputError, match="not vgg16's weights"):
        VGGEncoder(str(resnet18_file[0]))
    with pytest.raises(InputError, match="not resnet18's weights"):
        ResNetEncoder("resnet18", str(vgg16_file[0]))
    state = torch.load(vgg16_file[0])
    del state["features.28.bias"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(InputError, match="not vgg16's weights"):
        VGGEncoder(str(tmp_path / "incomplete.pth"))


# Published weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "weights", "name"),
    [
        ("pretrained_ugan", tv.ResNet18_Weights.IMAGENET1K_V1, "resnet18-f37072fd.pth"),
        ("deoldify", tv.ResNet34_Weights.IMAGENET1K_V1, "resnet34-b627a593.pth"),
        ("vgg16_autoencoder", VGG16, "vgg16-397923af.pth"),
    ],
)
def test_weights_that_are_not_there_are_refused_with_the_option(monkeypatch, nowhere, arch, weights, name):
    assert weights.url.endswith(name)
    move_published(monkeypatch, weights, f"{nowhere}/{name}")
    with pytest.raises(InputError, match=rf"{name} is not in .*--generator\.backbone_weights FILE"):
        build_generator(arch)


def test_published_weights_come_from_torchvisions_cache(resnet18_file, vgg16_file, monkeypatch, nowhere, home):
    cache = home / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    for weights, (path, _) in ((tv.ResNet18_Weights.IMAGENET1K_V1, resnet18_file), (VGG16, vgg16_file)):
        contents = path.read_bytes()
        name = f"{path.stem}-{sha256(contents).hexdigest()[:8]}.pth"
        move_published(monkeypatch, weights, f"{nowhere}/{name}")
        (cache / name).write_bytes(contents)
    encoder = build_generator("pretrained_ugan", backbone_weights="imagenet").encoder
    assert torch.equal(encoder.stages[3][1].conv2.weight, resnet18_file[1].layer4[1].conv2.weight)
    encoder = build_generator("vgg16_autoencoder").encoder  # which has them by default
    assert torch.equal(encoder.features[28].weight, vgg16_file[1][28].weight)


def test_published_weights_of_another_sum_are_refused(vgg16_file, monkeypatch, nowhere, home):
    cache = home / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "vgg16-397923af.pth").write_bytes(vgg16_file[0].read_bytes())
    move_published(monkeypatch, VGG16, f"{nowhere}/vgg16-397923af.pth")
    with pytest.raises(InputError, match="its sha256 is another"):
        build_generator("vgg16_autoencoder")


# Frozen or not ----------------------------------------------------------------------------------------------------


def a_step_of(network: nn.Module, picture: torch.Tensor) -> set[str]:
    """The names of what a step of training changes."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, 1e-2, weight_decay=0.1)
    network(picture).chroma.square().mean().backward()
    optimizer.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("arch", ON_BACKBONES)
def test_a_frozen_backbone_stays_as_it_is(build, lightness, arch):
    network = build(arch, freeze_backbone=True)
    network.eval()
    network.train()  # as the trainer does after every validation
    assert network.training and not any(module.training for module in network.encoder.modules())
    changed = a_step_of(network, lightness(2, 1, 64, 64))
    assert changed and not any(name.startswith("encoder.") for name in changed)
    assert all(parameter.grad is None for parameter in network.encoder.parameters())


@pytest.mark.parametrize("arch", ON_BACKBONES)
def test_another_backbone_learns(build, lightness, arch):
    network = build(arch, freeze_backbone=False)
    network.eval()
    network.train()
    assert all(module.training for module in network.modules())
    changed = a_step_of(network, lightness(2, 1, 64, 64))
    assert changed == set(network.state_dict())  # statistics as well as weights


@pytest.mark.parametrize("arch", ON_BACKBONES)
def test_only_the_vgg16_autoencoder_is_frozen_if_nothing_is_said(build, arch):
    frozen = not any(parameter.requires_grad for parameter in build(arch).encoder.parameters())
    assert frozen == (arch == "vgg16_autoencoder")
