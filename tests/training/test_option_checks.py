"""Generators that break the contract of docs/adding_an_architecture.md are named before training starts."""

import pytest
import torch
from made_generators import made_generator
from torch import nn

from gancolor.choices import ARCHITECTURES
from gancolor.models import build_generator, generator_builder
from gancolor.models.checkpoint import describe, export_generator
from gancolor.models.output import GeneratorOutput
from gancolor.training.command import parse_train
from gancolor.training.option_checks import check_options, check_output
from gancolor.utils.errors import InputError


class Made(nn.Module):
    """Network of the given layer and output."""

    def __init__(self, layer, output=GeneratorOutput):
        super().__init__()
        self.layer, self.output = layer, output

    def forward(self, lightness):
        return self.output(self.layer(lightness))


def test_the_contract_is_kept():
    with torch.device("meta"):
        check_output("ugan", Made(nn.Conv2d(1, 2, 3, padding=1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "returns NoneType, and not the network"),
        (lambda: Made(nn.Conv2d(1, 2, 3, padding=1), torch.tanh), "returns Tensor; it must return a GeneratorOutput"),
        (lambda: Made(nn.Conv2d(1, 3, 1)), "returns chroma of shape (2, 3, 75, 131) for lightness of shape (2, 1, "),
        (
            lambda: Made(nn.Conv2d(1, 2, 3)),
            "(2, 2, 73, 129) for lightness of shape (2, 1, 75, 131); it must be (2, 2, ",
        ),
        (lambda: Made(nn.Conv2d(3, 2, 1)), "does not take lightness of shape (2, 1, 75, 131): "),
    ],
)
def test_other_outputs_are_refused(make, message):
    with torch.device("meta"), pytest.raises(InputError) as caught:
        check_output("ugan", make())
    assert str(caught.value).startswith("ugan (gancolor/models/unet.py) ") and message in str(caught.value)


@pytest.mark.parametrize("line", ["unet.none", "none.ugan"])
def test_a_line_that_names_nothing(monkeypatch, line):
    monkeypatch.setitem(ARCHITECTURES, "mine", line)
    with pytest.raises(InputError, match=f"^mine: ARCHITECTURES in gancolor/choices.py says {line}, but "):
        generator_builder("mine")


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_networks_that_no_computer_can_hold_are_refused(network):
    """The size of a kernel overflows."""
    words = ["--arch", "ugan", "--generator.width", "4", f"--{network}.width", "1000000000"]
    with pytest.raises(InputError, match=f"^the {network} of these options can't be built: .* lower --{network}.width"):
        check_options(parse_train(words))


def test_a_generator_to_start_from_is_checked_at_its_own_size(tmp_path):
    """A smaller size would allow fewer levels, but fine-tuning does not change the network."""
    path = made_generator(tmp_path / "g.safetensors", depth=None)
    about = describe(path)
    about["generator"]["options"]["size"] = 64
    export_generator(path, build_generator("ugan", width=4, depth=6), about)
    config = parse_train(["--init", str(path), "--data.size", "32"])
    assert config.generator.depth == 6
    check_options(config)
