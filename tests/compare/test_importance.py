import math

import numpy as np
import pytest
from made_results import made_result, made_run

from gancolor.compare.comparison import Comparison
from gancolor.compare.importance import Importance, importance

REPEATS = 10


def sweep(settings, score):
    """A comparison of a run for each setting, of mean PSNR score(setting)."""
    runs = {f"run {n}": made_run(place=n, **setting) for n, setting in enumerate(settings)}
    result = made_result(runs, photographs=20, pictured=0)
    for name, setting in zip(runs, settings, strict=True):
        values = result.systems[name].scores["psnr"]
        result.systems[name].scores["psnr"] = values - values.mean() + score(setting)
    return Comparison({"sweep.json": result})


GRID = [
    {"lr": rate, "l1": weight, "mode": mode}
    for rate in (1e-5, 1e-4, 1e-3) for weight in (1, 10) for mode in ("lsgan", "hinge", "wgan")
]  # fmt: skip


def test_the_option_that_matters_comes_first():
    found = importance(sweep(GRID, lambda setting: 20 + 2 * math.log10(setting["lr"]) + 0.1 * setting["l1"]))
    assert isinstance(found, Importance)
    assert [parameter.names for parameter in found.parameters] == [("lr",), ("l1",), ("mode",)]
    assert found.parameters[0].importance > 0.6 and found.parameters[2].importance < 0.05
    assert sum(parameter.importance for parameter in found.parameters) == pytest.approx(1)
    assert found.systems == 18 and found.score > 0.8 and not found.doubtful


def test_correlation_is_that_of_the_logarithm_and_has_a_sign():
    found = importance(sweep(GRID, lambda setting: -2 * math.log10(setting["lr"])))
    correlations = {parameter.names[0]: parameter.correlation for parameter in found.parameters}
    assert correlations["lr"] == pytest.approx(-1, abs=1e-4)
    assert correlations["mode"] is None


def test_a_category_counts_as_one_option_however_many_values_it_has():
    found = importance(sweep(GRID, lambda setting: {"lsgan": 1, "hinge": 5, "wgan": 3}[setting["mode"]]))
    assert found.parameters[0].names == ("mode",) and found.parameters[0].importance > 0.95


def test_chance_is_doubtful():
    chance = iter([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3])
    found = importance(sweep(GRID, lambda _: next(chance)))
    assert found.score < 0.3 and found.doubtful


@pytest.fixture
def mean_shares(monkeypatch):
    """Returns the mean importance of two continuous and two binary options over repeated sweeps of 30 systems, of which
    the first binary option has this effect, beside noise of standard deviation 1."""
    monkeypatch.setattr("gancolor.compare.importance.TREES", 60)
    monkeypatch.setattr("gancolor.compare.importance.SHUFFLES", 5)

    def repeated(effect: float) -> dict[str, float]:
        shares: dict[str, list[float]] = {}
        for repeat in range(REPEATS):
            random = np.random.default_rng(repeat)
            settings = [
                {"lr": random.random(), "l1": random.random(), "flip": bool(random.integers(2)), "ema": n % 2 == 0}
                for n in range(30)
            ]
            found = importance(sweep(settings, lambda at, random=random: random.normal() + effect * at["flip"]))
            for parameter in found.parameters:
                shares.setdefault(parameter.names[0], []).append(parameter.importance)
        return {name: float(np.mean(values)) for name, values in shares.items()}

    return repeated


def test_options_with_many_values_are_not_favoured(mean_shares):
    """On the systems that the forest was trained on, the continuous options would get 0.8 of noise's importance, and
    more than this effect's."""
    noise = mean_shares(0)
    assert noise["lr"] + noise["l1"] < 0.7
    effect = mean_shares(1)
    assert effect["flip"] > 2 * max(effect["lr"], effect["l1"])


def test_it_comes_out_the_same_every_time():
    comparison = sweep(GRID, lambda setting: setting["l1"])
    assert importance(comparison) == importance(comparison)


def test_options_that_change_together_are_one():
    settings = [{**setting, "lr_d": 4 * setting["lr"]} for setting in GRID]
    found = importance(sweep(settings, lambda setting: math.log10(setting["lr"])))
    assert found.parameters[0].names == ("lr", "lr_d")


def test_options_drawn_independently_are_not_one_although_each_system_has_its_own_values():
    """As a random search draws them."""
    random = np.random.default_rng(0)
    settings = [{"lr": rate, "lr_d": 4 * rate, "rest": 1 - rate, "l1": random.random()} for rate in random.random(12)]
    found = importance(sweep(settings, lambda setting: setting["lr"]))
    assert [parameter.names for parameter in found.parameters] == [("lr", "lr_d", "rest"), ("l1",)]


def test_seeds_of_one_system_are_one():
    settings = [{**setting, "seed": seed} for setting in GRID[:6] for seed in (0, 1)]
    found = importance(sweep(settings, lambda setting: setting["l1"]))
    assert found.systems == 6


def test_options_that_only_some_systems_have_are_categories():
    settings = [{"lr": rate, **({"backbone": "resnet18"} if deep else {})} for rate in (1, 2, 3, 4) for deep in (0, 1)]
    found = importance(sweep(settings, lambda setting: float("backbone" in setting)))
    assert found.parameters[0].names == ("backbone",)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (GRID[:5], "only 5 systems have known options; at least 6 are needed"),
        ([{"arch": f"arch{n}"} for n in range(8)], "no option has the same value in two systems"),
        ([{f"o{i}": int(i == n) for i in range(8)} for n in range(8)], "8 systems differ in 8 ways"),
    ],
)
def test_what_can_not_be_told_is_not_told(settings, reason):
    assert reason in importance(sweep(settings, lambda setting: len(repr(setting))))


def test_systems_that_score_the_same_tell_nothing():
    assert importance(sweep(GRID, lambda _: 20.0)) == "all systems score the same"


def test_pictures_of_other_tools_do_not_count():
    comparison = Comparison({"a.json": made_result({f"tool {n}": {"pictures": "x"} for n in range(9)}, pictured=0)})
    assert importance(comparison) == "only 0 systems have known options; at least 6 are needed"
