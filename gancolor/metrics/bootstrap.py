"""Bootstrap intervals of means over photographs and of differences between systems."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 2000
CONFIDENCE = 0.95
AT_ONCE = 4_000_000  # indices drawn at a time


@dataclass(frozen=True)
class Mean:
    """Mean over photographs with its bootstrap 95 % interval; both ends are NaN for a single photograph."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero, so that a difference is significant."""
        return self.low > 0 or self.high < 0


def summarize(scores: Mapping[str, Tensor]) -> dict[str, Mean]:
    """Return each metric's mean over photographs with its interval: the 2.5th and 97.5th percentiles of the means of
    2000 resamples (Efron 1979). Every metric, system and machine uses the same resamples.

    Args:
        scores: metric -> one value per photograph (N,), with the same N for all.
    """
    if not scores:
        return {}
    values = torch.stack([values.double().cpu() for values in scores.values()], dim=1)
    return dict(zip(scores, _intervals(values), strict=True))


def mean_of(values: Tensor) -> Mean:
    """Return the mean of (N,) values with its interval."""
    return _intervals(values.double().cpu()[:, None])[0]


def difference(one: Tensor, other: Tensor) -> Mean:
    """Return the mean of the paired differences `one` - `other`, (N,) values of the same photographs. What both have in
    common at a photograph cancels out, so the difference is more certain than the two means."""
    return mean_of(one.double().cpu() - other.double().cpu())


def _intervals(values: Tensor) -> list[Mean]:
    """Return the K means, with intervals, of (N, K) float64 values."""
    means = values.mean(dim=0)
    tails = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    ends = torch.full((2, values.shape[1]), torch.nan, dtype=torch.float64)
    if len(values) > 1:
        ends = _resampled_means(values).quantile(tails, dim=0)
    return [Mean(*numbers) for numbers in torch.stack([means, *ends], dim=1).tolist()]


def _resampled_means(values: Tensor) -> Tensor:
    """Return the means of resamples with replacement, (RESAMPLES, K)."""
    count, generator = len(values), torch.Generator().manual_seed(0)
    rows = []
    for chunk in torch.arange(RESAMPLES).split(max(1, AT_ONCE // count)):
        drawn = torch.randint(count, (len(chunk), count), generator=generator)
        times = torch.zeros(len(chunk), count, dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        rows.append(times @ values / count)
    return torch.cat(rows)
