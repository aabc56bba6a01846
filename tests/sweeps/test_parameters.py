"""gancolor.sweeps.parameters: every form of a sweep file's parameters."""

import datetime
import math

import numpy as np
import pytest
from scipy import stats

from gancolor.sweeps.parameters import DISTRIBUTIONS, make_parameter
from gancolor.training.command import parse_train
from gancolor.utils.errors import InputError

U = np.random.default_rng(0).random(4000)


def law(distribution, **keys):
    return make_parameter({"distribution": distribution, **keys})


# What each is a map to: by the definitions of W&B's reference, a uniform, normal or beta number and a function of it.
CONTINUOUS = {
    "uniform": (law("uniform", min=1, max=9), lambda u: 1 + 8 * u),
    "log_uniform": (law("log_uniform", min=-9, max=-1), lambda u: np.exp(-9 + 8 * u)),
    "log_uniform_values": (law("log_uniform_values", min=1e-5, max=0.1), lambda u: 10 ** (-5 + 4 * u)),
    "inv_log_uniform": (law("inv_log_uniform", min=1, max=9), lambda u: np.exp(-(9 - 8 * u))),
    "inv_log_uniform_values": (law("inv_log_uniform_values", min=0.01, max=1), lambda u: 10 ** (-2 + 2 * u)),
    "normal": (law("normal", mu=3, sigma=2), lambda u: 3 + 2 * stats.norm.ppf(u)),
    "log_normal": (law("log_normal", mu=0.3, sigma=0.5), lambda u: np.exp(0.3 + 0.5 * stats.norm.ppf(u))),
    "beta": (law("beta", a=2, b=1), np.sqrt),
}
QUANTIZED = {
    "q_uniform": (law("q_uniform", min=0, max=10, q=3), lambda u: 10 * u, 3),
    "q_log_uniform": (law("q_log_uniform", min=0, max=4), lambda u: np.exp(4 * u), 1),
    "q_log_uniform_values": (law("q_log_uniform_values", min=1, max=100, q=5), lambda u: 100**u, 5),
    "q_normal": (law("q_normal", sigma=20, q=0.5), lambda u: 20 * stats.norm.ppf(u), 0.5),
    "q_log_normal": (law("q_log_normal", mu=2, sigma=0.5), lambda u: np.exp(2 + 0.5 * stats.norm.ppf(u)), 1),
    "q_beta": (law("q_beta", a=1, b=2, q=0.05), lambda u: 1 - np.sqrt(1 - u), 0.05),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_quantiles_become_numbers_of_the_distribution(name):
    parameter, expected = CONTINUOUS[name]
    values = parameter.at(U)
    np.testing.assert_allclose(values, expected(U), rtol=6e-6, atol=1e-9)
    assert values == [float(f"{value:.6g}") for value in values]  # short enough to read
    np.testing.assert_allclose(parameter.quantiles(values), U, atol=2e-5)


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_numbers_are_multiples(name):
    parameter, expected, q = QUANTIZED[name]
    values = parameter.at(U)
    np.testing.assert_allclose(values, np.round(expected(U) / q) * q, atol=1e-9)
    assert max(len(str(abs(value))) for value in values) <= 5  # 0.15, not 0.15000000000000002
    assert all(isinstance(value, int) for value in values) == (q >= 1)


def test_quantiles_at_the_ends_are_numbers():
    low, high = law("normal", mu=5, sigma=2).at([0, 1])
    assert -15 < low < -5 and 15 < high < 25


def test_every_distribution_is_tested():
    named = {*CONTINUOUS, *QUANTIZED, "constant", "categorical", "categorical_w_probabilities", "int_uniform"}
    assert named == {*DISTRIBUTIONS}


def test_whole_numbers_are_ints_and_equally_likely():
    parameter = make_parameter({"min": 2, "max": 5})
    values = parameter.at(U)
    assert {type(value) for value in values} == {int}
    assert max(abs(values.count(value) / len(values) - 0.25) for value in (2, 3, 4, 5)) < 0.03
    assert parameter.at([0, 1]) == [2, 5]
    assert parameter.ends() == [2, 5]


@pytest.mark.parametrize(("low", "high"), [(1.0, 9), (1, 9.5), (1.0, 9.0)])
def test_float_bound_implies_uniform(low, high):
    values = make_parameter({"min": low, "max": high}).at([0.0, 0.31, 1.0])
    assert values[1] == pytest.approx(low + 0.31 * (high - low), rel=1e-5)
    assert (values[0], values[2]) == (low, high)


def test_choices():
    spec = {"values": [None, "two", 3.5]}
    assert make_parameter(spec).at([0, 0.34, 0.67, 1]) == [None, "two", 3.5, 3.5]
    weighted = make_parameter({**spec, "probabilities": [0.1, 0, 0.9]})
    assert weighted.at([0.09, 0.11, 1]) == [None, 3.5, 3.5]
    assert "two" not in weighted.at(U)
    assert make_parameter({"values": ["never", "always"], "probabilities": [0, 1]}).at([0, 0.5]) == ["always"] * 2
    # Bayesian search draws 1 too.
    assert make_parameter({"values": [1, 2, 3, 4], "probabilities": [0.9, 0.1, 0, 0]}).at([0.9, 1]) == [2, 2]
    assert make_parameter({"values": [1, 2], "probabilities": [1, 0]}).at([0, 1]) == [1, 1]
    assert weighted.at(weighted.quantiles([None, 3.5])) == [None, 3.5]
    assert make_parameter({"value": None}).at(U) == [None] * len(U)
    assert not make_parameter({"values": [1]}).varies


def test_values_are_converted_as_by_wandbs_server():
    """The server sends values as JSON written by Go."""
    when = datetime.date(2020, 1, 2)
    values = [3.0, True, None, [0.5, 1.0], {"a": 2.0}, when, 1e30]
    assert make_parameter({"values": values}).ends() == [3, True, None, [0.5, 1], {"a": 2}, "2020-01-02", 1e30]
    assert [type(value) for value in make_parameter({"values": [3.0, True]}).ends()] == [int, bool]


def test_different_values_have_different_points():
    choices = make_parameter({"values": ["a", "b", "c"]})
    points = choices.points(["a", "b", "c"])
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.testing.assert_allclose(apart, 1 - np.eye(3))
    rates = law("log_uniform_values", min=1e-4, max=1.0)
    np.testing.assert_allclose(rates.points([1e-4, 1e-2, 1.0]), [[0], [0.5], [1]])


def test_parameters_that_a_grid_accepts():
    assert make_parameter({"min": 1, "max": 3}).grid() == [1, 2, 3]
    assert law("q_uniform", min=0, max=1, q=0.25).grid() == [0, 0.25, 0.5, 0.75]
    assert law("q_uniform", min=0, max=0.3, q=0.1).grid() == [0, 0.1, 0.2]
    assert make_parameter({"values": [2, 1]}).grid() == [2, 1]
    for spec in ({"min": 0.5, "max": 3}, {"values": [1, 2], "probabilities": [0.5, 0.5]}):
        assert make_parameter(spec).grid() is None
    assert law("q_normal", q=1).grid() is None
    assert law("q_log_uniform_values", min=1, max=9).grid() is None


def test_ends():
    assert law("log_uniform_values", min=1e-5, max=0.3).ends() == [1e-5, 0.3]
    assert law("q_uniform", min=1, max=10, q=5).ends() == [0, 10]
    assert law("normal", mu=5).ends() == [2.67365, 7.32635]  # for infinite bounds, the 1 % and 99 % quantiles
    assert min(law("log_normal").ends()) > 0
    assert make_parameter({"values": ["a", "b"], "probabilities": [1, 0]}).ends() == ["a", "b"]


@pytest.mark.parametrize("name", [*CONTINUOUS])
def test_trainer_accepts_written_values(name):
    for value in CONTINUOUS[name][0].at([0.013, 0.5, 0.99]):
        if value > 0:
            assert parse_train([f"--loss.l1={value}"]).loss.l1 == value


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (3, ["`value: 3`"]),
        ({}, ["value", "values", "min", "max"]),
        ({"parameters": {"l1": {"value": 1}}}, ["nested", "loss.l1"]),
        ({"vaules": [1]}, ["give"]),
        ({"values": []}, ["one or more values"]),
        ({"values": 3}, ["a list"]),
        ({"values": [1], "min": 3}, ["categorical has no min"]),
        ({"values": [1, 2], "probabilities": [1]}, ["as long as values"]),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, ["add up to 1, not 1.1"]),
        ({"values": [1, 2], "probabilities": [1.5, -0.5]}, ["must be >= 0"]),
        ({"min": 1}, ["needs max"]),
        ({"min": 3, "max": 3}, ["not less than"]),
        ({"min": "1e-5", "max": 0.1}, ["min must be a number", "1.0e-5"]),
        ({"min": "low", "max": 0.1}, ["'low'"]),
        ({"min": True, "max": 0.1}, ["True"]),
        ({"min": 1, "max": math.inf}, ["inf"]),
        ({"distribution": "int_uniform", "min": 1, "max": 2.5}, ["whole"]),
        ({"distribution": "log_unifrom_values", "min": 1, "max": 2}, ["did you mean", "log_uniform_values"]),
        ({"distribution": "log_uniform_values", "min": 0, "max": 2}, ["must be > 0"]),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, ["too large", "_values"]),
        ({"distribution": "uniform", "min": 1, "max": 2, "q": 1}, ["uniform has no q"]),
        ({"distribution": "q_uniform", "min": 1, "max": 2, "q": 0}, ["q must be > 0"]),
        ({"distribution": "normal", "sigma": 0}, ["sigma must be > 0"]),
        ({"distribution": "normal", "mean": 0}, ["no mean", "mu"]),
        ({"distribution": "beta", "a": -1}, ["a must be > 0"]),
        ({"distribution": "constant"}, ["needs value"]),
    ],
)
def test_refused(spec, named):
    with pytest.raises(InputError) as error:
        make_parameter(spec)
    for part in named:
        assert part in str(error.value)
    assert "1.0e-5" in named or "1.0e-5" not in str(error.value)
