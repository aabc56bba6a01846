"""Generators that break the contract of docs/adding_an_architecture.md are named before training starts."""

import pytest
import torch
from torch import nn

from gancolor.choices import ARCHITECTURES
from gancolor.models import generator_builder
from gancolor.models.output import GeneratorOutput
from gancolor.training.option_checks import check_output
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
