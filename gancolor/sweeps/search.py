"""Choice of the next run's values.

Draws depend on the seed, the run's number and the results so far only. So an interrupted sweep resumes as if it had
never been interrupted.
"""

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from gancolor.sweeps.parameters import Parameter

# Not Optuna's samplers: benchmarks/results/search.md.
FIRST = 4  # first runs of a Bayesian search, which are drawn at random
CANDIDATES = 1000  # random candidates for each run
NEARBY = 250  # further candidates near the best run so far
SPREAD = 0.05  # standard deviation of those, in quantiles
MOST = 300  # last runs that the regression takes: its time grows with the cube of their number


@dataclass(frozen=True)
class RunSoFar:
    """A run so far.

    Attributes:
        values: of its parameters.
        loss: lower is better; None: it has logged no value.
        running: whether it is still running.
    """

    values: Mapping[str, Any]
    loss: float | None
    running: bool = False


def grid(parameters: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """Yield every combination once, with the last parameter changing fastest.

    This is the order of Weights & Biases, which sorts names as `SweepFile` does.
    """
    seen = set()
    for values in itertools.product(*(parameter.grid() or [] for parameter in parameters.values())):
        if (key := json.dumps(values)) not in seen:
            seen.add(key)
            yield dict(zip(parameters, values, strict=True))


def draw_random(parameters: Mapping[str, Parameter], seed: int, number: int) -> dict[str, Any]:
    """Draw the values of run `number` (from 0), each parameter independently."""
    return _values(parameters, _generator(seed, number).random((1, len(parameters))))[0]


def draw_bayes(
    parameters: Mapping[str, Parameter], seed: int, number: int, results: Sequence[RunSoFar]
) -> dict[str, Any]:
    """Return the values of run `number` (from 0) with the greatest expected improvement over the best run so far.

    A Gaussian process (Matern 5/2, with noise) is fitted to the losses over the parameters' quantiles. A run that ended
    without a value counts as the worst of the others; without it, its surroundings would look untried and be drawn
    again and again. Runs in progress count with their predicted loss.
    """
    known = [result for result in results if result.loss is not None and not result.running]
    if number < FIRST or len(known) < 2 or not any(parameter.varies for parameter in parameters.values()):
        return draw_random(parameters, seed, number)
    generator = _generator(seed, number)
    worst = max(result.loss for result in known if result.loss is not None)
    ended = [result for result in results if not result.running][-MOST:]
    losses = np.array([worst if result.loss is None else result.loss for result in ended])
    points = _points(parameters, [result.values for result in ended])
    running = _points(parameters, [result.values for result in results if result.running])
    candidates = _candidates(parameters, generator, ended[int(losses.argmin())].values)
    tried = {_key(result.values) for result in results}
    candidates = [values for values in candidates if _key(values) not in tried] or candidates
    gains = _expected_improvement(points, losses, running, _points(parameters, candidates))
    return candidates[int(gains.argmax())]


def _expected_improvement(
    points: np.ndarray, losses: np.ndarray, running: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Return the expected improvement (N,) of `candidates` (N, K).

    Its unit is the standard deviation of the `losses` (M,) at `points` (M, K); Jones, Schonlau and Welch 1998, eq. 15.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    scaled = (losses - losses.mean()) / (losses.std() or 1)
    lengths = [0.5] * points.shape[1]  # one per dimension, because some hardly matter
    kernel = ConstantKernel(1, (0.05, 20)) * Matern(lengths, (0.05, 20), nu=2.5) + WhiteKernel(1e-3, (1e-8, 0.03))
    process = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # warns of a length scale at its bound
        process.fit(points, scaled)
        if len(running):
            points, scaled = np.concatenate([points, running]), np.concatenate([scaled, process.predict(running)])
            process = GaussianProcessRegressor(process.kernel_, optimizer=None).fit(points, scaled)
    mean, deviation = process.predict(candidates, return_std=True)
    deviation = np.sqrt(np.maximum(deviation**2 - process.kernel_.k2.noise_level, 1e-18))  # remove the noise
    gain = scaled.min() - mean
    z = gain / deviation
    return gain * stats.norm.cdf(z) + deviation * stats.norm.pdf(z)


def _candidates(
    parameters: Mapping[str, Parameter], generator: np.random.Generator, best: Mapping[str, Any]
) -> list[dict[str, Any]]:
    anywhere = generator.random((CANDIDATES, len(parameters)))
    centre = np.array([parameter.quantiles([best[name]])[0] for name, parameter in parameters.items()])
    nearby = centre + SPREAD * generator.standard_normal((NEARBY, len(parameters)))
    return _values(parameters, np.concatenate([anywhere, nearby.clip(0, 1)]))


def _values(parameters: Mapping[str, Parameter], quantiles: np.ndarray) -> list[dict[str, Any]]:
    """Map quantiles (N, parameters) to the values of N runs."""
    columns = [parameter.at(column) for parameter, column in zip(parameters.values(), quantiles.T, strict=True)]
    return [dict(zip(parameters, row, strict=True)) for row in zip(*columns, strict=True)]


def _points(parameters: Mapping[str, Parameter], runs: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Map N runs' values to points (N, K) of the parameters that vary."""
    return np.concatenate(
        [parameter.points([run[name] for run in runs]) for name, parameter in parameters.items() if parameter.varies],
        axis=1,
    )


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
