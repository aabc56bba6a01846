"""gancolor.sweeps.hyperband: which runs are stopped early."""

import pytest

from gancolor.sweeps.hyperband import make_hyperband
from gancolor.utils.errors import InputError


def rule(**keys):
    return make_hyperband({"type": "hyperband", **keys})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"min_iter": 3}, [3, 9, 27, 81]),
        ({"min_iter": 3, "eta": 2}, [3, 6, 12, 24, 48, 96]),
        ({"min_iter": 1, "eta": 1.5}, [1, 1, 2, 3, 5, 7, 11, 17, 25, 38, 57, 86]),
        ({"max_iter": 27, "s": 2}, [3, 9]),
        ({"max_iter": 27, "s": 9}, [1, 3, 9]),
        ({"max_iter": 20, "s": 2, "eta": 2}, [5, 10]),
    ],
)
def test_bands(keys, expected):
    assert rule(**keys).bands(100) == expected
    assert rule(**keys).bands(expected[1]) == [band for band in expected if band <= expected[1]]


def test_the_best_third_goes_on():
    running = {number: [float(number)] * 2 for number in range(6)}
    assert rule(min_iter=2).stops(running, []) == [3, 4, 5]  # 6 / 3: the third best is the limit, and stays
    assert rule(min_iter=3).stops(running, []) == []


def test_ended_runs_set_the_limit_too():
    assert rule(min_iter=2).stops({0: [5.0, 5.0]}, []) == []
    assert rule(min_iter=2).stops({0: [5.0, 5.0]}, [[4.0, 4.0]]) == [0]
    assert rule(min_iter=2).stops({0: [5.0, 5.0]}, [[4.0], []]) == []  # it has not come so far


def test_the_last_band_counts_and_nothing_between():
    others = [[3.0, 1.0, 1.0, 1.0]] * 2
    assert rule(min_iter=1, eta=2).stops({0: [2.0]}, others) == []
    assert rule(min_iter=1, eta=2).stops({0: [2.0, 2.0, 0.0]}, others) == [0]  # behind at 2; 3 is no band
    assert rule(min_iter=1, eta=2).stops({0: [2.0, 2.0, 0.0, 0.5]}, others) == []


def test_not_strict_goes_by_the_best_so_far():
    others = [[1.0, 1.0]]
    assert rule(min_iter=2, strict=False).stops({0: [0.5, 9.0]}, others) == []
    assert rule(min_iter=2).stops({0: [0.5, 9.0]}, others) == [0]  # strict is what W&B's sweeps do, unless told


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ("hyperband", ["type: hyperband"]),
        ({"type": "median"}, ["type: hyperband"]),
        ({"type": "hyperband"}, ["min_iter, or max_iter and s"]),
        ({"type": "hyperband", "max_iter": 9}, ["min_iter, or max_iter and s"]),
        ({"type": "hyperband", "min_iter": 0}, ["min_iter", "from 1"]),
        ({"type": "hyperband", "min_iter": 2.5}, ["min_iter", "2.5"]),
        ({"type": "hyperband", "min_iter": 2, "eta": 1}, ["eta", "over 1"]),
        ({"type": "hyperband", "min_iter": 2, "strict": "yes"}, ["strict"]),
        ({"type": "hyperband", "min_itre": 2}, ["min_itre", "did you mean min_iter"]),
        ({"type": "hyperband", "max_iter": 2, "s": 2}, ["larger max_iter"]),
    ],
)
def test_refused(section, named):
    with pytest.raises(InputError, match="early_terminate") as error:
        make_hyperband(section)
    for part in named:
        assert part in str(error.value)
