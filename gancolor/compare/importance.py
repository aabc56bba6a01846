"""Importance of a sweep's options: how much a random forest's predictions rely on each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from gancolor.compare.comparison import Comparison

LEAST = 6  # least number of systems to train a forest on
TREES, SHUFFLES = 300, 30
LOG_FROM = 10  # ratio of maximum to minimum from which the logarithm of an option is used
DOUBTFUL = 0.3  # out-of-bag R2 below which the importances are unreliable


@dataclass(frozen=True)
class OptionImportance:
    """An option, or several that always change together.

    Attributes:
        importance: share in 0..1; all sum to 1.
        correlation: Pearson correlation of a numeric option (or its logarithm) with the metric, in -1..1; None for
            other options.
    """

    names: tuple[str, ...]
    importance: float
    correlation: float | None


@dataclass(frozen=True)
class Importance:
    """Parameters, most important first.

    Attributes:
        systems: number of systems that the forest was trained on.
        score: out-of-bag R2: how well the forest predicts systems that it was not trained on; 1 is perfect, 0 or less
            is no better than their mean.
    """

    parameters: tuple[OptionImportance, ...]
    systems: int
    score: float

    @property
    def doubtful(self) -> bool:
        return not self.score >= DOUBTFUL


def importance(comparison: Comparison) -> Importance | str:
    """Return how much the ranked metric depends on each varying option, or the reason why that is unknown.

    The measure is permutation importance (Breiman 2001, section 10) of a random forest: how much worse its trees
    predict the systems that they were not trained on when an option's values are shuffled. On the systems that a tree
    was trained on, options with many values would be favoured, because they help to memorize. Categories are one-hot,
    and shuffled as one option. Samples are systems, not runs: otherwise seeds of one system would be both in and out of
    the bag.
    """
    entries = [entry for entry in comparison.entries if entry.members[0].options]
    if len(entries) < LEAST:
        return f"only {len(entries)} systems have known options; at least {LEAST} are needed"
    options = [entry.members[0].options for entry in entries]
    target = np.array([entry.means[comparison.metric].mean for entry in entries])
    groups = _grouped_options({name: [found.get(name) for found in options] for name in comparison.varying})
    if not groups:
        return "no option has the same value in two systems"
    if len(groups) >= len(entries):
        return f"{len(entries)} systems differ in {len(groups)} ways: too many to tell apart"
    if np.allclose(target, target[0]):
        return "all systems score the same"
    columns = [_encode(values) for values in groups.values()]
    drops, score = _permutation(columns, target)
    drops = drops.clip(0)
    shares = drops / drops.sum() if drops.sum() > 0 else np.full(len(drops), 1 / len(drops))
    found = [
        OptionImportance(names, float(share), _correlation(column, target) if _is_scale(values) else None)
        for (names, values), column, share in zip(groups.items(), columns, shares, strict=True)
    ]
    return Importance(tuple(sorted(found, key=lambda each: -each.importance)), len(entries), score)


def _grouped_options(options: dict[str, list[Any]]) -> dict[tuple[str, ...], list[Any]]:
    """Group options that divide the systems in the same way, each group with the values of its first option.

    Numeric options whose value differs in every system are grouped if they have the same or the reverse order, because
    a forest can't tell those apart. Such categorical options are left out: they say nothing about other systems.
    """
    names: dict[tuple[int, ...], list[str]] = {}
    for name, values in options.items():
        first = {repr(value): place for place, value in reversed(list(enumerate(values)))}
        division = tuple(first[repr(value)] for value in values)
        if len(first) == len(values):
            if not _is_scale(values):
                continue
            order = tuple(sorted(range(len(values)), key=values.__getitem__))
            division = min(order, order[::-1])
        names.setdefault(division, []).append(name)
    return {tuple(found): options[found[0]] for found in names.values()}


def _is_scale(values: Sequence[Any]) -> bool:
    return all(isinstance(value, Real) and math.isfinite(value) for value in values)


def _encode(values: Sequence[Any]) -> np.ndarray:
    """Encode numbers as (N, 1), by logarithm if they span a factor of 10; others one-hot as (N, categories)."""
    if not _is_scale(values):
        known = sorted({repr(value) for value in values})
        return np.array([[float(repr(value) == each) for each in known] for value in values])
    numbers = np.array(values, dtype=np.float64)[:, None]
    return np.log10(numbers) if numbers.min() > 0 and numbers.max() / numbers.min() >= LOG_FROM else numbers


def _permutation(columns: Sequence[np.ndarray], target: np.ndarray) -> tuple[np.ndarray, float]:
    """Return how much the out-of-bag squared error of single trees grows with each of K options shuffled, (K,), and the
    forest's out-of-bag R2. An option without effect may have a growth below 0: it is 0 on average."""
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import

    table = np.concatenate(columns, axis=1)
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(table, target)
    out_of_bag = np.array([~np.isin(np.arange(len(table)), drawn) for drawn in forest.estimators_samples_])

    def error(tables: np.ndarray) -> float:
        """Return the mean error of all trees on tables (copies, N, columns), each on its own out-of-bag rows."""
        rows = tables.reshape(-1, tables.shape[-1])
        guesses = np.stack([tree.predict(rows) for tree in forest.estimators_]).reshape(TREES, -1, len(target))
        return float(np.square(guesses - target).mean(axis=1)[out_of_bag].mean())

    random, start, drops = np.random.default_rng(0), 0, []
    unshuffled = error(table)
    for column in columns:
        shuffled = np.tile(table, (SHUFFLES, 1, 1))
        for copy in shuffled:
            copy[:, start : start + column.shape[1]] = random.permutation(column)
        start += column.shape[1]
        drops.append(error(shuffled) - unshuffled)
    return np.array(drops), float(forest.oob_score_)


def _correlation(column: np.ndarray, target: np.ndarray) -> float:
    return float(np.corrcoef(column[:, 0], target)[0, 1])
