"""How sure a mean over photographs is: bootstrap intervals, of means and of differences between systems."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 2000
CONFIDENCE = 0.95
AT_ONCE = 4_000_000  # indices drawn at a time


@dataclass(frozen=True)
class Mean:
    """A mean over photographs with its bootstrap 95 % interval; NaN at both ends where there is one photograph."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero; of a difference: whether it is significant."""
        return self.low > 0 or self.high < 0


def summarize(scores: Mapping[str, Tensor]) -> dict[str, Mean]:
    """Each metric's mean over photographs with its interval: the 2.5th and 97.5th percentiles of the means of 2000
    resamples (Efron 1979), the same resamples for every metric, system and machine.

    Args:
        scores: metric -> values of photographs (N,), N the same for all.
    """
    if not scores:
        return {}
    values = torch.stack([values.double().cpu() for values in scores.values()], dim=1)
    return dict(zip(scores, _intervals(values), strict=True))


def mean_of(values: Tensor) -> Mean:
    """The mean of (N,) values with its interval."""
    return _intervals(values.double().cpu()[:, None])[0]


def difference(one: Tensor, other: Tensor) -> Mean:
    """How much higher `one` is on average than `other`, (N,) values of the same photographs, as a paired difference:
    what photographs have in common drops out, so it is surer than the two means are."""
    return mean_of(one.double().cpu() - other.double().cpu())


def _intervals(values: Tensor) -> list[Mean]:
    """(N, K) float64 to K means."""
    means = values.mean(dim=0)
    tails = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    ends = torch.full((2, values.shape[1]), torch.nan, dtype=torch.float64)
    if len(values) > 1:
        ends = _resampled_means(values).quantile(tails, dim=0)
    return [Mean(*numbers) for numbers in torch.stack([means, *ends], dim=1).tolist()]


def _resampled_means(values: Tensor) -> Tensor:
    """Means of resamples with replacement, (RESAMPLES, K)."""
    count, generator = len(values), torch.Generator().manual_seed(0)
    rows = []
    for chunk in torch.arange(RESAMPLES).split(max(1, AT_ONCE // count)):
        drawn = torch.randint(count, (len(chunk), count), generator=generator)
        times = torch.zeros(len(chunk), count, dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        rows.append(times @ values / count)
    return torch.cat(rows)
