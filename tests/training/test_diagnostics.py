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
    """Of grey pictures that have 5, and a truth that has 35: half of the way is 20, five quarters are 42.5."""
    assert list(check_colourfulness(colorfulness, grey=5.0, truth=35.0)) == ([name] if name else [])


def test_grey_photographs_make_no_trouble():
    assert check_colourfulness(0.1, grey=0.1, truth=0.1) == check_colourfulness(0.1, grey=0.2, truth=0.1) == {}


@pytest.mark.parametrize(
    ("accuracy", "name"),
    [
        (1.0, "discriminator too strong"), (0.991, "discriminator too strong"), (0.989, None), (0.7, None),
        (0.551, None), (0.549, "discriminator too weak"), (0.0, "discriminator too weak"), (None, None),
    ],
)  # fmt: skip
def test_game_is_judged_by_the_share_that_is_told_apart(accuracy, name):
    terms = {"l1": 0.1} | ({} if accuracy is None else {"d_accuracy": accuracy})
    assert list(check_adversarial_training(terms, 1000)) == ([name] if name else [])


def test_a_new_discriminator_may_guess():
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
def test_advice_says_how_much_and_names_options_that_there_are(found):
    (line,) = found.values()
    assert "\n" not in line and re.search(r"\b\d+%", line)
    options = re.findall(r"--([\w.]+\w)", line)
    assert options and set(options) <= flatten(TrainConfig()).keys()
