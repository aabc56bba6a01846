"""What every generator promises, over the table of them, and what each is made of."""

import copy
import inspect
from hashlib import sha256

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet18

from gancolor.errors import InputError
from gancolor.models import GENERATORS, Prediction, UNet, build_generator
from gancolor.models.encoders import GREY_MEAN, GREY_STD, RESNETS, PlainEncoder, ResNetEncoder
from gancolor.models.unet import DecoderBlock

ARCHITECTURES = list(GENERATORS)
PLAIN = [arch for arch in ARCHITECTURES if "pretrained" not in arch]
PRETRAINED = [arch for arch in ARCHITECTURES if "pretrained" in arch]


def build(arch: str, **options: object) -> UNet:
    return build_generator(arch, **{"width": 4, "size": 32, "backbone_weights": "random", **options})


def lightness(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def evaluated():
    """Every architecture, ready to use, with the statistics of some pictures."""
    torch.manual_seed(0)
    networks = {arch: build(arch) for arch in ARCHITECTURES}
    with torch.no_grad():
        for network in networks.values():
            network(lightness(4, 1, 64, 64))
    return {arch: network.eval() for arch, network in networks.items()}


# The family -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 33), (32, 32), (64, 48), (100, 31)])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_any_size_goes_in_and_the_same_comes_out(evaluated, arch, size):
    with torch.no_grad():
        prediction = evaluated[arch](lightness(2, 1, *size))
    assert isinstance(prediction, Prediction)
    assert prediction.chroma.shape == (2, 2, *size)
    assert prediction.chroma.isfinite().all() and prediction.chroma.abs().max() <= 1
    assert prediction.scene_logits is None and prediction.bin_logits is None


@settings(max_examples=15)
@given(batch=st.integers(1, 3), height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size_at_all(evaluated, batch, height, width):
    for arch in PLAIN:
        with torch.no_grad():
            assert evaluated[arch](lightness(batch, 1, height, width)).chroma.shape == (batch, 2, height, width)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_padding_is_by_replication_on_the_far_sides(evaluated, arch):
    """What a user would get from padding and cropping by hand."""
    picture = lightness(1, 1, 50, 33)
    by_hand = torch.cat([picture, picture[..., -1:].expand(-1, -1, -1, 31)], dim=-1)
    by_hand = torch.cat([by_hand, by_hand[..., -1:, :].expand(-1, -1, 14, -1)], dim=-2)
    with torch.no_grad():
        expected = evaluated[arch](by_hand).chroma[..., :50, :33]
        assert torch.allclose(evaluated[arch](picture).chroma, expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("upsampling", ["transposed", "pixel_shuffle", "nearest"])
@pytest.mark.parametrize("decoder_convs", [0, 1, 2])
@pytest.mark.parametrize("arch", PLAIN)
def test_every_option_trains(arch, norm, upsampling, decoder_convs):
    network = build(arch, norm=norm, upsampling=upsampling, decoder_convs=decoder_convs)
    assert_every_parameter_is_reached(network, lightness(2, 1, 33, 32))


@pytest.mark.parametrize("options", [{}, {"upsampling": "pixel_shuffle", "decoder_convs": 2, "norm": "instance"}])
@pytest.mark.parametrize("arch", PRETRAINED)
def test_every_option_trains_on_a_backbone(arch, options):
    assert_every_parameter_is_reached(build(arch, **options), lightness(2, 1, 64, 33))


def assert_every_parameter_is_reached(network: nn.Module, picture: torch.Tensor) -> None:
    chroma = network(picture).chroma
    assert chroma.shape == (len(picture), 2, *picture.shape[-2:])
    # not symmetrical: BatchNorm's output has a sum of its own, whatever goes in
    (chroma * torch.linspace(-1, 2, chroma.numel()).view_as(chroma)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), f"{name} gets no gradient"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_one_picture_trains(arch):
    """A batch of one, as in pix2pix."""
    network = build(arch)
    network(lightness(1, 1, 64, 64)).chroma.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_encoder_learns_through_the_skips_alone(arch):
    """With the way through the innermost level cut, gradients still come to every level above it."""
    network = build(arch)
    nn.init.zeros_(network.blocks[0].up[1].weight)
    if network.blocks[0].gate is not None:
        nn.init.zeros_(network.blocks[0].gate.phi.weight)
    pyramid = []
    network.encoder.register_forward_hook(lambda *call: pyramid.extend(call[2]))
    chroma = network(lightness(2, 1, 64, 64)).chroma
    for level in pyramid:
        level.retain_grad()
    chroma.square().sum().backward()
    assert not pyramid[-1].grad.any()
    for level in pyramid[:-1]:
        assert level.grad.any()
    first = next(network.encoder.parameters())
    assert first.grad.any()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_each_skip_reaches_the_picture(evaluated, arch):
    network = copy.deepcopy(evaluated[arch])
    picture = lightness(1, 1, 64, 64)
    levels = len(network.encoder.channels)
    usual = network(picture).chroma
    for cut in range(levels):

        def without(_module, _args, pyramid, cut=cut):
            return [torch.zeros_like(level) if number == cut else level for number, level in enumerate(pyramid)]

        handle = network.encoder.register_forward_hook(without)
        assert not torch.allclose(network(picture).chroma, usual, atol=1e-7), f"level {cut} goes nowhere"
        handle.remove()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_evaluation_is_deterministic_and_training_is_not(arch):
    network = build(arch, dropout=0.5)
    picture = lightness(2, 1, 64, 64)
    network(picture)
    assert not torch.equal(network(picture).chroma, network(picture).chroma)  # dropout
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(picture).chroma, network(picture).chroma)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_pictures_of_a_batch_have_nothing_to_do_with_each_other(evaluated, arch):
    pictures = lightness(3, 1, 64, 64)
    with torch.no_grad():
        together = evaluated[arch](pictures).chroma
        for number in range(3):
            assert torch.allclose(evaluated[arch](pictures[number : number + 1]).chroma[0], together[number], atol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_deep_copy_is_the_same_and_its_own(evaluated, arch):
    picture = lightness(1, 1, 32, 32)
    twin = copy.deepcopy(evaluated[arch])
    with torch.no_grad():
        assert torch.equal(twin(picture).chroma, evaluated[arch](picture).chroma)
        before = evaluated[arch](picture).chroma
        for parameter in twin.parameters():
            parameter.mul_(2)
        assert torch.equal(evaluated[arch](picture).chroma, before)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_same_seed_same_network(arch):
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build(arch, upsampling="pixel_shuffle").state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_skips_are_values_not_hooks(arch):
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in build(arch).modules())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_channels_last_gives_the_same(evaluated, arch):
    picture = lightness(2, 1, 33, 64)
    with torch.no_grad():
        usual = evaluated[arch](picture).chroma
        network = copy.deepcopy(evaluated[arch]).to(memory_format=torch.channels_last)
        assert torch.allclose(network(picture).chroma, usual, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_gates_are_where_the_name_says(arch):
    network = build(arch)
    assert all((block.gate is not None) == ("attention" in arch) for block in network.blocks)
    assert isinstance(network.encoder, ResNetEncoder if "pretrained" in arch else PlainEncoder)


def test_gates_close_the_skips():
    """With psi saying no everywhere, what lies in a skip does not matter."""
    network = build("attention_ugan").eval()
    for block in network.blocks:
        nn.init.constant_(block.gate.psi.bias, -1e4)
    picture = lightness(1, 1, 32, 32)
    usual = network(picture).chroma

    def other(_module, _args, pyramid):
        return [*[torch.randn_like(level) for level in pyramid[:-1]], pyramid[-1]]

    network.encoder.register_forward_hook(other)
    assert torch.allclose(network(picture).chroma, usual, atol=1e-6)


# Builders ---------------------------------------------------------------------------------------------------------


def test_builders_take_plain_arguments():
    for builder in GENERATORS.values():
        assert all(p.default is not inspect.Parameter.empty for p in inspect.signature(builder).parameters.values())


def test_unknown_architecture_is_refused_with_the_choices():
    with pytest.raises(InputError, match=r"unet3000.*attention_ugan"):
        build_generator("unet3000")


def test_option_that_no_architecture_has_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        build_generator("ugan", colour=1)


def test_options_of_other_architectures_are_passed_over():
    assert isinstance(build_generator("ugan", width=2, size=16, backbone="resnet50"), UNet)


@pytest.mark.parametrize(("size", "levels"), [(16, 4), (31, 4), (32, 5), (64, 6), (128, 7), (256, 8), (512, 8)])
def test_depth_brings_the_size_down_to_1(size, levels):
    network = build_generator("ugan", width=1, size=size)
    assert len(network.encoder.levels) == levels


@pytest.mark.parametrize("depth", [1, 6, 99])
def test_depth_that_the_size_does_not_take_is_refused(depth):
    with pytest.raises(InputError, match=rf"--generator.depth {depth}: 32 pixels take 2 to 5"):
        build_generator("ugan", depth=depth, size=32)


# pix2pix, layer by layer ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pix2pix():
    """The whole thing, in memory's shape only where weights don't matter."""
    with torch.device("meta"):
        return UNet(PlainEncoder(64, 8))


def test_pix2pix_has_its_number_of_parameters(pix2pix):
    assert sum(parameter.numel() for parameter in pix2pix.parameters()) == 54_409_858
    with torch.device("meta"):
        built = build_generator("ugan")
    assert sum(parameter.numel() for parameter in built.parameters()) == 54_409_858


WIDTHS = [64, 128, 256, 512, 512, 512, 512, 512]


def test_pix2pix_encoder(pix2pix):
    """4 x 4 of stride 2; LeakyReLU before all but the first; no norm in the first and the innermost."""
    assert pix2pix.encoder.channels == WIDTHS
    before = 1
    for number, (level, channels) in enumerate(zip(pix2pix.encoder.levels, WIDTHS, strict=True)):
        activation, convolution, norm = level
        assert isinstance(activation, nn.LeakyReLU if number else nn.Identity)
        assert not number or activation.negative_slope == 0.2
        assert (convolution.in_channels, convolution.out_channels) == (before, channels)
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((4, 4), (2, 2), (1, 1))
        assert convolution.bias is None
        assert isinstance(norm, nn.Identity if number in (0, 7) else nn.BatchNorm2d)
        before = channels


def test_pix2pix_decoder(pix2pix):
    """Transposed 4 x 4 of stride 2, ReLU before, BatchNorm after, dropout in the three next to the innermost one."""
    before = 512
    skips = WIDTHS[-2::-1]
    assert len(pix2pix.blocks) == 7
    for number, (block, channels) in enumerate(zip(pix2pix.blocks, skips, strict=True)):
        activation, convolution, norm, dropout = block.up
        assert isinstance(activation, nn.ReLU)
        assert isinstance(convolution, nn.ConvTranspose2d)
        assert (convolution.in_channels, convolution.out_channels) == (before, channels)
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((4, 4), (2, 2), (1, 1))
        assert convolution.bias is None
        assert isinstance(norm, nn.BatchNorm2d)
        assert dropout.p == (0.5 if number in (1, 2, 3) else 0.0)
        assert len(block.refine) == 0 and block.gate is None
        before = 2 * channels
    activation, convolution = pix2pix.head
    assert isinstance(activation, nn.ReLU)
    assert (convolution.in_channels, convolution.out_channels, convolution.bias.shape) == (128, 2, (2,))


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_convolutions_have_biases_where_no_batchnorm_follows(norm):
    network = build("ugan", norm=norm)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.bias is not None
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_convolutions_start_as_pix2pixs():
    torch.manual_seed(0)
    network = build("ugan", width=16, size=64)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 2000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert abs(layer.weight.mean().item()) < 0.002
    scales = torch.cat([layer.weight for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=0.005)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6, 8])
def test_outermost_blocks_have_no_dropout_however_few_there_are(depth):
    network = build("ugan", depth=depth, size=256, width=1, dropout=0.3)
    dropouts = [block.up[3].p for block in network.blocks]
    with_dropout = min(3, max(depth - 3, 0))
    assert dropouts == [0.0, *[0.3] * with_dropout, *[0.0] * (depth - 1 - with_dropout)][: depth - 1]


def test_lightness_is_joined_on_at_full_size_where_there_are_convolutions():
    network = build("ugan", decoder_convs=1)
    assert isinstance(network.head, DecoderBlock)
    assert network.head.refine[1].in_channels == network.head.up[1].out_channels + 1
    assert network.head.gate is None


# Pretrained backbones ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A ResNet-18 of random weights, as a file in torchvision's layout, with statistics that are not the start's."""
    torch.manual_seed(2)
    network = resnet18(weights=None)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    path = tmp_path_factory.mktemp("backbone") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return path, network.eval()


def test_first_layer_sees_lightness_as_the_grey_picture_it_is(imagenet):
    """One channel in gives what the three-channel network gives of the same picture in all of them."""
    path, network = imagenet
    encoder = ResNetEncoder("resnet18", str(path)).eval()
    picture = lightness(2, 1, 64, 64)
    grey = (((picture + 1) / 2 - GREY_MEAN) / GREY_STD).expand(-1, 3, -1, -1)
    stem = network.relu(network.bn1(network.conv1(grey)))
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
    assert encoder.channels == RESNETS[backbone][2]
    for number, level in enumerate(pyramid):
        assert level.shape == (1, encoder.channels[number], 64 >> (number + 1), 96 >> (number + 1))


@pytest.mark.parametrize("arch", PRETRAINED)
def test_backbone_keeps_its_weights(imagenet, arch):
    """The start of the other layers must not touch them."""
    path, network = imagenet
    encoder = build(arch, backbone_weights=str(path)).encoder
    assert torch.equal(encoder.stages[3][1].conv2.weight, network.layer4[1].conv2.weight)
    assert torch.equal(encoder.stages[0][0].bn1.running_var, network.layer1[0].bn1.running_var)
    assert torch.allclose(encoder.stem[0].weight, network.conv1.weight.sum(dim=1, keepdim=True))


def test_weights_without_the_classifier_do(imagenet, tmp_path):
    path, _ = imagenet
    body = {name: value for name, value in torch.load(path).items() if not name.startswith("fc.")}
    torch.save(body, tmp_path / "body.pth")
    assert torch.equal(
        ResNetEncoder("resnet18", str(tmp_path / "body.pth")).stem[0].weight,
        ResNetEncoder("resnet18", str(path)).stem[0].weight,
    )


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50"])
def test_weights_of_another_backbone_are_refused(imagenet, backbone):
    path, _ = imagenet
    with pytest.raises(InputError, match=f"not {backbone}'s weights"):
        ResNetEncoder(backbone, str(path))


def test_incomplete_weights_are_refused(imagenet, tmp_path):
    state = torch.load(imagenet[0])
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(InputError, match="not resnet18's weights"):
        ResNetEncoder("resnet18", str(tmp_path / "incomplete.pth"))


def test_weights_that_are_not_there_are_refused_with_the_option(monkeypatch, nowhere):
    published = RESNETS["resnet18"][1]
    monkeypatch.setattr(
        type(published), "url", property(lambda _: f"{nowhere}/resnet18-f37072fd.pth"), raising=False
    )  # fmt: skip
    with pytest.raises(InputError, match=r"resnet18-f37072fd\.pth is not in .*--generator\.backbone_weights FILE"):
        build_generator("pretrained_ugan")


def test_published_weights_come_from_torchvisions_cache(imagenet, monkeypatch, nowhere, home):
    contents = imagenet[0].read_bytes()
    name = f"resnet18-{sha256(contents).hexdigest()[:8]}.pth"
    monkeypatch.setattr(type(RESNETS["resnet18"][1]), "url", property(lambda _: f"{nowhere}/{name}"), raising=False)
    cache = home / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / name).write_bytes(contents)
    encoder = build_generator("pretrained_ugan", backbone_weights="imagenet").encoder
    assert torch.equal(encoder.stages[3][1].conv2.weight, imagenet[1].layer4[1].conv2.weight)
