"""Measure the regret of the sweeps' Bayesian search beside Optuna's samplers (`pip install optuna`), on a toy.

    python benchmarks/search.py --trials 30 --seeds 20

The toy has the parameters of a colorization sweep: learning rate, weight of L1, dropout and architecture. The best rate
depends on the weight and on the architecture, and results are noisy. The regret after N runs is the noise-free loss
of the run with the lowest noisy loss so far, minus the lowest possible loss, 0. All contenders start from the same
random runs.
"""

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed

import numpy as np
import torch
from measure import Table

from gancolor.metrics.bootstrap import difference
from gancolor.sweeps.parameters import make_parameter
from gancolor.sweeps.search import FIRST, RunSoFar, draw_bayes, draw_random

try:
    import optuna
except ImportError:
    optuna = None

NOISE = 0.03  # standard deviation of a run's loss
ARCHITECTURES = {"attention_ugan": (0.0, 0.0), "ugan": (0.1, 0.5), "eccv16": (0.3, -0.5), "ltbc": (0.6, 0.0)}
SPACE = {
    name: make_parameter(spec)
    for name, spec in {
        "arch": {"values": [*ARCHITECTURES]},
        "dropout": {"min": 0.0, "max": 0.7},
        "l1": {"distribution": "log_uniform_values", "min": 1, "max": 1000},
        "rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
    }.items()
}
Values = Mapping[str, Any]
Search = Callable[[int, int], list[float]]  # seed, number of runs -> regret after each


def loss(values: Values) -> float:
    """Return the noise-free loss: least, 0, at attention_ugan, dropout 0.3, l1 100 and rate 1e-3."""
    offset, shift = ARCHITECTURES[values["arch"]]
    weight = math.log10(values["l1"]) - 2
    rate = math.log10(values["rate"]) + 3 + 0.5 * weight - shift
    return offset + 0.5 * rate**2 + 0.3 * weight**2 + 0.3 * ((values["dropout"] - 0.3) / 0.4) ** 2


def observe(values: Values, seed: int, number: int) -> float:
    return loss(values) + NOISE * np.random.default_rng([seed, number, 1]).standard_normal()


def regrets(runs: list[RunSoFar]) -> list[float]:
    best = [min(runs[: number + 1], key=lambda run: run.loss or 0.0) for number in range(len(runs))]
    return [loss(run.values) for run in best]


# Contenders -----------------------------------------------------------------------------------------------------------


def own(draw: Callable[..., dict[str, Any]], seed: int, trials: int) -> list[float]:
    runs: list[RunSoFar] = []
    for number in range(trials):
        values = draw(SPACE, seed, number, runs)
        runs.append(RunSoFar(values, observe(values, seed, number)))
    return regrets(runs)


def with_optuna(sampler: Callable[..., Any], seed: int, trials: int) -> list[float]:
    study = optuna.create_study(sampler=sampler(seed=seed))
    space = {
        "arch": optuna.distributions.CategoricalDistribution([*ARCHITECTURES]),
        "dropout": optuna.distributions.FloatDistribution(0, 0.7),
        "l1": optuna.distributions.FloatDistribution(1, 1000, log=True),
        "rate": optuna.distributions.FloatDistribution(1e-5, 0.1, log=True),
    }
    for number in range(FIRST):
        study.enqueue_trial(draw_random(SPACE, seed, number))
    runs = []
    for number in range(trials):
        trial = study.ask(space)
        runs.append(RunSoFar(trial.params, observe(trial.params, seed, number)))
        study.tell(trial, runs[-1].loss)
    return regrets(runs)


def contenders() -> dict[str, Search]:
    """Return the searches by name; the first is the one that the others are compared with."""
    searches: dict[str, Search] = {
        "gancolor": partial(own, draw_bayes),
        "random": partial(own, lambda space, seed, number, _: draw_random(space, seed, number)),
    }
    if optuna is None:
        print("Optuna's samplers are left out: pip install optuna", file=sys.stderr)
        return searches
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tpe, gp = optuna.samplers.TPESampler, optuna.samplers.GPSampler
    return searches | {
        "TPE, multivariate": partial(with_optuna, partial(tpe, multivariate=True)),  # Optuna 5's default
        "TPE, independent": partial(with_optuna, partial(tpe, multivariate=False)),  # the default before
        "GP": partial(with_optuna, gp),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="runs of a search (30)")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each contender (20)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    marks = [mark for mark in (10, 20, 30, 50, 100) if mark <= options.trials]
    table = Table(
        f"Mean regret after N runs, {options.seeds} searches",
        "In brackets: how much larger it is than gancolor's, paired by seed, with a 95 % bootstrap interval.",
        ["search", *(f"after {mark}" for mark in marks), "s/run"],
    )
    first = None
    for name, search in contenders().items():
        start = time.perf_counter()
        found = torch.tensor([search(seed, options.trials) for seed in range(options.seeds)], dtype=torch.float64)
        seconds = (time.perf_counter() - start) / options.seeds / options.trials
        first = found if first is None else first
        row: dict[str, Any] = {"search": name, "s/run": seconds}
        for mark in marks:
            more = difference(found[:, mark - 1], first[:, mark - 1])
            paired = "" if found is first else f" ({more.mean:+.3f}, {more.low:+.3f} to {more.high:+.3f})"
            row[f"after {mark}"] = f"{found[:, mark - 1].mean():.3f}{paired}"
        table.add(row)


if __name__ == "__main__":
    main()
