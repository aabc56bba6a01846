"""Attention to colour hints."""

import pytest
import torch

from gancolor.models.hint_attention import CELLS, HintAttention


@pytest.fixture
def attend():
    torch.manual_seed(0)
    return HintAttention(8).eval()


def given(height=24, width=40, seed=0):
    chance = torch.Generator().manual_seed(seed)
    chroma = torch.rand(2, 2, height, width, generator=chance) - 0.5
    return chroma, torch.randn(2, 8, height, width, generator=chance), torch.zeros(2, 3, height, width)


def with_hint(hints, colour=(0.6, -0.4), rows=slice(4, 8), columns=slice(10, 14)):
    hints = hints.clone()
    hints[:, :, rows, columns] = torch.tensor([*colour, 1.0]).view(1, 3, 1, 1)
    return hints


def test_without_hints_nothing_is_corrected(attend):
    chroma, features, hints = given()
    assert torch.equal(attend(chroma, features, hints), chroma)


def test_a_hint_that_agrees_with_the_prediction_changes_nothing(attend):
    chroma, features, hints = given()
    chroma = torch.full_like(chroma, 0.2)
    assert torch.allclose(attend(chroma, features, with_hint(hints, (0.2, 0.2))), chroma, atol=1e-6)


def test_correction_is_the_mean_error_weighted_by_likeness_and_distance(attend):
    """By hand, for one hint at one pixel and a pixel p: w = exp(l) / (exp(l) + exp(n))."""
    chroma, features, hints = given()
    hints = with_hint(hints, rows=slice(5, 6), columns=slice(12, 13))
    found = attend(chroma, features, hints)
    embedding, null = attend.embed(features), attend.null(features)
    side = (24 * 40) ** 0.5
    for y, x in ((5, 12), (20, 3), (0, 39)):
        alike = (embedding[0, :, y, x] * embedding[0, :, 5, 12]).sum() / embedding.shape[1] ** 0.5
        far = ((y - 5) ** 2 + (x - 12) ** 2) / side**2
        logit = alike - far / (2 * attend.log_reach.exp() ** 2)
        weight = torch.sigmoid(logit - null[0, 0, y, x])
        error = torch.tensor([0.6, -0.4]) - chroma[0, :, 5, 12]
        expected = (chroma[0, :, y, x] + weight * error).clamp(-1, 1)
        assert torch.allclose(found[0, :, y, x], expected, atol=1e-5)


def test_hints_of_larger_size_than_the_features_are_averaged(attend):
    chroma, features, hints = given(48, 80)
    small = features[..., ::2, ::2]
    large = attend(chroma, small, with_hint(hints, rows=slice(8, 12), columns=slice(20, 24)))
    assert large.shape == chroma.shape and not torch.equal(large, chroma)
    assert torch.equal(attend(chroma, small, hints), chroma)


def test_it_is_differentiable_and_float32_under_autocast(attend):
    chroma, features, hints = given()
    exact = attend(chroma, features, with_hint(hints))
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(chroma.bfloat16(), features.bfloat16(), with_hint(hints))
    assert found.dtype == torch.float32 and (found - exact).abs().max() < 0.05
    exact.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in attend.parameters())


@pytest.mark.parametrize("size", [(3, 5), (CELLS, 1), (70, 33)])
def test_any_size(attend, size):
    chroma, features, hints = given(*size)
    found = attend(chroma, features, with_hint(hints, rows=slice(0, 1), columns=slice(0, 1)))
    assert found.shape == chroma.shape and found.isfinite().all() and found.abs().max() <= 1
