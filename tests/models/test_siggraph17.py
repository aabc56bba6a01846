"""Real-Time User-Guided Image Colorization (Zhang 2017): its layers, and which head trains the trunk."""

import pytest
import torch
from torch import nn

from gancolor.color.bins import GRID
from gancolor.models.siggraph17 import siggraph17

TRUNK = ("blocks", "up8")
REGRESSION, CLASSIFICATION = ("up9", "up10", "to_chroma"), ("to_bins",)


@pytest.fixture(scope="module")
def paper():
    return siggraph17()


def conv(before: int, after: int, side: int = 3) -> int:
    """Number of parameters of a convolution, with its biases."""
    return before * after * side**2 + after


def test_has_its_34_2_million_parameters(paper):
    widths = [(4, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)] + 11 * [
        (512, 512)
    ]
    trunk = sum(conv(*pair) for pair in widths) + 2 * sum((64, 128, 256, 512, 512, 512, 512))
    up8 = conv(512, 256, 4) + 3 * conv(256, 256) + 2 * 256
    up9 = conv(256, 128, 4) + 2 * conv(128, 128) + 2 * 128
    up10 = conv(128, 128, 4) + conv(64, 128) + conv(128, 128)
    heads = conv(256, GRID, 1) + conv(128, 2, 1)
    found = sum(parameter.numel() for parameter in paper.parameters())
    assert found == trunk + up8 + up9 + up10 + heads == 34_187_027


def test_trunk_layer_by_layer(paper):
    """3 x 3 and ReLU; four inputs; the fifth and sixth block are dilated; norm ends each."""
    blocks = [[layer for layer in block if isinstance(layer, nn.Conv2d)] for block in paper.blocks]
    assert [(len(block), block[-1].out_channels, block[0].dilation[0]) for block in blocks] == [
        (2, 64, 1), (2, 128, 1), (3, 256, 1), (3, 512, 1), (3, 512, 2), (3, 512, 2), (3, 512, 1),
    ]  # fmt: skip
    assert blocks[0][0].in_channels == 4
    assert all(isinstance(block[-1], nn.BatchNorm2d) for block in paper.blocks)
    assert isinstance(paper.up10.layers[2], nn.LeakyReLU) and paper.up10.layers[2].negative_slope == 0.2


def test_logits_are_of_all_bins_at_a_quarter_of_the_size():
    with torch.no_grad():
        found = siggraph17(width=4).eval()(torch.zeros(1, 1, 33, 50), torch.zeros(1, 3, 33, 50))
    assert found.bin_logits.shape == (1, GRID, 9, 13) and found.chroma.shape == (1, 2, 33, 50)


@pytest.mark.parametrize(
    ("trunk", "learning", "head", "others"),
    [
        ("classification", "bin_logits", CLASSIFICATION, REGRESSION),
        ("regression", "chroma", REGRESSION, CLASSIFICATION),
    ],
)
def test_one_head_trains_the_trunk_and_the_other_only_itself(trunk, learning, head, others):
    network = siggraph17(width=4, trunk=trunk)
    lightness, hints = torch.rand(2, 1, 16, 16), torch.rand(2, 3, 16, 16)

    def reached(output: str) -> set[str]:
        network.zero_grad()
        getattr(network(lightness, hints), output).square().sum().backward()
        return {
            name.split(".")[0] for name, parameter in network.named_parameters()
            if parameter.grad is not None and parameter.grad.any()
        }  # fmt: skip

    assert reached(learning) == {*TRUNK, *head}
    other = {"chroma", "bin_logits"} - {learning}
    assert reached(other.pop()) == set(others)


def test_the_head_does_not_change_the_output():
    torch.manual_seed(0)
    one = siggraph17(width=4).eval()
    other = siggraph17(width=4, trunk="regression").eval()
    other.load_state_dict(one.state_dict())
    picture = torch.rand(1, 1, 24, 24)
    for a, b in zip((one(picture).chroma, one(picture).bin_logits), (other(picture).chroma, other(picture).bin_logits),
                    strict=True):  # fmt: skip
        assert torch.equal(a, b)
