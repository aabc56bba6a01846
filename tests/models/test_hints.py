"""Generators that take colour hints as a second input."""

import pytest
import torch

from gancolor.models import build_generator, generator_options, takes_hints, would_take_hints
from gancolor.models.encoders import Backbone

HINTED = ["ugan", "attention_ugan", "pretrained_ugan", "pretrained_attention_ugan", "deoldify"]


def hints_of(lightness: torch.Tensor) -> torch.Tensor:
    """A red hint in the middle."""
    hints = torch.zeros(len(lightness), 3, *lightness.shape[-2:])
    hints[..., 12:18, 12:18] = torch.tensor([0.5, 0.3, 1.0]).view(3, 1, 1)
    return hints


@pytest.mark.parametrize("arch", [*HINTED, "siggraph17"])
def test_no_hints_are_zeros_and_a_hint_changes_the_colours(build, settle, lightness, arch):
    torch.manual_seed(0)
    network = settle(build(arch, hints=True), lightness(4, 1, 64, 64, seed=9))
    picture = lightness(2, 1, 33, 50)
    with torch.no_grad():
        automatic = network(picture).chroma
        assert torch.equal(network(picture, torch.zeros(2, 3, 33, 50)).chroma, automatic)
        hinted = network(picture, hints_of(picture)).chroma
    assert hinted.shape == automatic.shape and not torch.allclose(hinted, automatic, atol=1e-4)
    assert takes_hints(network)


@pytest.mark.parametrize("arch", HINTED)
def test_hints_are_an_option(build, arch):
    assert not takes_hints(build(arch)) and not would_take_hints(arch, {"hints": False})
    assert would_take_hints(arch, {"hints": True})
    assert would_take_hints("siggraph17", {}) and not would_take_hints("eccv16", {"hints": True})


def test_decoder_without_encoder_maps_joins_the_hints_too(build, lightness):
    """With 3 x 3 convolutions, its outermost block has the input as its skip: one channel, or four."""
    plain, hinted = (build("ugan", decoder_convs=1, hints=hints) for hints in (False, True))
    joined = [network.blocks[-1].refine[1].in_channels for network in (plain, hinted)]
    assert joined[1] == joined[0] + 3
    picture = lightness(1, 1, 32, 32)
    with torch.no_grad():
        assert hinted.eval()(picture, hints_of(picture)).chroma.shape == (1, 2, 32, 32)


def test_pretrained_kernels_of_hints_start_at_zero(resnet18_file):
    path, _ = resnet18_file
    plain, hinted = (Backbone("resnet18", str(path), inputs=inputs).eval() for inputs in (1, 4))
    kernels = hinted.network.conv1.weight
    assert torch.equal(kernels[:, :1], plain.network.conv1.weight) and not kernels[:, 1:].any()
    picture = torch.rand(1, 4, 64, 64)
    with torch.no_grad():
        for one, other in zip(plain(picture[:, :1]), hinted(picture), strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_every_architecture_with_hints_is_tested_here():
    from gancolor.choices import ARCHITECTURES

    assert [arch for arch in ARCHITECTURES if "hints" in generator_options(arch)] == HINTED
    assert takes_hints(build_generator("siggraph17", width=4))
