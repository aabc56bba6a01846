"""The U-Nets: pix2pix's, with attention gates, with a ResNet, and DeOldify's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gancolor.models import build_generator, generator_builder
from gancolor.models.encoders import Backbone, PlainEncoder
from gancolor.models.layers import SelfAttention
from gancolor.models.unet import UNet
from gancolor.utils.errors import InputError

PLAIN = ["ugan", "attention_ugan"]
PRETRAINED = ["pretrained_ugan", "pretrained_attention_ugan"]
UGANS = [*PLAIN, *PRETRAINED]
ALL = [*UGANS, "deoldify"]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


# Encoder, skips, decoder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("upsampling", ["transposed", "pixel_shuffle", "nearest"])
@pytest.mark.parametrize("decoder_convs", [0, 1, 2])
@pytest.mark.parametrize("arch", PLAIN)
def test_every_option_trains(build, lightness, arch, norm, upsampling, decoder_convs):
    network = build(arch, norm=norm, upsampling=upsampling, decoder_convs=decoder_convs)
    assert_every_parameter_is_reached(network, lightness(2, 1, 33, 32))


@pytest.mark.parametrize("options", [{}, {"upsampling": "pixel_shuffle", "decoder_convs": 2, "norm": "instance"}])
@pytest.mark.parametrize("arch", [*PRETRAINED, "deoldify"])
def test_every_option_trains_on_a_backbone(build, lightness, arch, options):
    assert_every_parameter_is_reached(build(arch, **options), lightness(2, 1, 64, 33))


def test_deoldify_trains_on_a_backbone_that_starts_at_stride_16(build, lightness):
    """Its self-attention is then in a block without a skip."""
    assert_every_parameter_is_reached(build("deoldify", backbone="efficientvit_m0"), lightness(2, 1, 64, 64))


def assert_every_parameter_is_reached(network: nn.Module, picture: torch.Tensor) -> None:
    chroma = network(picture).chroma
    assert chroma.shape == (len(picture), 2, *picture.shape[-2:])
    # a weighted sum, because BatchNorm makes the plain sum constant
    (chroma * torch.linspace(-1, 2, chroma.numel()).view_as(chroma)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), f"{name} gets no gradient"


@pytest.mark.parametrize("arch", UGANS)
def test_encoder_learns_through_skips_only(build, lightness, arch):
    """If the innermost level is cut, gradients still reach every other level."""
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


@pytest.mark.parametrize("arch", ALL)
def test_each_skip_reaches_the_picture(build, lightness, settle, arch):
    picture = lightness(2, 1, 64, 64)
    network = settle(build(arch), picture)
    usual = network(picture).chroma
    for cut in range(len(network.encoder.channels)):

        def without(_module, _args, pyramid, cut=cut):
            return [torch.zeros_like(level) if number == cut else level for number, level in enumerate(pyramid)]

        handle = network.encoder.register_forward_hook(without)
        assert not torch.allclose(network(picture).chroma, usual, atol=1e-7), f"level {cut} goes nowhere"
        handle.remove()


@pytest.mark.parametrize("arch", ALL)
def test_training_is_not_deterministic_with_dropout(build, lightness, arch):
    picture = lightness(2, 1, 64, 64)
    for dropout in (0.5, 0.0):
        network = build(arch, dropout=dropout)
        for layer in network.modules():  # their power iteration continues in every pass
            if is_parametrized(layer):
                layer.parametrizations.weight.eval()
        network(picture)
        assert torch.equal(network(picture).chroma, network(picture).chroma) == (not dropout)


@pytest.mark.parametrize("arch", ALL)
def test_only_attention_architectures_have_gates(build, arch):
    network = build(arch)
    skips = zip(network.strides, network.blocks, strict=False)
    gated = [block.gate is not None for stride, block in skips if stride in network.encoder.strides]
    assert gated == [("attention" in arch)] * (len(network.encoder.strides) - 1)
    assert isinstance(network.encoder, PlainEncoder if arch in PLAIN else Backbone)


def test_gates_close_the_skips(build, lightness):
    """If psi closes the gate everywhere, the skip has no effect."""
    network = build("attention_ugan").eval()
    for block in network.blocks:
        nn.init.constant_(block.gate.psi.bias, -1e4)
    picture = lightness(1, 1, 32, 32)
    usual = network(picture).chroma

    def other(_module, _args, pyramid):
        return [*[torch.randn_like(level) for level in pyramid[:-1]], pyramid[-1]]

    network.encoder.register_forward_hook(other)
    assert torch.allclose(network(picture).chroma, usual, atol=1e-6)


def test_lightness_is_the_skip_without_an_encoder_map(build, lightness):
    """At full size and, with a ConvNeXt, which starts at a quarter of it, at half size too."""
    network, skips = build("pretrained_attention_ugan", backbone="convnext_atto", decoder_convs=1), []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda _block, inputs: skips.append(inputs[1]))
    picture = lightness(1, 1, 64, 96)
    network(picture)
    assert network.strides == [16, 8, 4, 2, 1]
    assert [block.gate is not None for block in network.blocks] == [True, True, True, False, False]
    assert torch.equal(skips[4], picture)
    assert torch.allclose(skips[3], F.avg_pool2d(picture, 2))
    assert [skip.shape[1] for skip in skips] == [160, 80, 40, 1, 1]


def test_decoder_without_convolutions_uses_only_encoder_maps(build, lightness):
    network = build("pretrained_ugan", backbone="convnext_atto")
    picture = lightness(1, 1, 64, 96)
    assert [block.channels for block in network.blocks] == [320, 160, 80, 20]
    assert network(picture).chroma.shape == (1, 2, 64, 96)


# Options of the decoder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convs", [0, 2])
@pytest.mark.parametrize("arch", [*ALL, "convnext"])
def test_half_size_chroma_is_upsampled_in_the_network(build, lightness, arch, convs):
    """Full size in, full size out; between, chroma at half the size, and no block beyond it."""
    options = {"chroma_stride": 2, "decoder_convs": convs}
    options |= {"backbone": "convnext_atto"} if arch == "convnext" else {}
    network = build("pretrained_ugan" if arch == "convnext" else arch, **options).eval()
    half = []
    network.to_chroma.register_forward_hook(lambda _layer, _args, out: half.append(out.tanh()))
    chroma = network(lightness(2, 1, 64, 96)).chroma
    assert half[0].shape == (2, 2, 32, 48)
    assert network.strides[-1] == 2
    assert torch.equal(chroma, F.interpolate(half[0], (64, 96), mode="bilinear", align_corners=False))
    assert network(lightness(1, 1, 33, 50)).chroma.shape == (1, 2, 33, 50)


@pytest.mark.parametrize("arch", ALL)
def test_decoder_widths_are_as_given(build, arch):
    blocks = len(build(arch, decoder_convs=1).blocks)
    widths = list(range(20, 20 + 4 * blocks, 4))
    network = build(arch, decoder_convs=1, decoder_widths=widths)
    assert [block.channels for block in network.blocks] == widths
    assert [block.refine[1].out_channels for block in network.blocks] == widths


@pytest.mark.parametrize(("options", "blocks"), [({}, 4), ({"decoder_convs": 1}, 5), ({"chroma_stride": 2}, 4)])
def test_wrong_number_of_decoder_widths_is_refused(build, options, blocks):
    with pytest.raises(InputError, match=rf"--generator.decoder_widths \[8, 8\]: this decoder has {blocks} blocks"):
        build("pretrained_ugan", decoder_widths=[8, 8], **options)


@pytest.mark.parametrize("arch", ALL)
def test_skip_norm_normalises_skips(build, lightness, arch):
    network, plain = build(arch, skip_norm=True), build(arch)
    norms = [block.skip_norm for block in network.blocks if isinstance(block.skip_norm, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == network.encoder.channels[-2::-1]
    assert not any(isinstance(block.skip_norm, nn.BatchNorm2d) for block in plain.blocks)
    normalized = []
    norms[0].register_forward_hook(lambda _layer, _args, out: normalized.append(out))
    network(lightness(4, 1, 64, 64))
    assert normalized[0].mean().abs() < 0.1
    assert_every_parameter_is_reached(network, lightness(2, 1, 64, 64))


@pytest.mark.parametrize(("size", "levels"), [(16, 4), (31, 4), (32, 5), (64, 6), (128, 7), (256, 8), (512, 8)])
def test_default_depth_reduces_the_size_to_1(size, levels):
    network = build_generator("ugan", width=1, size=size)
    assert len(network.encoder.levels) == levels


@pytest.mark.parametrize("depth", [1, 6, 99])
@pytest.mark.parametrize("arch", PLAIN)
def test_depth_too_large_for_the_size_is_refused(arch, depth):
    with pytest.raises(InputError, match=rf"--generator.depth {depth}: 32 pixels allow 2 to 5"):
        build_generator(arch, depth=depth, size=32)


# pix2pix, layer by layer ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pix2pix():
    """Full-size network, on the meta device if weights don't matter."""
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
    activation, convolution = pix2pix.to_chroma
    assert isinstance(convolution, nn.ConvTranspose2d)
    assert isinstance(activation, nn.ReLU)
    assert (convolution.in_channels, convolution.out_channels, convolution.bias.shape) == (128, 2, (2,))


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_convolutions_have_biases_where_no_batchnorm_follows(build, norm):
    network = build("ugan", norm=norm)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.bias is not None
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_convolution_initialisation_matches_pix2pix(build):
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
def test_outermost_blocks_have_no_dropout_however_few_there_are(build, depth):
    network = build("ugan", depth=depth, size=256, width=1, dropout=0.3)
    dropouts = [block.up[3].p for block in network.blocks]
    with_dropout = min(3, max(depth - 3, 0))
    assert dropouts == [0.0, *[0.3] * with_dropout, *[0.0] * (depth - 1 - with_dropout)][: depth - 1]


# DeOldify ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"upsampling": "transposed", "decoder_convs": 0}])
def test_deoldify_has_spectral_norm_on_every_convolution_of_the_decoder(build, options):
    network = build("deoldify", **options)
    own = [layer for layer in network.encoder.modules() if isinstance(layer, CONVOLUTIONS)]
    decoders = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, CONVOLUTIONS) and not name.startswith("encoder.")
    }
    assert own and not any(map(is_parametrized, own))
    assert len(decoders) == (8 if options else 19)
    for name, layer in decoders.items():
        assert is_parametrized(layer, "weight"), name


def test_deoldify_weights_have_spectral_norm_1(build, lightness):
    network = build("deoldify")
    for _ in range(10):  # of the power iteration
        network(lightness(2, 1, 32, 32))
    for name, layer in network.eval().named_modules():
        if is_parametrized(layer) and isinstance(layer, CONVOLUTIONS):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1), name


def test_deoldify_attends_once_at_an_eighth_of_the_size(build, lightness):
    network, seen = build("deoldify", backbone="resnet18"), []
    (attention,) = (layer for layer in network.modules() if isinstance(layer, SelfAttention))
    attention.register_forward_hook(lambda _layer, inputs, out: seen.append((inputs[0].shape, out.shape)))
    network(lightness(2, 1, 64, 96))
    assert seen == [((2, 128, 8, 12), (2, 128, 8, 12))]


def test_deoldify_attention_starts_at_zero_and_learns(lightness):
    network = build_generator("deoldify", backbone="resnet18", backbone_weights="random")
    (attention,) = (layer for layer in network.modules() if isinstance(layer, SelfAttention))
    assert attention.gamma.item() == 0
    network(lightness(2, 1, 64, 64)).chroma.square().sum().backward()
    assert attention.gamma.grad.any()
    assert not attention.query.parametrizations.weight.original.grad.any()


def test_deoldify_matches_the_artistic_model():
    with torch.device("meta"):
        network = generator_builder("deoldify")(backbone_weights="random")
    stages = [network.encoder.network[f"layer{number}"] for number in (1, 2, 3, 4)]
    assert [len(stage) for stage in stages] == [3, 4, 6, 3]  # ResNet-34
    assert sum(isinstance(layer, nn.PixelShuffle) for layer in network.modules()) == 5
    assert [len(block.refine) // 3 for block in network.blocks] == [2] * 5
    assert all(block.up[3].p == 0 for block in network.blocks)
    norms = [layer for layer in network.blocks.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 5 * 3


def test_only_deoldify_has_self_attention_and_spectral_norm(build):
    for arch in UGANS:
        modules = list(build(arch).modules())
        assert not any(isinstance(layer, SelfAttention) or is_parametrized(layer) for layer in modules)


def test_copy_of_deoldify_is_independent(build, lightness):
    """The copy (such as the EMA generator) must have its own spectral norm vectors."""
    network, picture = build("deoldify"), lightness(2, 1, 32, 32)
    network(picture)
    twin = copy.deepcopy(network).eval()
    expected = twin(picture).chroma
    for _ in range(3):
        network(picture)
    assert torch.equal(twin(picture).chroma, expected)
