"""Random colour hints: what they show, and how they are drawn."""

import pytest
import torch

from gancolor.color.torch_lab import rgb_to_lab, to_float
from gancolor.config.options import DataConfig, HintsConfig
from gancolor.data import hints as drawing
from gancolor.data.hints import Patches, draw_hints, patches_of_names, reveal
from gancolor.data.preprocess import Preprocess
from gancolor.utils.hardware import Hardware

CPU = torch.device("cpu")


def noise(count: int = 2, height: int = 24, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 2, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def patches(*rows: list[tuple[int, int, int]]) -> Patches:
    """Patches of photographs, given as (top, left, side)."""
    return Patches(*torch.tensor(rows).unbind(dim=-1))


def drawn_patches(monkeypatch, count: int, size: int) -> Patches:
    """Return the patches that `draw_hints` reveals of so many photographs."""
    caught = []
    monkeypatch.setattr(drawing, "reveal", lambda _, found: caught.append(found) or torch.zeros(count, 3, size, size))
    torch.manual_seed(0)
    draw_hints(torch.zeros(count, 2, size, size), HintsConfig(complete=0.0))
    return caught[0]


# What hints show --------------------------------------------------------------------------------------------------


def test_a_hint_shows_the_mean_colour_of_its_patch_and_nothing_else():
    chroma = noise(1, 20, 30)
    hints = reveal(chroma, patches([(3, 21, 4)]))
    assert hints.shape == (1, 3, 20, 30)
    inside = torch.zeros(20, 30, dtype=torch.bool)
    inside[3:7, 21:25] = True
    assert torch.equal(hints[0, 2], inside.float())
    mean = chroma[0, :, 3:7, 21:25].mean(dim=(1, 2))
    assert torch.allclose(hints[0, :2, inside], mean[:, None].expand(-1, 16), atol=1e-6)
    assert not hints[0, :2, ~inside].any()


def test_where_patches_overlap_the_last_one_counts_and_photographs_are_independent():
    chroma = noise()
    both = reveal(chroma, patches([(2, 2, 5), (4, 4, 5)], [(0, 0, 9), (15, 15, 0)]))
    last = reveal(chroma, patches([(4, 4, 5)], [(0, 0, 9)]))
    assert torch.equal(both[0, :, 4:9, 4:9], last[0, :, 4:9, 4:9])
    assert both[0, 2].sum() == 25 + 25 - 9
    assert torch.equal(both[1], last[1])  # a patch of side 0 is none


def test_no_patch_is_no_hint():
    none = Patches(*torch.zeros(3, 2, 0, dtype=torch.int64))
    assert not reveal(noise(), none).any()


# Training ---------------------------------------------------------------------------------------------------------


def test_numbers_places_and_sides_are_those_of_the_paper(monkeypatch):
    """Geometric with p = 1/8, an eighth without any; places normal around the centre; sides uniform in 1 to 9."""
    count, size = 4000, 40
    found = drawn_patches(monkeypatch, count, size)
    given = found.side > 0
    numbers = given.sum(dim=1)
    assert (numbers == 0).float().mean() == pytest.approx(1 / 8, abs=0.02)
    some = numbers[numbers > 0].float()
    assert some.mean() == pytest.approx(8, rel=0.05)
    assert (some == 1).float().mean() == pytest.approx(1 / 8, abs=0.02)
    sides = found.side[given]
    assert torch.bincount(sides)[1:].min() > 0.9 * len(sides) / 9 and sides.max() == 9
    for start in (found.top, found.left):
        centres = start[given] + sides / 2
        assert centres.mean() == pytest.approx(size / 2, rel=0.03)
        assert centres.std() == pytest.approx(size / 4, rel=0.15)
        assert start[given].min() >= 0 and (start[given] + sides).max() <= size


def test_shares_without_hints_and_with_all_colours():
    chroma = noise(300, 8, 8)
    torch.manual_seed(0)
    assert not draw_hints(chroma, HintsConfig(absent=1.0, complete=0.0)).any()
    whole = draw_hints(chroma, HintsConfig(absent=0.0, complete=1.0))
    assert torch.equal(whole[:, :2], chroma) and whole[:, 2].min() == 1
    mixed = draw_hints(noise(300, 40, 40), HintsConfig(absent=0.5, complete=0.25))[:, 2].mean(dim=(1, 2))
    assert (mixed == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert (mixed == 1).float().mean() == pytest.approx(0.25, abs=0.1)


def test_hints_of_small_photographs_fit_into_them():
    torch.manual_seed(0)
    hints = draw_hints(noise(50, 5, 16), HintsConfig(absent=0.0, complete=0.0))
    assert (hints[:, 2].sum(dim=(1, 2)) > 0).all()


def test_training_batches_have_hints_of_their_own_colours_by_the_steps_seed(scenes):
    def batch(hints):
        torch.manual_seed(5)
        labels = torch.arange(len(scenes))
        return Preprocess(DataConfig(size=scenes.shape[-1]), Hardware(CPU, "fp32"), hints=hints)(scenes, labels)

    plain, hinted, again = batch(None), batch(HintsConfig(absent=0.0)), batch(HintsConfig(absent=0.0))
    assert plain.hints is None and plain.inputs == (plain.lightness,)
    assert torch.equal(hinted.hints, again.hints) and hinted.inputs[1] is hinted.hints
    assert torch.equal(hinted.chroma, plain.chroma)  # mirrored alike: hints are drawn last
    assert (hinted.hints[:, 2].sum(dim=(1, 2)) > 0).all()
    complete = batch(HintsConfig(absent=0.0, complete=1.0))
    assert torch.equal(complete.hints[:, :2], plain.chroma)


# Evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_patches_depend_on_the_name_alone_and_more_include_the_fewer():
    few, many = patches_of_names(["a", "b"], 128, 3), patches_of_names(["b"], 128, 100)
    for one, other in zip(few, many, strict=True):
        assert torch.equal(one[1:], other[:, :3])
    assert not torch.equal(few.top[0], few.top[1])
    assert set(many.side.flatten().tolist()) == {6}
    for start in (many.top, many.left):
        assert (
            start.min() >= 0 and start.max() + 6 <= 128 and start.float().std() > 25
        )  # uniform, not around the centre
    assert patches_of_names(["a"], 4, 2).side.max() == 4


def test_hints_of_a_grey_photograph_are_grey():
    grey = torch.full((1, 3, 16, 16), 90, dtype=torch.uint8)
    _, chroma = rgb_to_lab(to_float(grey))
    hints = reveal(chroma, patches_of_names(["a"], 16, 4))
    assert hints[:, :2].abs().max() < 1e-3 and hints[:, 2].any()
