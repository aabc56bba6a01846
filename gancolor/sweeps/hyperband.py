"""Early termination: runs that fall behind the others at fixed iterations stop.

This is Hyperband (Li et al., 2018, https://arxiv.org/abs/1603.06560) as Weights & Biases applies it. An iteration is a
logged value of the sweep's metric. At each of a series of iterations ("bands"), a run must be among the best 1 / eta of
all runs that have reached it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from gancolor.utils.errors import InputError, near

# Not Optuna's pruners, which apply another rule: benchmarks/results/search.md.
MOST_BANDS = 100  # from min_iter on: eta may be just above 1
_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")


@dataclass(frozen=True)
class Hyperband:
    """The stopping rule. Bands follow from `min_iter`, or from `max_iter` and `s`.

    Attributes:
        min_iter: first band; each further band is eta times the one before.
        max_iter: bands are max_iter / eta, max_iter / eta^2, ..., `s` of them.
        strict: judge a run by its value at the band, else by its best so far.
    """

    eta: float
    strict: bool
    min_iter: int | None = None
    max_iter: int | None = None
    s: int = 0

    def bands(self, longest: int) -> list[int]:
        """Return the iterations at which runs are judged, ascending, up to `longest`."""
        return list(takewhile(lambda band: band <= longest, self._bands()))

    def _bands(self) -> Iterator[int]:
        if self.max_iter is None:
            assert self.min_iter is not None
            yield from (int(self.min_iter * self.eta**power) for power in range(MOST_BANDS))
        else:
            bands = (int(self.max_iter / self.eta**power) for power in range(self.s, 0, -1))
            yield from (band for band in bands if band >= 1)

    def stops(self, running: Mapping[int, Sequence[float]], ended: Sequence[Sequence[float]]) -> list[int]:
        """Return the keys of the running runs that must stop.

        Args:
            running: key -> values of the metric so far; lower is better.
            ended: the values of every run that has ended.
        """
        everyone = [history for history in (*running.values(), *ended) if history]
        bands = self.bands(max(map(len, everyone), default=0))
        thresholds = {band: self._threshold([h[band - 1] for h in everyone if len(h) >= band]) for band in bands}
        stopped = []
        for key, history in running.items():
            reached = [band for band in bands if band <= len(history)]
            if reached:
                value = history[reached[-1] - 1] if self.strict else min(history)
                if value > thresholds[reached[-1]]:
                    stopped.append(key)
        return stopped

    def _threshold(self, values: Sequence[float]) -> float:
        return sorted(values)[int(1 / self.eta * len(values))]


def make_hyperband(section: Any) -> Hyperband:
    """Build the stopping rule from a sweep file's `early_terminate`.

    Raises:
        InputError: the section is not a valid Hyperband rule.
    """
    if not isinstance(section, Mapping) or section.get("type") != "hyperband":
        raise InputError("early_terminate: only `type: hyperband` is supported, with min_iter, or max_iter and s")
    if unknown := [key for key in section if key not in _KEYS]:
        raise InputError(f"early_terminate: no key {unknown[0]}{near(unknown[0], _KEYS)}")
    for key in ("min_iter", "max_iter", "s"):
        value = section.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"early_terminate: {key} is a whole number from 1, not {value}")
    eta, strict = section.get("eta", 3), section.get("strict", True)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not eta > 1:
        raise InputError(f"early_terminate: eta is a number over 1, not {eta}")
    if not isinstance(strict, bool):
        raise InputError(f"early_terminate: strict is true or false, not {strict}")
    if "max_iter" in section and "s" in section:
        rule = Hyperband(eta, strict, max_iter=section["max_iter"], s=section["s"])
    elif "min_iter" in section and not {"max_iter", "s"} & section.keys():
        rule = Hyperband(eta, strict, min_iter=section["min_iter"])
    else:
        raise InputError("early_terminate: give min_iter, or max_iter and s")
    if next(rule._bands(), None) is None:
        raise InputError("early_terminate: max_iter / eta is under one value; give a larger max_iter")
    return rule
