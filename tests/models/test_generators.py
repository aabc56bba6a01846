"""Properties that all generators share. The other files here test the layers of each."""

import copy
import inspect
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gancolor.choices import ARCHITECTURES
from gancolor.export.formats import _prepare as prepare_for_tracing
from gancolor.models import build_generator, generator_builder, generator_options, takes_hints
from gancolor.models.checkpoint import export_generator, load_generator
from gancolor.models.output import GeneratorOutput
from gancolor.utils.errors import InputError

ARCHITECTURES = list(ARCHITECTURES)
ON_BACKBONES = [arch for arch in ARCHITECTURES if "backbone_weights" in generator_options(arch)]
WITH_FULLY_CONNECTED = ["ltbc", "ltbc_no_classifier"]
BINS = {"eccv16": 313, "siggraph17": 529}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def said(prediction: GeneratorOutput) -> list[torch.Tensor]:
    return [answer for answer in prediction if answer is not None]


def assert_same(one: GeneratorOutput, other: GeneratorOutput, atol: float = 0.0, rtol: float = 0.0) -> None:
    assert len(said(one)) == len(said(other))
    for mine, its in zip(said(one), said(other), strict=True):
        assert mine.shape == its.shape
        assert torch.allclose(mine.double(), its.double(), rtol=rtol, atol=atol), (mine - its).abs().max()


def total(prediction: GeneratorOutput) -> torch.Tensor:
    """Return a scalar to differentiate: a weighted sum, because BatchNorm makes the plain sum constant."""
    answers = [answer.float() for answer in said(prediction)]
    return torch.stack([(a * torch.linspace(-1, 2, a.numel()).view_as(a)).sum() for a in answers]).sum()


@pytest.fixture(scope="module")
def evaluated(build, lightness, settle):
    """Every architecture in eval mode, built when it is first used: the test of the example needs only one."""

    class Evaluated(dict):
        def __missing__(self, arch):
            torch.manual_seed(0)
            self[arch] = settle(build(arch, classes=3), lightness(4, 1, 64, 64, seed=9))
            return self[arch]

    return Evaluated()


# What goes in and comes out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 33), (32, 32), (64, 48), (100, 31)])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_output_has_the_size_of_the_input(evaluated, lightness, arch, size):
    with torch.no_grad():
        prediction = evaluated[arch](lightness(2, 1, *size))
    assert isinstance(prediction, GeneratorOutput)
    assert prediction.chroma.shape == (2, 2, *size)
    assert all(answer.isfinite().all() for answer in said(prediction))
    assert prediction.chroma.abs().max() <= 1


@settings(max_examples=12)
@given(batch=st.integers(1, 2), height=st.integers(1, 70), width=st.integers(1, 70))
def test_output_of_random_sizes_has_the_size_of_the_input(evaluated, lightness, batch, height, width):
    for arch in ARCHITECTURES:
        if arch not in ON_BACKBONES:  # these are slow, and pad like the others
            with torch.no_grad():
                assert evaluated[arch](lightness(batch, 1, height, width)).chroma.shape == (batch, 2, height, width)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if arch not in ON_BACKBONES] + ON_BACKBONES[-2:])
def test_single_pixels_work_with_every_norm(build, arch, norm):
    prediction = build(arch, norm=norm).eval()(torch.zeros(1, 1, 1, 1))
    assert prediction.chroma.shape == (1, 2, 1, 1) and prediction.chroma.isfinite().all()


@pytest.mark.parametrize("size", [(33, 64), (32, 32)])  # ltbc has a separate code path at its global_size
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_only_classifying_architectures_return_scene_and_bin_logits(evaluated, lightness, arch, size):
    with torch.no_grad():
        prediction = evaluated[arch](lightness(2, 1, *size))
    assert (prediction.scene_logits is not None) == (arch == "ltbc")
    assert (prediction.bin_logits is not None) == (arch in BINS)
    if arch == "ltbc":
        assert prediction.scene_logits.shape == (2, 3)
    if arch in BINS:
        assert prediction.bin_logits.shape == (2, BINS[arch], -(-size[0] // 4), size[1] // 4)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_padding_is_by_replication_on_the_far_sides(evaluated, lightness, arch):
    """The result equals padding and cropping by hand."""
    picture = lightness(1, 1, 50, 33)
    stride = getattr(evaluated[arch], "stride", 1)
    below, right = -50 % stride, -33 % stride
    by_hand = torch.cat([picture, picture[..., -1:].expand(-1, -1, -1, right)], dim=-1)
    by_hand = torch.cat([by_hand, by_hand[..., -1:, :].expand(-1, -1, below, -1)], dim=-2)
    with torch.no_grad():
        expected = evaluated[arch](by_hand).chroma[..., :50, :33]
        assert torch.allclose(evaluated[arch](picture).chroma, expected, atol=1e-6)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_pictures_of_a_batch_are_independent(evaluated, lightness, arch):
    pictures = lightness(3, 1, 40, 33)
    with torch.no_grad():
        together = evaluated[arch](pictures)
        for number in range(3):
            alone = evaluated[arch](pictures[number : number + 1])
            picked = GeneratorOutput(*(a if a is None else a[number : number + 1] for a in together))
            assert_same(alone, picked, atol=1e-4, rtol=1e-3)
    assert not torch.equal(together.chroma[0], together.chroma[1])


# Training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "norm"),
    [
        (arch, norm)
        for arch in ARCHITECTURES
        for norm in ("batch", "instance", "none")[: 1 if arch in ON_BACKBONES else 3]
    ],
)
def test_every_parameter_gets_a_gradient(build, lightness, arch, norm):
    # In narrower networks, a whole layer can be dead.
    network = build(arch, width=16, norm=norm, classes=3, freeze_backbone=False).train()
    total(network(lightness(3, 1, 33, 32))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # InstanceNorm removes constants, so biases have no effect, as in pix2pix.
        assert parameter.grad.any() or (norm == "instance" and name.endswith("bias")), f"{name} gets no gradient"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_one_picture_trains(build, lightness, arch):
    """A batch of one, as in pix2pix. BatchNorm over a vector is what needs two."""
    network = build(arch, classes=3, freeze_backbone=False, norm="none" if arch in WITH_FULLY_CONNECTED else "batch")
    total(network.train()(lightness(1, 1, 64, 64))).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("arch", WITH_FULLY_CONNECTED)
def test_one_picture_is_too_few_for_batchnorm_over_vectors(build, lightness, arch):
    with pytest.raises(ValueError, match="more than 1 value"):
        build(arch).train()(lightness(1, 1, 64, 64))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_training_updates_statistics_and_evaluation_does_not(build, lightness, arch):
    network = build(arch, freeze_backbone=False)
    picture = lightness(2, 1, 64, 64)
    for training in (False, True):
        network.train(training)
        before = {name: buffer.clone() for name, buffer in network.named_buffers()}
        with torch.no_grad():
            network(picture)
        statistics = {name for name in before if name.endswith(STATISTICS)}
        changed = {name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])}
        assert changed >= statistics if training else not changed
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(statistics) == 3 * len(norms)


@pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if "dropout" not in generator_options(arch)])
def test_training_without_dropout_is_deterministic(build, lightness, arch):
    network, picture = build(arch, classes=3).train(), lightness(2, 1, 40, 32)
    with torch.no_grad():
        assert_same(network(picture), network(picture))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_evaluation_is_deterministic(evaluated, lightness, arch):
    picture = lightness(2, 1, 64, 64)
    with torch.no_grad():
        assert_same(evaluated[arch](picture), evaluated[arch](picture))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_training_steps_reduce_the_loss(build, lightness, arch):
    """A few steps of Adam lower the error of one batch, starting from random weights."""
    network = build(arch, dropout=0.0, freeze_backbone=False).train()
    picture, truth = lightness(2, 1, 32, 32), torch.tensor([0.3, -0.2])[:, None, None].expand(2, -1, 32, 32)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3 if arch not in ON_BACKBONES else 1e-3)
    errors = []
    for _ in range(5 if arch in ON_BACKBONES else 20):
        error = (network(picture).chroma - truth).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.9 * errors[0]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bfloat16_trains(build, lightness, arch):
    network = build(arch, classes=3, freeze_backbone=False).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = network(lightness(2, 1, 24, 32))
    assert prediction.chroma.shape == (2, 2, 24, 32) and prediction.chroma.abs().max() <= 1
    total(prediction).backward()
    for name, parameter in network.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


# The same network, elsewhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bfloat16_gives_nearly_the_same(evaluated, lightness, arch):
    picture = lightness(2, 1, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        chroma = evaluated[arch](picture).chroma.float()
    with torch.no_grad():
        expected = evaluated[arch](picture).chroma
    assert (chroma - expected).abs().mean() < 0.1  # of some 0.4


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_generators_work_in_other_dtypes(evaluated, lightness, arch, dtype):
    network = copy.deepcopy(evaluated[arch]).to(dtype)
    picture = lightness(1, 1, 40, 33)
    with torch.no_grad():
        expected = evaluated[arch](picture).chroma
        assert (network(picture.to(dtype)).chroma - expected).abs().mean() < (0.2 if dtype == torch.bfloat16 else 1e-5)
        if takes_hints(network):
            hints = torch.rand(1, 3, 40, 33, generator=torch.Generator().manual_seed(1)).round()
            expected = evaluated[arch](picture, hints).chroma
            hinted = network(picture.to(dtype), hints.to(dtype)).chroma
            assert (hinted - expected).abs().mean() < (0.2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_channels_last_gives_the_same(evaluated, lightness, arch):
    picture = lightness(2, 1, 33, 64)
    with torch.no_grad():
        usual = evaluated[arch](picture)
        network = copy.deepcopy(evaluated[arch]).to(memory_format=torch.channels_last)
        assert_same(network(picture.to(memory_format=torch.channels_last)), usual, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (33, 65)])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_traced_for_an_export_computes_the_same(evaluated, build, lightness, arch, size):
    """Tracing takes seconds and is tested with few architectures; it changes how all pad."""
    given = lightness(2, 1, *size, seed=4)
    same = build(arch, classes=3)
    same.load_state_dict(evaluated[arch].state_dict())
    traced = prepare_for_tracing(same.eval(), False)
    with torch.no_grad():
        assert torch.allclose(traced(given), evaluated[arch](given).chroma, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_deep_copy_is_equal_and_independent(evaluated, lightness, arch):
    picture = lightness(1, 1, 32, 32)
    with torch.no_grad():
        before = evaluated[arch](picture)
        twin = copy.deepcopy(evaluated[arch])
        assert_same(twin(picture), before)
        for parameter in twin.parameters():
            parameter.mul_(2)
        assert not torch.equal(twin(picture).chroma, before.chroma)
        assert_same(evaluated[arch](picture), before)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_exported_file_is_the_same_network(build, lightness, tmp_path, arch):
    options = {"width": 6, "size": 64, "global_size": 48, "classes": 3, "temperature": 0.7, "neurons": "low"}
    network, picture = build(arch, **options).to(memory_format=torch.channels_last), lightness(2, 1, 50, 64)
    network(picture)  # for statistics that are not the start's
    about = {
        "generator": {
            "arch": arch,
            "options": {**options, "classifier_width": 8, "filters": "low"},
        }
    }
    if arch in ON_BACKBONES and arch != "vgg16_autoencoder":
        about["generator"]["options"]["backbone"] = "test_resnet"  # as `build` does
    export_generator(tmp_path / "generator.safetensors", network, about)
    loaded = load_generator(tmp_path / "generator.safetensors")
    assert not loaded.training
    with torch.no_grad():
        assert_same(loaded(picture), network.eval()(picture))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_same_seed_gives_the_same_network(build, arch):
    first, second, other = (
        [torch.manual_seed(seed), build(arch, upsampling="pixel_shuffle").state_dict()][1] for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_generators_use_no_hooks(evaluated, arch):
    """Hooks would break copies and networks on several devices."""
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in evaluated[arch].modules())


# Builders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_builders_take_plain_arguments(arch):
    parameters = inspect.signature(generator_builder(arch)).parameters
    assert generator_options(arch) == set(parameters)
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())


# For each option another value than below; TESTED_APART have tests of their own.
TESTED_APART = {"backbone_weights", "recompute", "decoder_widths", "trunk"}
OTHERS = {
    "width": 6, "depth": 3, "dropout": 0.25, "norm": "instance", "upsampling": "nearest", "decoder_convs": 1,
    "size": 64, "backbone": "resnet34", "classes": 5, "global_size": 64, "classifier_width": 7, "temperature": 0.9,
    "neurons": "medium", "strides": True, "filters": "low", "freeze_backbone": True,
    "skip_norm": True, "chroma_stride": 2, "hints": True,
}  # fmt: skip


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_option_has_an_effect(build, lightness, arch):
    """An effect on layers, trained parameters, or output."""

    def looks(**options):
        torch.manual_seed(0)
        # For networks with backbones, comparing layers is enough; their outputs take long to compute.
        with torch.device("meta" if arch in ON_BACKBONES and arch != "deoldify" else "cpu"), torch.no_grad():
            network = build(arch, **{"classes": 2, "filters": "high", "freeze_backbone": False, **options}).eval()
            answer = [] if arch in ON_BACKBONES else network(lightness(1, 1, 48, 48)).chroma.tolist()
        return repr(network), [parameter.requires_grad for parameter in network.parameters()], answer

    usual = looks()
    for option in generator_options(arch) - TESTED_APART:
        assert looks(**{option: OTHERS[option]}) != usual, option
    assert (
        looks(**{option: value for option, value in OTHERS.items() if option not in generator_options(arch)}) == usual
    )


def test_unknown_architecture_is_refused_with_the_choices():
    for function in (build_generator, generator_builder, generator_options):
        with pytest.raises(InputError, match=r"unet3000.*attention_ugan.*polychromify_cnn"):
            function("unet3000")


def test_option_that_no_architecture_has_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        build_generator("ugan", colour=1)


def test_options_of_other_architectures_are_ignored():
    network = build_generator("ugan", width=2, size=16, backbone="resnet50", neurons="low", temperature=0.5)
    assert network.encoder.channels == [2, 4, 8, 16]


def test_architecture_names_do_not_import_torch():
    """This keeps `--help` fast."""
    program = (
        "import sys; from gancolor.choices import ARCHITECTURES; print(len(ARCHITECTURES), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["16", "False"]
