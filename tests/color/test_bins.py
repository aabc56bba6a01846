import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gancolor.color import bins
from gancolor.color.bins import (
    GRID,
    MARGIN,
    annealed_mean,
    bin_centres,
    logits_of,
    nearest_bin,
    rebalancing,
    smoothed,
    soft_encode,
)
from gancolor.color.torch_lab import AB_RANGE, rgb_to_lab, to_float

BINS = 313
SIGMA = 5.0  # units of ab


def centres() -> Tensor:
    """float64 (313, 2), units of ab."""
    return bin_centres().double() * AB_RANGE


def distances(chroma: Tensor) -> Tensor:
    """Of each pixel's colour to each bin, in units of ab, float64 (pixels, 313): one difference after the other."""
    pixels = chroma.double().movedim(1, -1).reshape(-1, 1, 2) * AB_RANGE
    return (pixels - centres()).square().sum(dim=-1).sqrt()


def noise(*shape: int, seed: int = 0) -> Tensor:
    """sRGB in [0, 1]."""
    return to_float(torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)))


def colours(count: int, seed: int = 0) -> Tensor:
    """Chroma of random sRGB colours, (1, 2, 1, count)."""
    return rgb_to_lab(noise(1, 3, 1, count, seed=seed))[1]


# The bins ---------------------------------------------------------------------------------------------------------


def test_there_are_313_bins_on_a_grid_of_10_units():
    found = centres()
    assert found.shape == (BINS, 2) and bin_centres().dtype == torch.float32
    assert torch.allclose(found, (found / 10).round() * 10, atol=1e-4)
    assert len(found.round().unique(dim=0)) == BINS
    assert found.abs().max() <= 110 + 1e-4


def test_bins_are_numbered_by_a_then_b():
    rows = [tuple(row) for row in centres().round().int().tolist()]
    assert rows == sorted(rows)


def test_bins_of_each_row_are_contiguous():
    """The gamut's projection onto the plane of a and b has no holes in any row or column."""
    for axis in (0, 1):
        lines = centres().round().int()
        for value in lines[:, axis].unique():
            of_one = lines[lines[:, axis] == value][:, 1 - axis].sort().values
            assert (of_one.diff() == 10).all()


def test_bins_are_those_nearest_to_the_gamut():
    """The grid's other points are farther from every sRGB colour than the 313, whose last is 13.8 units away."""
    corners = torch.cartesian_prod(*[torch.linspace(0, 1, 33)] * 3).T.reshape(1, 3, 1, -1)
    gamut = rgb_to_lab(corners)[1].movedim(1, -1).reshape(-1, 2) * AB_RANGE
    line = torch.arange(-11, 12) * 10.0
    grid = torch.cartesian_prod(line, line)
    far = torch.cdist(grid, gamut).amin(dim=1)
    chosen = (torch.cdist(grid, centres().float()).amin(dim=1) < 1).numpy()
    assert chosen.sum() == BINS
    assert far[chosen].max() < MARGIN < far[~chosen].min()


def test_grey_is_a_bin():
    assert nearest_bin(torch.zeros(1, 2, 1, 1)).item() == centres().norm(dim=1).argmin()
    assert centres().norm(dim=1).min() < 1e-6


# The nearest ------------------------------------------------------------------------------------------------------


def assert_nearest(chroma: Tensor) -> None:
    """Compare by distance, because two bins may be equally near."""
    found, all_of_them = nearest_bin(chroma), distances(chroma)
    assert found.dtype == torch.int64 and found.shape == (chroma.shape[0], *chroma.shape[2:])
    own = all_of_them.gather(1, found.reshape(-1, 1)).squeeze(1)
    assert torch.allclose(own, all_of_them.amin(dim=1), atol=1e-4)


def test_nearest_bin_is_the_nearest_of_all_for_srgb_colours():
    """A grid over the cube, its corners included, and random colours."""
    levels = torch.linspace(0, 1, 18)
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 18, -1)
    assert_nearest(rgb_to_lab(cube)[1])
    assert_nearest(colours(5000))


def test_nearest_bin_of_real_photographs(real_photographs):
    for photograph in real_photographs:
        assert_nearest(rgb_to_lab(to_float(photograph[None, :, ::8, ::8]))[1])


def test_nearest_bin_of_a_bin_is_itself():
    assert nearest_bin(bin_centres().T.reshape(1, 2, 1, BINS)).flatten().tolist() == list(range(BINS))


@pytest.mark.parametrize("value", [1.0, -1.0, 3.0, float("inf"), float("nan")])
def test_every_chroma_value_has_a_bin(value):
    """Values that are not finite too: a step on them is skipped, and must not fail."""
    found = nearest_bin(torch.full((1, 2, 3, 3), value))
    assert ((found >= 0) & (found < BINS)).all()


# Soft encoding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("neighbours", [1, 5, 10, BINS])
def test_soft_encoding_matches_the_paper(neighbours):
    """5 in the paper, 10 in its released code; against every distance, sorted, in float64."""
    chroma = torch.cat([colours(300), torch.rand(1, 2, 1, 100, generator=torch.Generator().manual_seed(1))], dim=-1)
    shares, numbers = soft_encode(chroma, neighbours)
    assert shares.shape == numbers.shape == (1, neighbours, 1, 400)
    assert shares.dtype == torch.float32 and numbers.dtype == torch.int64
    nearest = distances(chroma).sort(dim=1).values[:, :neighbours]
    expected = torch.exp(-nearest.square() / (2 * SIGMA**2))
    expected /= expected.sum(dim=1, keepdim=True)
    assert torch.allclose(shares[0, :, 0].T.double(), expected, atol=1e-4)
    own = distances(chroma).gather(1, numbers[0, :, 0].T)
    assert torch.allclose(own, nearest, atol=1e-3)  # sorted by number, because two bins may be equally near


def test_soft_encoding_sums_to_1_and_the_first_is_the_nearest(real_photographs):
    chroma = rgb_to_lab(to_float(real_photographs[0][None, :, ::16, ::16]))[1]
    shares, numbers = soft_encode(chroma)
    assert torch.allclose(shares.sum(dim=1), torch.ones_like(shares[:, 0]), atol=1e-5)
    assert (shares.diff(dim=1) <= 1e-6).all()
    assert (numbers[:, 0] == nearest_bin(chroma)).float().mean() > 0.99


def test_soft_encoding_in_chunks_equals_per_pixel_encoding(monkeypatch):
    """Distances are computed for a limited number of pixels at a time."""
    chroma = colours(64).reshape(2, 2, 4, 8)
    whole = soft_encode(chroma)
    monkeypatch.setattr("gancolor.color.bins.PIXELS_AT_ONCE", 7)
    for a, b in zip(whole, soft_encode(chroma), strict=True):
        assert torch.equal(a, b)
    one = soft_encode(chroma[1:, :, 2:3, 5:6])
    assert torch.equal(one[0].flatten(), whole[0][1, :, 2, 5]) and torch.equal(one[1].flatten(), whole[1][1, :, 2, 5])


def test_half_precision_chroma_is_encoded_in_float32():
    shares, _ = soft_encode(colours(10).bfloat16())
    assert shares.dtype == torch.float32
    assert logits_of(colours(10).bfloat16()).dtype == torch.float32


# From chroma to logits and back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("neighbours", [5, 10])
def test_logits_of_a_colour_match_its_soft_encoding(neighbours):
    """Restricted to the same bins, the softmax is the encoding."""
    chroma = colours(200)
    shares, numbers = soft_encode(chroma, neighbours)
    chosen = logits_of(chroma).gather(1, numbers)
    assert torch.allclose(chosen.softmax(dim=1), shares, atol=1e-3)


def test_logits_equal_scaled_squared_distances():
    chroma = colours(50)
    logits = logits_of(chroma)
    assert logits.shape == (1, BINS, 1, 50)
    expected = -distances(chroma).square() / (2 * SIGMA**2)
    assert torch.allclose(logits[0, :, 0].T.double(), expected, atol=1e-3, rtol=1e-4)


def test_gradient_of_logits_moves_a_colour_to_its_target():
    """Gradient descent on the cross-entropy moves the chroma to the target bin."""
    target = 200
    chroma = torch.zeros(1, 2, 1, 1, requires_grad=True)
    optimizer = torch.optim.Adam([chroma], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits_of(chroma).flatten(1), torch.tensor([target])).backward()
        optimizer.step()
    assert nearest_bin(chroma.detach()).item() == target


def spread(*shares: float, bins: tuple[int, ...] = (10, 150, 280)) -> Tensor:
    logits = torch.full((1, BINS, 1, 1), -1e4)
    logits[0, list(bins), 0, 0] = torch.tensor(shares).log()
    return logits


def test_annealed_mean_goes_from_the_mean_to_the_mode():
    logits, points = spread(0.5, 0.3, 0.2), bin_centres()
    mean = (torch.tensor([[0.5], [0.3], [0.2]]) * points[[10, 150, 280]]).sum(dim=0)
    assert torch.allclose(annealed_mean(logits, points, 1.0).flatten(), mean, atol=1e-6)
    assert torch.allclose(annealed_mean(logits, points, 1e-3).flatten(), points[10], atol=1e-6)
    powers = torch.tensor([0.5, 0.3, 0.2]) ** (1 / 0.38)
    expected = ((powers / powers.sum())[:, None] * points[[10, 150, 280]]).sum(dim=0)
    assert torch.allclose(annealed_mean(logits, points, 0.38).flatten(), expected, atol=1e-6)


@given(st.integers(0, 10**6), st.floats(1e-3, 1))
def test_annealed_mean_stays_within_the_bins(seed, temperature):
    logits = torch.randn(1, BINS, 2, 3, generator=torch.Generator().manual_seed(seed)) * 20
    found = annealed_mean(logits, bin_centres(), temperature)
    assert found.shape == (1, 2, 2, 3) and found.isfinite().all() and found.abs().max() <= 1


# Rarity -----------------------------------------------------------------------------------------------------------


def some_prior(seed: int = 0) -> Tensor:
    """Colour prior like that of photographs: mostly near grey."""
    shares = torch.rand(BINS, generator=torch.Generator().manual_seed(seed)) * torch.exp(-centres().norm(dim=1) / 15)
    return (shares / shares.sum()).float()


@given(st.integers(0, 1000), st.floats(0, 1))
def test_weights_are_1_on_average_over_the_prior(seed, uniform):
    prior = some_prior(seed)
    weights = rebalancing(prior, uniform)
    assert weights.shape == (BINS,) and weights.isfinite().all() and weights.min() > 0
    assert (prior.double() @ weights.double()).item() == pytest.approx(1, rel=1e-4)


def test_rebalancing_by_hand():
    """Zhang 2016, eq. 4, at its half and half: w = 1 / (p / 2 + 1 / 626), over their mean."""
    prior = some_prior()
    plain = [1 / (0.5 * share + 0.5 / BINS) for share in prior.tolist()]
    mean = sum(share * weight for share, weight in zip(prior.tolist(), plain, strict=True))
    assert rebalancing(prior).tolist() == pytest.approx([weight / mean for weight in plain], rel=1e-4)


def test_rebalancing_with_only_the_uniform_gives_equal_weights():
    assert torch.allclose(rebalancing(some_prior(), uniform=1.0), torch.ones(BINS), atol=1e-5)


def test_rebalancing_without_the_uniform_is_the_inverse_frequency():
    prior = some_prior().clamp(min=1e-5)
    prior /= prior.sum()
    assert torch.allclose(rebalancing(prior, uniform=0.0) * prior, torch.full((BINS,), 1 / BINS), rtol=1e-3)


def test_rarity_is_limited_to_one_pixel_in_a_million():
    """A colour that the training set lacks must not outweigh all others."""
    prior = torch.zeros(BINS)
    prior[:2] = torch.tensor([1 - 1e-6, 1e-6])
    weights = rebalancing(prior, uniform=0.0)
    assert torch.allclose(weights[2:], weights[1]) and weights.isfinite().all()


@given(st.integers(0, 1000), st.floats(0, 0.99))
def test_rarer_bins_have_larger_weights(seed, uniform):
    prior = some_prior(seed)
    weights = rebalancing(prior, uniform)[prior.argsort()]
    assert (weights.diff() <= weights[:-1] * 1e-5).all()


@pytest.mark.parametrize("uniform", [0.0, 0.5])
def test_colours_that_never_occur_have_a_finite_weight(uniform):
    prior = torch.zeros(BINS)
    prior[150] = 1
    assert rebalancing(prior, uniform).isfinite().all()
    assert rebalancing(smoothed(prior), uniform).isfinite().all()


@given(st.lists(st.integers(0, BINS - 1), min_size=1, max_size=5), st.integers(0, 100))
def test_smoothing_keeps_the_sum(peaks, seed):
    prior = torch.zeros(BINS)
    prior[peaks] = torch.rand(len(peaks), generator=torch.Generator().manual_seed(seed)) + 0.1
    prior /= prior.sum()
    found = smoothed(prior)
    assert found.dtype == torch.float32 and (found >= 0).all()
    assert found.double().sum().item() == pytest.approx(1, abs=1e-5)


def test_smoothing_spreads_by_distance():
    """A peak's neighbours at 10 units have exp(-2) of its share, those at 20 exp(-8)."""
    peak = nearest_bin(torch.zeros(1, 2, 1, 1)).item()
    found = smoothed(torch.eye(BINS)[peak])
    far = centres().norm(dim=1)
    assert found[far.sub(10).abs() < 0.1] / found[peak] == pytest.approx([0.1353] * 4, rel=1e-3)
    assert found[far.sub(20).abs() < 0.1] / found[peak] == pytest.approx([3.355e-4] * 4, rel=1e-2)


# Where they are made ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [torch.inference_mode(), torch.device("meta"), torch.autocast("cpu")],
    ids=["inference", "meta", "autocast"],
)
def test_cached_bins_work_in_training_wherever_they_are_made(monkeypatch, where):
    """Bins are cached: if created in inference mode or on the meta device, they would not work later."""
    expected = nearest_bin(torch.zeros(1, 2, 1, 1)).item()
    monkeypatch.setattr(bins, "_bins", functools.cache(bins._bins.__wrapped__))  # as in a new process
    with where:
        assert bin_centres().shape == (BINS, 2)
    assert bins._bins.cache_info().currsize == 1
    assert not any(made.is_inference() for made in bins._bins(BINS, torch.device("cpu")))
    chroma = torch.zeros(1, 2, 1, 1, requires_grad=True)
    logits_of(chroma)[0, 3].sum().backward()
    assert chroma.grad.isfinite().all()
    assert nearest_bin(chroma.detach()).item() == expected


# The 529 bins of the whole plane ----------------------------------------------------------------------------------


def test_bins_of_the_plane_are_a_grid_of_side_10():
    found = bin_centres(GRID) * AB_RANGE
    assert found.shape == (GRID, 2) and GRID == 23**2
    expected = [(a, b) for a in range(-110, 111, 10) for b in range(-110, 111, 10)]
    assert torch.allclose(found, torch.tensor(expected).float(), atol=1e-4)


def test_nearest_bin_of_the_plane_is_the_nearest_of_all():
    chroma = torch.rand(1, 2, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    distances = (chroma[:, None] - bin_centres(GRID).view(1, GRID, 2, 1, 1)).norm(dim=2)
    assert torch.equal(nearest_bin(chroma, GRID), distances.argmin(dim=1))
    shares, numbers = soft_encode(chroma, 1, GRID)
    assert torch.equal(numbers[:, 0], nearest_bin(chroma, GRID)) and (shares == 1).all()
