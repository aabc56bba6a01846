"""Interpolation between two generators' weights."""

import pytest
import torch
from made_generators import made_generator
from torch.nn.utils.parametrize import is_parametrized

from gancolor import cli
from gancolor.models.checkpoint import describe, export_generator, load_generator
from gancolor.models.interpolation import interpolate
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest


@pytest.fixture
def pair(tmp_path):
    """A generator, and one with other weights."""
    first = made_generator(tmp_path / "first.safetensors")
    other, about = load_generator(first), describe(first)
    for tensor in other.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.25)
    export_generator(tmp_path / "other.safetensors", other, about | {"metrics": {"psnr": 1.0}})
    return first, tmp_path / "other.safetensors"


@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_weights_are_the_weighted_mean(pair, tmp_path, share):
    first, other = pair
    interpolate(first, other, share, tmp_path / "mean.safetensors")
    one, two = (load_generator(path).state_dict() for path in pair)
    for name, tensor in load_generator(tmp_path / "mean.safetensors").state_dict().items():
        expected = share * one[name] + (1 - share) * two[name] if tensor.is_floating_point() else one[name]
        torch.testing.assert_close(tensor, expected)


def test_metadata_name_the_other_and_drop_its_metrics(pair, tmp_path):
    first, other = pair
    interpolate(other, first, 0.5, tmp_path / "mean.safetensors")
    about = describe(tmp_path / "mean.safetensors")
    assert about["interpolated"] == {"share": 0.5, "with_sha256": file_digest(first)}
    assert "metrics" not in about and about["generator"] == describe(first)["generator"]


def test_command_exports_the_interpolation(pair, tmp_path, capsys):
    first, other = pair
    out = tmp_path / "mean.safetensors"
    assert cli._gancolor(["export", str(first), "--interpolate", str(other), "0.75", "-o", str(out)]) == 0
    name, tensor = next((n, t) for n, t in load_generator(out).state_dict().items() if t.is_floating_point())
    torch.testing.assert_close(tensor, load_generator(first).state_dict()[name] + 0.0625)
    assert describe(out)["interpolated"]["share"] == 0.75


@pytest.mark.parametrize("share", ["1.5", "-0.1", "nan", "much"])
def test_share_out_of_range_is_refused(pair, tmp_path, share):
    first, other = pair
    with pytest.raises(InputError, match=f"other.safetensors {share}: the share must be a number from 0 to 1"):
        cli._gancolor(["export", str(first), "--interpolate", str(other), share, "-o", str(tmp_path / "x.safetensors")])
    assert not (tmp_path / "x.safetensors").exists()


def with_options(path, out, **options):
    """Copy a generator, with other options."""
    about = describe(path)
    built = about["generator"] | {"options": about["generator"]["options"] | options}
    export_generator(out, load_generator(path), about | {"generator": built})
    return out


def test_another_architecture_is_refused(pair, tmp_path):
    first, other = pair
    third = with_options(other, tmp_path / "third.safetensors", upsampling="pixel_shuffle")
    with pytest.raises(InputError, match="its generator differs"):
        interpolate(first, third, 0.5, tmp_path / "x.safetensors")


def test_options_that_change_no_parameter_may_differ(pair, tmp_path):
    first, other = pair
    third = with_options(other, tmp_path / "third.safetensors", dropout=0.9, recompute=True)
    interpolate(first, third, 0.5, tmp_path / "mean.safetensors")
    assert (tmp_path / "mean.safetensors").is_file()


def test_spectral_norms_are_those_of_the_mean(tmp_path):
    """The mean of two estimates is no estimate: the layers' weights would be too large."""
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for number, path in enumerate(paths):
        made_generator(path, arch="deoldify", backbone="efficientvit_m0")
        generator, about = load_generator(path), describe(path)
        torch.manual_seed(number)
        for name, tensor in generator.state_dict().items():
            if name.endswith(".original"):
                tensor.copy_(torch.randn_like(tensor))
        for _, layer in spectral_layers(generator):
            layer.train()
            for _ in range(30):
                _ = layer.weight
        export_generator(path, generator.eval(), about)
    interpolate(*paths, 0.5, tmp_path / "mean.safetensors")
    layers = spectral_layers(load_generator(tmp_path / "mean.safetensors"))
    assert layers
    for name, layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) == pytest.approx(1, abs=0.05), name


def spectral_layers(network):
    return [(name, layer) for name, layer in network.named_modules() if is_parametrized(layer, "weight")]


@pytest.mark.parametrize("number", [0, 1])
def test_neither_source_is_overwritten(pair, number):
    before = pair[number].read_bytes()
    words = ["export", str(pair[0]), "--interpolate", str(pair[1]), "0.5", "-o", str(pair[number]), "--overwrite"]
    with pytest.raises(InputError, match="is the checkpoint itself"):
        cli._gancolor(words)
    assert pair[number].read_bytes() == before


def test_card_says_what_was_interpolated(pair, tmp_path):
    out = tmp_path / "mean.safetensors"
    assert cli._gancolor(["export", str(pair[0]), "--interpolate", str(pair[1]), "0.75", "-o", str(out)]) == 0
    card = (tmp_path / "mean.safetensors.md").read_text(encoding="utf-8")
    assert "0.75 times those of the run below, and 0.25 times" in card and file_digest(pair[1]) in card
