import math
import time

import numpy as np
import pytest
import scipy.stats
import torch

from gancolor.metrics import bootstrap as statistics
from gancolor.metrics.bootstrap import AT_ONCE, RESAMPLES, Mean, difference, mean_of, summarize


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_interval_covers_the_mean_19_times_of_20():
    sets = drawn(80, 2000) * 3 + 7
    means = summarize({str(number): values for number, values in enumerate(sets.unbind(dim=1))}).values()
    covered = np.mean([mean.low <= 7 <= mean.high for mean in means])
    assert 0.925 < covered < 0.96  # with 80 values, a bootstrap interval is slightly too narrow
    assert np.mean([mean.half_width for mean in means]) == pytest.approx(1.96 * 3 / 80**0.5, rel=0.03)


@pytest.mark.parametrize("skewed", [False, True])
def test_interval_matches_scipys_percentile_bootstrap(skewed):
    values = drawn(60).exp() if skewed else drawn(60)
    reference = scipy.stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    found = mean_of(values)
    assert found.mean == pytest.approx(values.double().mean().item())
    near = 0.06 * found.half_width
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=near)


def test_difference_is_paired():
    """The difficulty of photographs, which all systems share, cancels out."""
    photographs, gap = 5 * drawn(100), 0.3 + 0.2 * drawn(100, seed=1)
    one, other = photographs + gap, photographs
    found = difference(one, other)
    assert found.mean == pytest.approx(gap.mean().item(), abs=1e-5)
    assert found.half_width == pytest.approx(mean_of(gap).half_width, rel=1e-3) and found.is_significant
    assert found.half_width < mean_of(one).half_width / 10
    assert not difference(one, other[torch.randperm(100)]).is_significant
    assert difference(other, one).high == pytest.approx(-found.low, rel=0.1)
    assert difference(one, one) == Mean(0, 0, 0) and not difference(one, one).is_significant


@pytest.mark.parametrize(
    ("low", "high", "certain"),
    [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.1, False), (0, 1, False), (-1, 0, False)],
)
def test_interval_without_zero_is_certain(low, high, certain):
    assert Mean((low + high) / 2, low, high).is_significant == certain


def test_same_resamples_for_every_metric_and_at_every_time():
    values = drawn(30)
    state = torch.random.get_rng_state()
    first = summarize({"psnr": values, "ssim": 2 * values, "again": values})
    assert torch.equal(torch.random.get_rng_state(), state)  # training's random state must not be affected
    assert first["psnr"] == first["again"] == mean_of(values)
    assert (first["ssim"].low, first["ssim"].high) == pytest.approx((2 * first["psnr"].low, 2 * first["psnr"].high))
    assert summarize({}) == {}


def test_resamples_do_not_depend_on_how_many_are_drawn_at_a_time(monkeypatch):
    values = drawn(30)
    whole = mean_of(values)
    monkeypatch.setattr(statistics, "AT_ONCE", 700)
    assert vars(mean_of(values)) == pytest.approx(vars(whole))


def test_single_photograph_has_no_interval():
    found = mean_of(torch.tensor([21.5]))
    assert found.mean == 21.5 and math.isnan(found.low) and math.isnan(found.high) and math.isnan(found.half_width)
    assert not found.is_significant


def test_many_photographs_take_seconds_and_little_memory(monkeypatch):
    sizes, draw = [], torch.randint
    monkeypatch.setattr(torch, "randint", lambda high, size, **how: sizes.append(size) or draw(high, size, **how))
    start = time.process_time()
    found = mean_of(drawn(50_000))
    assert time.process_time() - start < 5
    assert sum(rows for rows, _ in sizes) == RESAMPLES and max(math.prod(size) for size in sizes) <= AT_ONCE
    assert found.half_width == pytest.approx(1.96 / 50_000**0.5, rel=0.05)


def test_float32_values_are_averaged_in_double_precision():
    values = torch.full((100_000,), 22.4) + torch.arange(100_000) * 1e-6
    assert mean_of(values[::50]).mean == pytest.approx(values[::50].double().mean().item(), abs=1e-12)
