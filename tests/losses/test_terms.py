"""Loss terms of pictures and weights; test_adversarial_terms.py has the adversarial ones."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gancolor.color import colorfulness
from gancolor.color.bins import bin_centres, nearest_bin, rebalancing, soft_encode
from gancolor.color.torch_lab import lab_to_rgb, rgb_to_lab, to_float
from gancolor.losses import terms as losses

BINS = 313
ONES = torch.ones(BINS)
# Of one photograph, 1 x 2 pixels.
PREDICTED = torch.tensor([[[[0.5, -0.5]], [[0.0, 1.0]]]])
TRUTH = torch.tensor([[[[0.0, -1.0]], [[0.0, -1.0]]]])


def some_weights(seed: int = 0) -> Tensor:
    return torch.rand(BINS, generator=torch.Generator().manual_seed(seed)) * 5 + 0.1


def chroma(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# Functions of predicted and true chroma.
PIXEL_TERMS = {
    "l1": losses.l1,
    "mse": losses.mse,
    "log_mse": losses.log_mse,
    "smooth_l1": lambda p, t: losses.smooth_l1(p, t, 0.1),
    "color_weighted": lambda p, t: losses.color_weighted(p, t, some_weights()),
    "tv": lambda p, _: losses.tv(p),
}
pixel_terms = pytest.mark.parametrize("name", PIXEL_TERMS)


def slope(term, predicted: Tensor, *rest) -> Tensor:
    predicted = predicted.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(term(predicted, *rest), predicted)
    return gradient


# Terms of pixels --------------------------------------------------------------------------------------------------


def test_l1_is_the_mean_absolute_error():
    assert losses.l1(PREDICTED, TRUTH).item() == pytest.approx((0.5 + 0.5 + 0 + 2) / 4)


def test_mse_is_the_mean_squared_error():
    assert losses.mse(PREDICTED, TRUTH).item() == pytest.approx((0.25 + 0.25 + 0 + 4) / 4)


def test_log_mse_averages_the_logarithms_of_photographs():
    """It is not the logarithm of the batch's error: all photographs count equally."""
    predicted = torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1).expand(2, 2, 4, 4)
    expected = (math.log(1 + 0.01 / 0.0025) + math.log(1 + 0.09 / 0.0025)) / 2
    assert losses.log_mse(predicted, torch.zeros(2, 2, 4, 4)).item() == pytest.approx(expected)


def test_log_mse_falls_by_what_psnr_rises():
    """Above the floor, halving errors gains 6 dB and lowers the loss by ln 4."""
    truth = torch.zeros(1, 2, 4, 4)
    once, twice = (losses.log_mse(torch.full_like(truth, error), truth).item() for error in (0.5, 1.0))
    assert (twice - once) * 10 / math.log(10) == pytest.approx(20 * math.log10(2), abs=0.05)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (1.0, (0.125 + 0.125 + 0 + 1.5) / 4),
        (0.1, (0.45 + 0.45 + 0 + 1.95) / 4),
        (4.0, (0.25 + 0.25 + 0 + 4) / 8 / 4),  # all errors are below delta
    ],
)
def test_smooth_l1_by_hand(delta, expected):
    assert losses.smooth_l1(PREDICTED, TRUTH, delta).item() == pytest.approx(expected)


def test_smooth_l1_of_a_tiny_delta_is_l1():
    predicted, truth = chroma(2, 2, 5, 5), chroma(2, 2, 5, 5, seed=1)
    assert losses.smooth_l1(predicted, truth, 1e-6).item() == pytest.approx(
        losses.l1(predicted, truth).item(), rel=1e-4
    )
    mine, plain = (slope(term, predicted, truth) for term in (lambda p, t: losses.smooth_l1(p, t, 1e-6), losses.l1))
    assert torch.allclose(mine, plain)


def test_smooth_l1_is_continuously_differentiable():
    """Value and slope are continuous where an error exceeds delta."""
    errors = torch.tensor([0.1 - 1e-4, 0.1 + 1e-4])
    values = [losses.smooth_l1(error.reshape(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 0.1).item() for error in errors]
    slopes = slope(lambda p: losses.smooth_l1(p, torch.zeros(2), 0.1), errors) * 2
    assert values[1] - values[0] == pytest.approx(2e-4, rel=0.01)
    assert slopes.tolist() == pytest.approx([1, 1], abs=2e-3)


def test_tv_by_hand():
    """Sum of the means of horizontal and vertical differences."""
    picture = torch.tensor([[[[0.0, 1.0, 1.0], [0.5, 0.5, -0.5]], [[0.0, 0.0, 0.0], [0.0, 0.2, 0.0]]]])
    across = (1 + 0 + 0 + 1 + 0 + 0 + 0.2 + 0.2) / 8
    down = (0.5 + 0.5 + 1.5 + 0 + 0.2 + 0) / 6
    assert losses.tv(picture).item() == pytest.approx(across + down)


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (1, 2, 1, 5), (1, 2, 5, 1)])
def test_tv_of_a_flat_or_narrow_picture_is_finite(shape):
    flat = torch.full(shape, 0.3)
    assert losses.tv(flat) == 0
    assert slope(losses.tv, flat).isfinite().all()
    assert losses.tv(chroma(*shape)).isfinite()


def test_color_weighted_by_hand():
    """The weight is that of the true colour's bin, not of the prediction's."""
    weights = some_weights()
    truth = torch.stack([bin_centres()[20], bin_centres()[200]], dim=1).reshape(1, 2, 1, 2)
    predicted = torch.tensor([[[[0.1, 0.0]], [[-0.2, 0.5]]]])
    squares = (predicted - truth).square().sum(dim=1).flatten()
    expected = (weights[20] * squares[0] + weights[200] * squares[1]) / 4
    assert losses.color_weighted(predicted, truth, weights).item() == pytest.approx(expected.item(), rel=1e-6)


def test_color_weighted_of_equal_weights_is_mse():
    predicted, truth = chroma(2, 2, 4, 4), chroma(2, 2, 4, 4, seed=1)
    assert losses.color_weighted(predicted, truth, ONES).item() == pytest.approx(losses.mse(predicted, truth).item())


@pixel_terms
@pytest.mark.parametrize("tiles", [(3, 1, 1, 1), (1, 1, 2, 2)], ids=["larger batch", "larger picture"])
def test_terms_of_pixels_are_means(name, tiles):
    """So that a weight means the same at every size and batch. Mirrored tiles: no new edge for total variation."""
    predicted, truth = chroma(2, 2, 6, 6), chroma(2, 2, 6, 6, seed=1)

    def tiled(picture: Tensor) -> Tensor:
        if tiles[2] == 2:
            picture = torch.cat([picture, picture.flip(-1)], dim=-1)
            return torch.cat([picture, picture.flip(-2)], dim=-2)
        return picture.repeat(tiles)

    once, more = PIXEL_TERMS[name](predicted, truth), PIXEL_TERMS[name](tiled(predicted), tiled(truth))
    # Mirrored tiles add one zero difference to 2 n - 1 differences of total variation.
    expected = once * (10 / 11) if name == "tv" and tiles[2] == 2 else once
    assert more.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "per_pixel"),
    [
        ("l1", lambda e, _: e.sign()),
        ("mse", lambda e, _: 2 * e),
        ("log_mse", lambda e, _: 2 * e / (0.05**2 + e.square().mean(dim=(1, 2, 3), keepdim=True))),
        ("smooth_l1", lambda e, _: (e / 0.1).clamp(-1, 1)),
        ("color_weighted", lambda e, w: 2 * w * e),
    ],
)
def test_gradients_match_the_table_in_the_loss_documentation(name, per_pixel):
    predicted, truth = chroma(2, 2, 5, 5), chroma(2, 2, 5, 5, seed=1)
    expected = per_pixel(predicted - truth, some_weights()[nearest_bin(truth)].unsqueeze(1))
    assert torch.allclose(slope(PIXEL_TERMS[name], predicted, truth) * predicted.numel(), expected, atol=1e-5)


@pixel_terms
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e4, -1e4])
def test_gradients_are_finite_at_zero_error_and_at_extremes(name, value):
    predicted = torch.full((1, 2, 3, 3), value)
    for truth in (predicted.clamp(-1, 1), -predicted.clamp(-1, 1), predicted):
        assert PIXEL_TERMS[name](predicted, truth).isfinite()
        assert slope(PIXEL_TERMS[name], predicted, truth).isfinite().all()


@pixel_terms
def test_losses_of_half_precision_are_float32(name):
    half = chroma(1, 2, 4, 4).bfloat16()
    assert PIXEL_TERMS[name](half, half).dtype == torch.float32


# Colour bins ------------------------------------------------------------------------------------------------------


def test_bins_by_hand():
    """Cross-entropy of each pixel's soft encoding, times its weight, averaged."""
    weights, truth, logits = some_weights(), chroma(2, 2, 3, 4) * 0.7, torch.randn(2, BINS, 3, 4)
    shares, numbers = soft_encode(truth, 5)
    total = 0.0
    for photo in range(2):
        for row in range(3):
            for column in range(4):
                place = (photo, slice(None), row, column)
                target = torch.zeros(BINS)
                target[numbers[place]] = shares[place]
                surprise = -(target * logits[place].log_softmax(0)).sum()
                total += weights[nearest_bin(truth)[photo, row, column]] * surprise
    assert losses.bins(logits, truth, weights, 5).item() == pytest.approx(total.item() / 24, rel=1e-5)


def test_bins_of_one_neighbour_is_plain_cross_entropy():
    truth, logits = chroma(2, 2, 3, 4) * 0.7, torch.randn(2, BINS, 3, 4)
    expected = F.cross_entropy(logits, nearest_bin(truth))
    assert losses.bins(logits, truth, ONES, 1).item() == pytest.approx(expected.item(), rel=1e-5)


def test_bins_averages_the_truth_down_to_the_logits_size():
    truth, logits = chroma(1, 2, 8, 12), torch.randn(1, BINS, 2, 3)
    expected = losses.bins(logits, F.avg_pool2d(truth, 4), ONES, 5)
    assert losses.bins(logits, truth, ONES, 5).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_bins_takes_any_size(size):
    assert losses.bins(torch.randn(1, BINS, *size), chroma(1, 2, 18, 17), ONES, 10).isfinite()


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_bins_of_extreme_logits_is_finite(scale):
    logits = torch.randn(1, BINS, 3, 3) * scale
    assert slope(losses.bins, logits, chroma(1, 2, 3, 3), some_weights(), 5).isfinite().all()
    assert losses.bins(logits.bfloat16(), chroma(1, 2, 3, 3), ONES, 5).dtype == torch.float32


def rare_and_frequent(scenes: Tensor) -> tuple[Tensor, int, int]:
    """The weights that follow from real colours, and the rarest and the most frequent bin of them."""
    counts = torch.bincount(nearest_bin(rgb_to_lab(to_float(scenes))[1]).flatten(), minlength=BINS).double()
    prior = (counts / counts.sum()).float()
    there = prior > 0
    return rebalancing(prior), int(prior.masked_fill(~there, 2).argmin()), int(prior.argmax())


def test_rarity_reaches_the_gradient_of_bins(scenes):
    """The slope by the logits of a rare colour is that of a frequent one times the ratio of their weights, exactly:
    with one neighbour and even logits nothing else tells them apart."""
    weights, rare, frequent = rare_and_frequent(scenes)
    assert weights[rare] > 3 * weights[frequent]
    truth = bin_centres()[[rare, frequent]].T.reshape(1, 2, 1, 2)
    gradient = slope(losses.bins, torch.zeros(1, BINS, 1, 2), truth, weights, 1)[0, :, 0]
    of_rare, of_frequent = gradient.norm(dim=0)
    assert (of_rare / of_frequent).item() == pytest.approx((weights[rare] / weights[frequent]).item(), rel=1e-4)
    assert gradient[rare, 0] < 0 and gradient[frequent, 1] < 0  # each towards its own bin


@pytest.mark.parametrize("neighbours", [5, 10])
def test_pixel_gradients_are_scaled_by_their_weights(scenes, neighbours):
    weights, *_ = rare_and_frequent(scenes)
    _, truth = rgb_to_lab(to_float(scenes[:, :, ::8, ::8]))
    logits = torch.randn(len(truth), BINS, *truth.shape[-2:])
    weighted, plain = (slope(losses.bins, logits, truth, w, neighbours) for w in (weights, ONES))
    assert torch.allclose(weighted, plain * weights[nearest_bin(truth)].unsqueeze(1), atol=1e-7)
    predicted = torch.zeros_like(truth)
    weighted, plain = (slope(losses.color_weighted, predicted, truth, w) for w in (weights, ONES))
    assert torch.allclose(weighted, plain * weights[nearest_bin(truth)].unsqueeze(1), atol=1e-7)


# Scene classes ----------------------------------------------------------------------------------------------------


def test_scene_is_a_mean_over_photographs_that_have_a_label():
    logits, labels = torch.randn(4, 3), torch.tensor([2, -1, 0, -1])
    expected = -(logits[0].log_softmax(0)[2] + logits[2].log_softmax(0)[0]) / 2
    assert losses.scene(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    gradient = slope(losses.scene, logits, labels)
    assert gradient[[1, 3]].abs().sum() == 0 and (gradient[[0, 2]].abs().sum(dim=1) > 0).all()


def test_scene_without_any_label_is_0_and_so_is_its_gradient():
    """A batch may contain no labels; the mean over none would be NaN."""
    logits, labels = torch.randn(3, 5), torch.full((3,), -1)
    assert losses.scene(logits, labels) == 0
    assert slope(losses.scene, logits, labels).abs().sum() == 0


def test_scene_of_half_precision_logits_is_float32():
    assert losses.scene(torch.randn(2, 3).bfloat16(), torch.tensor([0, 1])).dtype == torch.float32


# Colourfulness ----------------------------------------------------------------------------------------------------


def test_colorfulness_is_1_less_a_hundredth_of_the_metric(scenes):
    pictures = to_float(scenes)
    expected = 1 - colorfulness.colorfulness(pictures).mean() / 100
    assert losses.colorfulness(pictures).item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize(
    "colour", [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.2, 0.5, 0.9)]
)
@pytest.mark.parametrize("side", [1, 6])
def test_colorfulness_of_flat_pictures_has_a_finite_gradient(colour, side):
    """Without a floor, the square roots' slopes would be infinite where the spread (and for grey the mean) is 0."""
    flat = torch.tensor(colour).reshape(1, 3, 1, 1).expand(2, 3, side, side)
    assert slope(losses.colorfulness, flat).isfinite().all()
    expected = 1 - colorfulness.colorfulness(flat).mean() / 100
    assert losses.colorfulness(flat).item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("lightness", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_colorfulness_has_a_finite_gradient_by_any_chroma(lightness, value):
    light, flat = torch.full((1, 1, 4, 4), lightness), torch.full((1, 2, 4, 4), value)
    assert slope(lambda c: losses.colorfulness(lab_to_rgb(light, c)), flat).isfinite().all()


def test_colorfulness_drives_chroma_away_from_grey():
    light = torch.zeros(1, 1, 8, 8)
    start = chroma(1, 2, 8, 8) * 0.02
    step = start - 0.1 * slope(lambda c: losses.colorfulness(lab_to_rgb(light, c)), start).sign()
    before, after = (colorfulness.colorfulness(lab_to_rgb(light, c)) for c in (start, step))
    assert after > before + 1


# Weights ----------------------------------------------------------------------------------------------------------


def test_weight_penalties_exclude_biases_and_norms():
    """Not biases and norms, which have one dimension."""
    kernel, matrix, bias = torch.randn(2, 3, 3, 3), torch.randn(4, 5), torch.randn(7)
    parameters = [kernel, bias, matrix]
    assert losses.weight_l1(parameters).item() == pytest.approx(
        (kernel.abs().sum() + matrix.abs().sum()).item(), rel=1e-5
    )
    expected = kernel.square().sum() + matrix.square().sum()
    assert losses.weight_l2(parameters).item() == pytest.approx(expected.item(), rel=1e-5)


def test_weight_penalties_have_finite_gradients_at_0():
    for term in (losses.weight_l1, losses.weight_l2):
        assert slope(lambda w, term=term: term([w]), torch.zeros(2, 2)).abs().sum() == 0


# Sums -------------------------------------------------------------------------------------------------------------


@given(weights=st.lists(st.floats(0, 1e4), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_weighted_sum_is_the_dot_product(weights, seed):
    values = torch.rand(len(weights), generator=torch.Generator().manual_seed(seed))
    terms = {f"term{number}": value for number, value in enumerate(values)}
    total = losses.weighted_sum(terms, {f"term{number}": weight for number, weight in enumerate(weights)})
    assert total.item() == pytest.approx(sum(w * v for w, v in zip(weights, values.tolist(), strict=True)), rel=1e-5)


def test_weighted_sum_requires_a_weight_for_every_term():
    with pytest.raises(KeyError, match="perceptual"):
        losses.weighted_sum({"perceptual": torch.ones(())}, {"l1": 1.0})


@given(st.floats(-1, 1), st.floats(0.01, 2))
def test_smooth_l1_is_never_over_l1(error, delta):
    p, t = torch.full((1, 1, 1, 1), error), torch.zeros(1, 1, 1, 1)
    smooth = losses.smooth_l1(p, t, delta).item()
    assert 0 <= smooth <= losses.l1(p, t).item() + 1e-7
    assert math.isfinite(smooth)


def test_colorfulness_difference_is_the_metrics(scenes):
    truth = to_float(scenes)
    paler = truth.mean(dim=1, keepdim=True) * 0.7 + truth * 0.3
    gaps = colorfulness.colorfulness(paler) - colorfulness.colorfulness(truth)
    assert losses.colorfulness_difference(paler, truth).item() == pytest.approx(
        gaps.abs().mean().item() / 100, abs=1e-4
    )
    assert losses.colorfulness_difference(truth, truth) == 0


@pytest.mark.parametrize(("saturation", "more"), [(0.3, True), (1.5, False)])
def test_colorfulness_difference_drives_towards_the_truths(saturation, more):
    """Pale pictures get more colour, and those that are too colourful less."""
    light, truth = torch.zeros(1, 1, 8, 8), chroma(1, 2, 8, 8) * 0.3
    start, picture = truth * saturation, lab_to_rgb(light, truth)
    gradient = slope(lambda c: losses.colorfulness_difference(lab_to_rgb(light, c), picture), start)
    before, after = (colorfulness.colorfulness(lab_to_rgb(light, c)) for c in (start, start - 0.02 * gradient.sign()))
    assert (after > before) == more
    grey = torch.zeros(1, 2, 8, 8)
    assert slope(lambda c: losses.colorfulness_difference(lab_to_rgb(light, c), picture), grey).isfinite().all()
