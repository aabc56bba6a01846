"""gancolor.sweeps.search: which values come next."""

import math

import numpy as np
import pytest

from gancolor.sweeps import search as search_module
from gancolor.sweeps.parameters import make_parameter
from gancolor.sweeps.search import FIRST, RunSoFar, draw_bayes, draw_random, grid


def parameters(**specs):
    return {name: make_parameter(spec) for name, spec in sorted(specs.items())}


SPACE = parameters(
    rate={"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
    width={"min": 1, "max": 12},
    weight={"min": 1.0, "max": 200.0},
    mode={"values": ["vanilla", "lsgan", "hinge"]},
    source={"value": "demo"},
)


def loss(values):
    """Least, 0, at rate 1e-3, width 8, weight 70 and lsgan."""
    return (
        (math.log10(values["rate"]) + 3) ** 2
        + ((values["width"] - 8) / 6) ** 2
        + ((values["weight"] - 70) / 80) ** 2
        + {"vanilla": 0.5, "lsgan": 0, "hinge": 1}[values["mode"]]
    )


def search(draw, runs, judge=loss, space=SPACE):
    results = []
    for number in range(runs):
        values = draw_bayes(space, draw, number, results)
        results.append(RunSoFar(values, judge(values)))
    return results


@pytest.fixture(scope="module")
def searches():
    return [search(draw, 18) for draw in range(4)]


def test_grid_is_in_the_order_of_names_the_last_turning_fastest():
    space = parameters(b={"values": [3, 1]}, a={"values": ["x", None]}, c={"value": 7})
    expected = [("x", 3), ("x", 1), (None, 3), (None, 1)]
    assert [*grid(space)] == [{"a": a, "b": b, "c": 7} for a, b in expected]


def test_grid_has_each_combination_once():
    assert [*grid(parameters(a={"values": [1, 1.0, 2]}))] == [{"a": 1}, {"a": 2}]
    assert len([*grid(parameters(a={"values": [1, True, "1"]}))]) == 3


def test_random_follows_from_draw_and_number():
    one = draw_random(SPACE, 0, 3)
    assert one == draw_random(SPACE, 0, 3)
    others = [draw_random(SPACE, 0, 4), draw_random(SPACE, 1, 3)]
    assert len({each["rate"] for each in (one, *others)}) == 3


def test_random_fills_the_space():
    drawn = [draw_random(SPACE, 0, number) for number in range(300)]
    rates = np.log10([values["rate"] for values in drawn])
    assert np.histogram(rates, 4, (-5, -1))[0].min() > 50
    assert {values["mode"] for values in drawn} == {"vanilla", "lsgan", "hinge"}
    assert {values["width"] for values in drawn} == {*range(1, 13)}
    widths = [values["width"] for values in drawn]
    assert abs(np.corrcoef(rates, widths)[0, 1]) < 0.15  # each drawn for itself


def test_bayes_finds_more_than_random(searches):
    """By 18 runs, in four searches: the median and the worst of them."""
    reached = sorted(min(result.loss for result in results) for results in searches)
    random = sorted(min(loss(draw_random(SPACE, draw, n)) for n in range(18)) for draw in range(4))
    assert (reached[1] + reached[2]) / 2 < 0.1 < (random[1] + random[2]) / 2
    assert reached[-1] < random[-1]


def test_bayes_begins_at_random_and_goes_on_from_the_results(searches):
    values = [result.values for result in searches[0]]
    at_random = [draw_random(SPACE, 0, number) for number in range(18)]
    assert values[:FIRST] == at_random[:FIRST]
    assert all(one != other for one, other in zip(values[FIRST:], at_random[FIRST:], strict=True))


def test_resumed_bayes_draws_the_same(searches):
    for number in (7, 17):
        assert draw_bayes(SPACE, 0, number, searches[0][:number]) == searches[0][number].values


def test_bayes_does_not_try_the_same_again(searches):
    small = parameters(a={"values": [1, 2, 3]}, b={"values": ["x", "y", "z"]})
    results = search(0, 9, lambda values: values["a"], small)
    later = [str(result.values) for result in results[FIRST:]]
    assert len({*later}) == len(later)
    assert not {*later} & {str(result.values) for result in results[:FIRST]}


def test_bayes_keeps_away_from_runs_that_fail():
    """Rates over 1e-3 fail, and what is just under them is best."""
    space = parameters(rate={"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1})
    results = search(0, 16, lambda v: None if v["rate"] > 1e-3 else -math.log10(v["rate"]), space)
    failed = [result.loss is None for result in results]
    assert sum(failed[FIRST:]) <= 6
    assert min(result.loss for result in results if result.loss is not None) < 3.1


def test_bayes_looks_around_the_best_run(monkeypatch, searches):
    monkeypatch.setattr(search_module, "CANDIDATES", 1)
    best = min(searches[0][:6], key=lambda result: result.loss).values
    near = draw_bayes(SPACE, 0, 6, searches[0][:6])
    assert abs(math.log10(near["rate"] / best["rate"])) < 1 and abs(near["weight"] - best["weight"]) < 60


def test_bayes_spreads_runs_that_run_at_once(searches):
    results = [*searches[1][:8]]
    for number in range(8, 11):
        values = draw_bayes(SPACE, 1, number, results)
        results.append(RunSoFar(values, None, running=True))
    alone = [draw_bayes(SPACE, 1, number, results[:8])["rate"] for number in range(8, 11)]
    together = [result.values["rate"] for result in results[8:]]
    assert together[0] == alone[0] and together[1:] != alone[1:]


def test_bayes_without_values_draws_at_random():
    results = [RunSoFar(draw_random(SPACE, 0, number), None) for number in range(9)]
    assert draw_bayes(SPACE, 0, 9, results) == draw_random(SPACE, 0, 9)


def test_bayes_of_equal_losses():
    assert draw_bayes(SPACE, 0, 6, [RunSoFar(draw_random(SPACE, 0, n), 1.0) for n in range(6)]).keys() == SPACE.keys()
