"""Parameters of a sweep file.

Each maps a quantile in [0, 1] to a value, and values to points whose distances Bayesian search uses.

Names, bounds and defaults are those of https://docs.wandb.ai/models/sweeps/sweep-config-keys.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gancolor.utils.errors import InputError, near

DIGITS = 6  # significant digits of a drawn number
TAILS = (0.01, 0.99)  # quantiles used as the ends of a distribution without bounds


@dataclass(frozen=True)
class Choice:
    """Listed values; a single one is a constant.

    Attributes:
        values: to choose from.
        probabilities: one per value; None: all equal.
    """

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    @property
    def varies(self) -> bool:
        return len(self.values) > 1

    def at(self, quantiles: ArrayLike) -> list[Any]:
        """Map quantiles (N,) in [0, 1] to N values."""
        shares = np.array(self.probabilities or [1 / len(self.values)] * len(self.values))
        last = np.flatnonzero(shares)[-1]  # quantile 1 is the end of its interval, and of empty ones after it
        return [self.values[index] for index in np.searchsorted(np.cumsum(shares)[:last], quantiles, side="right")]

    def points(self, values: Sequence[Any]) -> np.ndarray:
        """Map N values to points (N, K) for K choices, any two at distance 1, because choices have no order."""
        indices = [self._index(value) for value in values]
        return np.eye(len(self.values))[indices] / math.sqrt(2)

    def quantiles(self, values: Sequence[Any]) -> np.ndarray:
        """Map N values to the middles of their quantile intervals (N,)."""
        shares = np.array(self.probabilities or [1 / len(self.values)] * len(self.values))
        return (np.cumsum(shares) - shares / 2)[[self._index(value) for value in values]]

    def grid(self) -> list[Any] | None:
        """Return the values; None if they have probabilities, which a grid can't use."""
        return list(self.values) if self.probabilities is None else None

    def ends(self) -> list[Any]:
        """Return values that test whether a program accepts all of them: every one."""
        return list(self.values)

    def _index(self, value: Any) -> int:
        return [json.dumps(each) for each in self.values].index(json.dumps(value))


@dataclass(frozen=True)
class Range:
    """Numbers from a distribution.

    Attributes:
        law: frozen distribution of scipy.stats.
        step: numbers are rounded to multiples of it; None: no rounding.
        bounds: minimum and maximum; None: the distribution is unbounded, or never reaches its bounds.
        whole: integers only.
        even: without steps, all numbers are equally likely.
    """

    law: Any
    step: float | None = None
    bounds: tuple[float, float] | None = None
    whole: bool = False
    even: bool = False

    varies = True

    def at(self, quantiles: ArrayLike) -> list[int | float]:
        """Map quantiles (N,) in [0, 1] to N numbers with 6 significant digits, or to multiples of the step."""
        inside = np.clip(np.asarray(quantiles, dtype=float), 1e-12, 1 - 1e-12)
        return [self._written(number) for number in self.law.ppf(inside)]

    def points(self, values: Sequence[float]) -> np.ndarray:
        """Map N numbers to points (N, 1): their quantiles."""
        return self.quantiles(values)[:, None]

    def quantiles(self, values: Sequence[float]) -> np.ndarray:
        """Map N numbers to their quantiles (N,)."""
        return np.asarray(self.law.cdf(np.asarray(values, dtype=float)))

    def grid(self) -> list[Any] | None:
        """Return the numbers; None if a grid can't use them.

        A grid takes integers, or uniform steps up to the maximum, which is excluded, as W&B does it.
        """
        if self.whole and self.bounds:
            return list(range(int(self.bounds[0]), int(self.bounds[1]) + 1))
        if self.even and self.step and self.bounds:
            return [plain(round(float(x), 12)) for x in np.arange(*self.bounds, self.step)]
        return None

    def ends(self) -> list[int | float]:
        """Return values that test whether a program accepts all of them: the ends."""
        return [self._written(number) for number in self.bounds or self.law.ppf(TAILS)]

    def _written(self, number: float) -> int | float:
        if self.step:
            return plain(float(Decimal(str(self.step)) * round(number / self.step)))
        low, high = self._support
        if self.whole:
            return int(min(max(number, low), high))
        return plain(min(max(float(f"{number:.{DIGITS}g}"), low), high))

    @cached_property
    def _support(self) -> tuple[float, float]:
        low, high = self.law.support()
        return float(low), float(high)


Parameter = Choice | Range


def plain(value: Any) -> Any:
    """Convert a value as W&B's server does, which sends it as JSON written by Go: 3.0 as 3, a date as text."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def make_parameter(spec: Any) -> Parameter:
    """Build a parameter from its section of a sweep file.

    Raises:
        InputError: an unknown distribution or key, or numbers that don't define a distribution.
    """
    if not isinstance(spec, Mapping):
        raise InputError(f"write `value: {spec}`, or `values: [...]`")
    if "parameters" in spec:
        raise InputError("W&B's agent passes a nested group as one dictionary; write flat, dotted names (loss.l1)")
    name = spec["distribution"] if "distribution" in spec else _implied(spec)
    if name not in DISTRIBUTIONS:
        raise InputError(f"no distribution {name}{near(name, DISTRIBUTIONS)}")
    keys, build = DISTRIBUTIONS[name]
    given = {key: value for key, value in spec.items() if key != "distribution"}
    if unknown := [key for key in given if key not in keys]:
        raise InputError(f"{name} has no {unknown[0]}{near(unknown[0], keys)}; it has {', '.join(keys)}")
    if missing := [key for key, default in keys.items() if default is None and key not in given]:
        raise InputError(f"{name} needs {' and '.join(missing)}")
    return build(**{**{key: default for key, default in keys.items() if default is not None}, **given})


def _implied(spec: Mapping[str, Any]) -> str:
    if "value" in spec:
        return "constant"
    if "probabilities" in spec:
        return "categorical_w_probabilities"
    if "values" in spec:
        return "categorical"
    if "min" in spec or "max" in spec:
        ends = (spec.get("min", 0), spec.get("max", 0))
        return "int_uniform" if all(isinstance(end, int) for end in ends) else "uniform"
    raise InputError("give `value`, `values`, or `min` and `max`, or a `distribution` and what it needs")


def _constant(value: Any) -> Choice:
    return Choice((plain(value),))


def _categorical(values: Any, probabilities: Any = None) -> Choice:
    if not isinstance(values, list) or not values:
        raise InputError("values must be a list of one or more values")
    if probabilities is None:
        return Choice(tuple(plain(values)))
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        raise InputError("probabilities must be a list as long as values")
    shares = tuple(_number("probabilities", share) for share in probabilities)
    if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise InputError(f"probabilities must be >= 0 and add up to 1, not {sum(shares):g}")
    return Choice(tuple(plain(values)), shares)


def _int_uniform(min: Any, max: Any) -> Range:
    if not all(isinstance(end, int) and not isinstance(end, bool) for end in (min, max)):
        raise InputError(f"int_uniform needs whole numbers for min and max, not {min} and {max}")
    low, high = _bounds(min, max)
    return Range(stats.randint(int(low), int(high) + 1), bounds=(low, high), whole=True, even=True)


def _uniform(min: Any, max: Any, q: Any = None) -> Range:
    low, high = _bounds(min, max)
    return Range(stats.uniform(low, high - low), _step(q), (low, high), even=True)


def _log_uniform_values(min: Any, max: Any, q: Any = None) -> Range:
    """Build a range where log(x) is uniform, and therefore log(1 / x) too."""
    low, high = _bounds(min, max)
    if low <= 0:
        raise InputError(f"min must be > 0 in a log-uniform distribution, not {min}")
    return Range(stats.loguniform(low, high), _step(q), (low, high))


def _log_uniform(min: Any, max: Any, q: Any = None) -> Range:
    """Build a log-uniform range; min and max are exponents of e."""
    low, high = _bounds(min, max)
    return _log_uniform_values(_exp(low), _exp(high), q)


def _inv_log_uniform(min: Any, max: Any) -> Range:
    """Build an inverse log-uniform range; min and max are exponents of 1 / e."""
    low, high = _bounds(min, max)
    return _log_uniform_values(_exp(-high), _exp(-low))


def _normal(mu: Any, sigma: Any, q: Any = None) -> Range:
    return Range(stats.norm(_number("mu", mu), _positive("sigma", sigma)), _step(q))


def _log_normal(mu: Any, sigma: Any, q: Any = None) -> Range:
    return Range(stats.lognorm(_positive("sigma", sigma), scale=_exp(_number("mu", mu))), _step(q))


def _beta(a: Any, b: Any, q: Any = None) -> Range:
    return Range(stats.beta(_positive("a", a), _positive("b", b)), _step(q))


_ENDS: dict[str, Any] = {"min": None, "max": None}
_BELL: dict[str, Any] = {"mu": 0.0, "sigma": 1.0}
_SHAPE: dict[str, Any] = {"a": 1.0, "b": 1.0}
_STEP: dict[str, Any] = {"q": 1.0}

# name -> its keys with their defaults (None: required), and the function that builds the parameter
DISTRIBUTIONS: dict[str, tuple[dict[str, Any], Callable[..., Parameter]]] = {
    "constant": ({"value": None}, _constant),
    "categorical": ({"values": None}, _categorical),
    "categorical_w_probabilities": ({"values": None, "probabilities": None}, _categorical),
    "int_uniform": (_ENDS, _int_uniform),
    "uniform": (_ENDS, _uniform),
    "q_uniform": (_ENDS | _STEP, _uniform),
    "log_uniform": (_ENDS, _log_uniform),
    "q_log_uniform": (_ENDS | _STEP, _log_uniform),
    "log_uniform_values": (_ENDS, _log_uniform_values),
    "q_log_uniform_values": (_ENDS | _STEP, _log_uniform_values),
    "inv_log_uniform": (_ENDS, _inv_log_uniform),
    "inv_log_uniform_values": (_ENDS, _log_uniform_values),
    "normal": (_BELL, _normal),
    "q_normal": (_BELL | _STEP, _normal),
    "log_normal": (_BELL, _log_normal),
    "q_log_normal": (_BELL | _STEP, _log_normal),
    "beta": (_SHAPE, _beta),
    "q_beta": (_SHAPE | _STEP, _beta),
}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        text = isinstance(value, str) and _reads_as_number(value)
        advice = f" (YAML reads {value} as text: write 1.0e-5 for 1e-5)" if text else ""
        raise InputError(f"{name} must be a number, not {value!r}{advice}")
    return value


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _positive(name: str, value: Any) -> float:
    if _number(name, value) <= 0:
        raise InputError(f"{name} must be > 0, not {value}")
    return value


def _step(q: Any) -> float | None:
    return None if q is None else _positive("q", q)


def _bounds(low: Any, high: Any) -> tuple[float, float]:
    if _number("min", low) >= _number("max", high):
        raise InputError(f"min {low} is not less than max {high}")
    return low, high


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        raise InputError(
            f"e to the power of {exponent:g} is too large; the ..._values distributions take the limits themselves"
        ) from None
