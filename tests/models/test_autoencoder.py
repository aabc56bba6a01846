"""The encoder-decoders on VGG-16 (Zaman 2020) and ResNet-18 (Vazquez 2023)."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gancolor.models import build_generator
from gancolor.models.autoencoder import Autoencoder, resnet18_autoencoder, vgg16_autoencoder

AUTOENCODERS = ["vgg16_autoencoder", "resnet18_autoencoder"]


@pytest.fixture(scope="module")
def settled(build, lightness, settle):
    torch.manual_seed(0)
    return {arch: settle(build(arch), lightness(4, 1, 64, 64, seed=5)) for arch in AUTOENCODERS}


def without_level(network: Autoencoder, cut: int, picture: torch.Tensor) -> torch.Tensor:
    """Return the chroma if one of the encoder's maps is replaced by noise."""

    def replaced(_module, _args, pyramid):
        return [torch.randn_like(level) if number == cut else level for number, level in enumerate(pyramid)]

    handle = network.encoder.register_forward_hook(replaced)
    with torch.no_grad():
        chroma = network(picture).chroma
    handle.remove()
    return chroma


# Layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("builder", "widths"), [(vgg16_autoencoder, [512, 512, 256, 128, 64]), (resnet18_autoencoder, [256, 128, 64, 32])]
)
def test_decoder_layer_by_layer(builder, widths):
    """Blocks of a 3 x 3 convolution, BatchNorm, ReLU and doubling."""
    with torch.device("meta"):
        network = builder(backbone_weights="random")
    before = 512
    for block, width in zip(network.blocks, widths, strict=True):
        convolution, norm, activation, doubling = block
        assert (convolution.in_channels, convolution.out_channels) == (before, width)
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (1, 1), (1, 1))
        assert isinstance(norm, nn.BatchNorm2d) and convolution.bias is None
        assert isinstance(activation, nn.ReLU)
        assert isinstance(doubling, nn.Upsample) and doubling.scale_factor == 2 and doubling.mode == "nearest"
        before = width
    assert (network.to_chroma.in_channels, network.to_chroma.out_channels) == (widths[-1], 2)


def test_vgg16_autoencoder_goes_from_7_by_7_back_to_224():
    with torch.device("meta"):
        network = vgg16_autoencoder(backbone_weights="random").eval()
        sizes = []
        for block in network.blocks:
            block.register_forward_hook(lambda _block, inputs, out: sizes.append((inputs[0].shape, out.shape)))
        chroma = network(torch.empty(1, 1, 224, 224)).chroma
    assert sizes[0][0] == (1, 512, 7, 7)
    assert [out[-1] for _, out in sizes] == [14, 28, 56, 112, 224]
    assert chroma.shape == (1, 2, 224, 224)


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("arch", AUTOENCODERS)
def test_norm_option_replaces_the_decoders_batchnorm(build, arch, norm):
    network = build(arch, norm=norm)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.blocks.modules())
    assert all(block[0].bias is not None for block in network.blocks)
    instances = sum(isinstance(layer, nn.InstanceNorm2d) for layer in network.modules())
    assert instances == (len(network.blocks) if norm == "instance" else 0)


@pytest.mark.parametrize("backbone", ["resnet50", "tf_efficientnet_lite0", "convnext_atto", "vgg11"])
@pytest.mark.parametrize("arch", AUTOENCODERS)
def test_other_backbones_fit(lightness, arch, backbone):
    network = build_generator(arch, backbone=backbone, backbone_weights="random").eval()
    assert network(lightness(1, 1, 33, 32)).chroma.shape == (1, 2, 33, 32)


# The encoder's maps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(6))
def test_every_residual_connection_matters_to_vgg16_autoencoder(settled, lightness, cut):
    network, picture = settled["vgg16_autoencoder"], lightness(1, 1, 64, 64)
    with torch.no_grad():
        usual = network(picture).chroma
    assert not torch.allclose(without_level(network, cut, picture), usual, atol=1e-3)


def test_the_encoders_maps_are_added_after_the_block_of_their_size(build, lightness):
    """If blocks output zero, only the encoder's map is passed on."""
    network, inputs, pyramid = build("vgg16_autoencoder", norm="none").eval(), [], []
    for block in network.blocks:
        nn.init.zeros_(block[0].weight)
        nn.init.zeros_(block[0].bias)
        block.register_forward_pre_hook(lambda _block, args: inputs.append(args[0]))
    network.to_chroma.register_forward_pre_hook(lambda _layer, args: inputs.append(args[0]))
    network.encoder.register_forward_hook(lambda _encoder, _args, out: pyramid.extend(out))
    network(lightness(1, 1, 64, 32))
    for level, entering in zip(pyramid[::-1], inputs, strict=True):
        assert torch.equal(entering, level)


@pytest.mark.parametrize("cut", range(4))
def test_resnet18_autoencoder_has_no_skips(settled, lightness, cut):
    network, picture = settled["resnet18_autoencoder"], lightness(1, 1, 64, 64)
    with torch.no_grad():
        usual = network(picture).chroma
    assert torch.equal(without_level(network, cut, picture), usual)
    assert not torch.allclose(without_level(network, 4, picture), usual, atol=1e-3)


def test_resnet18_autoencoders_last_doubling_is_bilinear(settled, lightness):
    network, half = settled["resnet18_autoencoder"], []
    handle = network.to_chroma.register_forward_hook(lambda _layer, _args, out: half.append(out.tanh()))
    with torch.no_grad():
        chroma = network(lightness(1, 1, 64, 96)).chroma
    handle.remove()
    assert half[0].shape == (1, 2, 32, 48)
    assert torch.equal(chroma, F.interpolate(half[0], (64, 96), mode="bilinear", align_corners=False))


def test_vgg16_autoencoders_chroma_is_not_resized(settled, lightness):
    network, whole = settled["vgg16_autoencoder"], []
    handle = network.to_chroma.register_forward_hook(lambda _layer, _args, out: whole.append(out.tanh()))
    with torch.no_grad():
        chroma = network(lightness(1, 1, 50, 64)).chroma
    handle.remove()
    assert torch.equal(chroma, whole[0][..., :50, :])
