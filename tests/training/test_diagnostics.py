import math
import re

import pytest

from gancolor.config.identity import flatten
from gancolor.config.options import TrainConfig
from gancolor.training.diagnostics import check_adversarial_training, check_colourfulness


@pytest.mark.parametrize(
    ("colorfulness", "name"),
    [
        (5.0, "colour collapse"), (19.9, "colour collapse"), (20.1, None), (35.0, None), (42.4, None),
        (42.6, "oversaturation"), (90.0, "oversaturation"), (math.nan, None),
    ],
)  # fmt: skip
def test_colour_is_judged_between_grey_and_truth(colorfulness, name):
    """With 5 for grey and 35 for the truth, the limits are 20 (half) and 42.5 (five quarters)."""
    assert list(check_colourfulness(colorfulness, grey=5.0, truth=35.0)) == ([name] if name else [])


def test_grey_photographs_give_no_warning():
    assert check_colourfulness(0.1, grey=0.1, truth=0.1) == check_colourfulness(0.1, grey=0.2, truth=0.1) == {}


@pytest.mark.parametrize(
    ("accuracy", "name"),
    [
        (1.0, "discriminator too strong"), (0.991, "discriminator too strong"), (0.989, None), (0.7, None),
        (0.551, None), (0.549, "discriminator too weak"), (0.0, "discriminator too weak"), (None, None),
    ],
)  # fmt: skip
def test_discriminator_is_judged_by_its_accuracy(accuracy, name):
    terms = {"l1": 0.1} | ({} if accuracy is None else {"d_accuracy": accuracy})
    assert list(check_adversarial_training(terms, 1000)) == ([name] if name else [])


def test_new_discriminator_gives_no_weakness_warning():
    assert not check_adversarial_training({"d_accuracy": 0.5}, 99)
    assert check_adversarial_training({"d_accuracy": 0.5}, 100) and check_adversarial_training({"d_accuracy": 1.0}, 1)


@pytest.mark.parametrize(
    "found",
    [
        check_colourfulness(1, 0, 30),
        check_colourfulness(60, 0, 30),
        check_adversarial_training({"d_accuracy": 1.0}, 1000),
        check_adversarial_training({"d_accuracy": 0.5}, 1000),
    ],
)
def test_advice_has_a_percentage_and_existing_options(found):
    (line,) = found.values()
    assert "\n" not in line and re.search(r"\b\d+%", line)
    options = re.findall(r"--([\w.]+\w)", line)
    assert options and set(options) <= flatten(TrainConfig()).keys()
    if "loss.r1" in options:  # which is refused with BatchNorm
        assert "--loss.r1 1 with --discriminator.norm instance" in line
