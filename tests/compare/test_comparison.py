import math
import statistics
from dataclasses import replace

import pytest
import torch
from made_results import made_result, made_run

from gancolor.choices import RANKING_METRICS
from gancolor.compare.comparison import Comparison
from gancolor.evaluation.results import EvaluationResult, SystemResult
from gancolor.metrics.bootstrap import Mean, difference, mean_of
from gancolor.metrics.table import METRICS


def names(comparison: Comparison) -> list[str]:
    return [entry.name for entry in comparison.entries]


def scored(metric: str = "psnr", /, **values: list[float]) -> EvaluationResult:
    """A result of systems with these values."""
    count = len(next(iter(values.values())))
    systems = {name: SystemResult({metric: torch.tensor(found)}, {}, {}) for name, found in values.items()}
    baselines = {name: SystemResult({"colorfulness": torch.zeros(count)}) for name in ("grey", "truth")}
    photographs = [f"{number}.jpg" for number in range(count)]
    protocol = {"name": "native", "size": 16}
    return EvaluationResult(protocol, "somewhere", photographs, "digest", [], baselines | systems)


# Ranks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [name for name in RANKING_METRICS if name not in ("fid", "kid")])
def test_best_is_first_and_the_others_lie_behind_it(metric):
    comparison = Comparison({"x": scored(metric, a=[1.0, 2.0, 3.0], b=[2.0, 3.0, 4.0], c=[3.0, 4.0, 5.0])}, metric)
    less = METRICS[metric].better == "less"
    assert names(comparison) == (["a", "b", "c"] if less else ["c", "b", "a"])
    assert [round(gap.mean, 5) for gap in comparison.behind.values()] == [1, 2]
    assert list(comparison.behind) == names(comparison)[1:]
    assert all(gap.is_significant for gap in comparison.behind.values())


def test_sets_are_ranked_by_the_figure_of_the_whole():
    whole = {"a": {"fid": 30.0}, "b": {"fid": 10.0}}
    comparison = Comparison({"x": made_result({"a": {}, "b": {}, "c": {}}, whole=whole)}, "fid")
    assert names(comparison) == ["b", "a"] and comparison.unranked == ["c"]
    assert comparison.behind == {}  # there are no differences photograph by photograph
    assert "fid" in comparison.metrics() and comparison.metrics()[0] == "psnr"


def test_differences_are_paired():
    result = made_result({"a": {}, "b": {}}, photographs=40)
    comparison = Comparison({"x": result})
    one, other = (result.systems[name].scores["psnr"] for name in names(comparison))
    assert comparison.behind["b"] == difference(one, other)
    assert comparison.behind["b"].half_width < mean_of(one).half_width / 2


def test_what_is_level_with_the_first_is_not_certain():
    comparison = Comparison(
        {"x": scored(a=[20.0, 22.0, 24.0, 25.0], b=[22.1, 20.1, 24.1, 25.1], c=[2.0, 2.0, 2.0, 2.0])}
    )
    assert names(comparison) == ["b", "a", "c"]
    assert [gap.is_significant for gap in comparison.behind.values()] == [False, True]


# Which systems there are ------------------------------------------------------------------------------------------


def test_photographs_are_matched_by_name_whatever_their_order():
    result = made_result({"a": {}}, classes=("cats", "dogs"))
    turned = replace(
        result, names=result.names[::-1], classes=result.classes[::-1],
        sample_indices=[len(result.names) - 1 - index for index in result.sample_indices],
        systems={
            "b" if name == "a" else name: replace(system, scores={k: v.flip(0) for k, v in system.scores.items()})
            for name, system in result.systems.items()
        },
    )  # fmt: skip
    comparison = Comparison({"x": result, "y": turned})
    one, other = comparison.entries
    assert (one.name, other.name) == ("a", "b")
    assert all(torch.equal(one.scores[metric], other.scores[metric]) for metric in one.scores)
    assert one.samples == other.samples and comparison.sampled == result.names[:3]
    assert comparison.behind["b"].mean == comparison.behind["b"].half_width == 0
    assert comparison.by_class("psnr")["cats"]["a"] == mean_of(result.systems["a"].scores["psnr"][::2])


def test_seeds_are_one_system():
    seeds = {f"{seed}.json": made_result({"ugan": made_run(seed=seed)}, seed=seed) for seed in (1, 2, 3)}
    other = made_result({"unet": made_run("attention_ugan", 1)}, seed=4)
    comparison = Comparison({**seeds, "other": other})
    (entry,) = [entry for entry in comparison.entries if len(entry.members) == 3]
    assert entry.name == "ugan" and comparison.varying == ["arch"]
    for metric in ("psnr", "ssim"):
        values = torch.stack([result.systems["ugan"].scores[metric] for result in seeds.values()])
        assert torch.allclose(entry.scores[metric], values.mean(dim=0))
        per_seed = values.double().mean(dim=1).tolist()
        expected = statistics.fmean(per_seed), statistics.stdev(per_seed)
        assert entry.seeds[metric] == pytest.approx(expected)
        assert entry.means[metric].mean == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize("option", ["checkpoint_every", "tracking.name", "eval.samples", "out", "data.cache"])
def test_options_that_change_nothing_do_not_make_another_system(option):
    results = {f"{seed}": made_result({"ugan": made_run(seed=seed, **{option: seed})}) for seed in (1, 2)}
    assert [len(entry.members) for entry in Comparison(results).entries] == [2]


@pytest.mark.parametrize("option", ["epochs", "pretrain_epochs", "loss.l1", "data.size"])
def test_systems_that_differ_by_an_option_are_named_by_it(option):
    results = {f"{value}": made_result({"ugan": made_run(seed=3, **{option: value})}) for value in (10, 20)}
    results["other"] = made_result({"attention_ugan": made_run("attention_ugan", seed=3, **{option: 10})})
    comparison = Comparison(results)
    assert sorted(names(comparison)) == ["attention_ugan", f"ugan, {option}=10", f"ugan, {option}=20"]
    assert comparison.varying == ["arch", option]


def test_systems_that_differ_in_much_are_named_by_their_runs_folders():
    runs = {
        name: {
            **made_run(**dict.fromkeys(("a", "b", "c", "d", "e"), name)),
            "checkpoint": f"runs/{name}/best.safetensors",
        }
        for name in ("one", "two")
    }
    results = {name: made_result({"ugan": about}) for name, about in runs.items()}
    assert sorted(names(Comparison(results))) == ["ugan (one)", "ugan (two)"]


@pytest.mark.parametrize("order", [("run.json", "again.json"), ("again.json", "run.json")])
def test_checkpoint_in_several_results_is_one_system_with_all_that_is_known(order):
    """One result has LPIPS, hints, curves and costs; the other, FID and pictures of other photographs."""
    moved = {name: value for name, value in made_run().items() if name not in ("curves", "macs")}
    moved |= {"curves": {}, "photographs_per_second": None}
    run, again = made_result({"ugan": made_run()}), made_result({"runs/a": moved}, whole={"runs/a": {"fid": 12.0}})
    lpips = torch.rand(12)
    run.systems["ugan"].scores["lpips"] = run.systems["grey"].scores["lpips"] = lpips
    again.systems["grey"].whole["fid"] = 90.0
    over = Mean(1.0, 0.5, 1.5)
    run.systems["ugan"].hints = {0: {"over_automatic": over}, 10: {"over_automatic": over}}
    again.systems["runs/a"].hints = {5: {"over_automatic": over}}
    again = replace(again, sample_indices=[4, 5, 6])

    results = {"run.json": run, "again.json": again}
    comparisons = {m: Comparison({name: results[name] for name in order}, m) for m in ("psnr", "lpips", "fid")}
    assert [names(comparison) for comparison in comparisons.values()] == [["ugan"]] * 3
    assert not any(comparison.unranked for comparison in comparisons.values())
    comparison = comparisons["psnr"]
    (entry,) = comparison.entries
    assert len(entry.members) == 1 and entry.seeds == {}
    assert entry.means["fid"].mean == 12 and math.isnan(entry.means["fid"].low)
    assert comparison.grey.means["fid"].mean == 90
    for system in (entry, comparison.grey):
        assert torch.equal(system.scores["lpips"], lpips)
    assert list(entry.members[0].hints) == [0, 5, 10]
    assert {name: entry.about[name] for name in made_run()} == made_run()
    assert comparison.sampled == [run.names[index] for index in (0, 1, 2, 4, 5, 6)]


def test_names_that_two_systems_have_say_where_they_are_from():
    comparison = Comparison({"a.json": made_result({"tool": {}}), "b.json": made_result({"tool": {}}, seed=1)})
    assert sorted(names(comparison)) == ["tool (a.json)", "tool (b.json)"]


def test_baselines_are_those_that_say_most():
    rich = made_result({"a": {}}, whole={"grey": {"fid": 90.0}})
    comparison = Comparison({"poor": made_result({"b": {}}), "rich": rich})
    assert comparison.grey.means["fid"].mean == 90 and "psnr" not in comparison.truth.means


def test_what_only_some_seeds_were_scored_by_is_left_out():
    results = {f"{seed}": made_result({"ugan": made_run(seed=seed)}, seed=seed) for seed in (1, 2)}
    results["1"].systems["ugan"].scores["lpips"] = torch.rand(12)
    comparison = Comparison(results, "lpips")
    assert comparison.entries == [] and comparison.unranked == ["ugan"]


def test_two_checkpoints_of_one_run_are_two_systems():
    """Its best and its finished generator: of one seed, so no two seeds of one system."""
    finished, best = (made_run("ugan", seed=1) for _ in range(2))
    finished |= {"sha256": "a", "checkpoint": "runs/one/generator.safetensors"}
    best |= {"sha256": "b", "checkpoint": "runs/one/best.safetensors"}
    two = {"a.json": made_result({"ugan": finished}), "b.json": made_result({"ugan": best})}
    one = {"a.json": made_result({"runs/one": finished, "best": best})}
    for results in (one, two):
        comparison = Comparison(results)
        assert sorted(names(comparison)) == ["ugan (one/best.safetensors)", "ugan (one/generator.safetensors)"]
        assert not any(entry.seeds for entry in comparison.entries)
        assert list(comparison.behind) == names(comparison)[1:]


@pytest.mark.parametrize(
    "other",
    [
        {"stage": "pretrain"},
        {"checkpoint": "runs/two/best.safetensors"},
        {"step": 10},
        {"interpolated": {"share": 0.3}},
    ],
)
def test_seeds_that_were_trained_unequally_far_are_not_one_system(other):
    how = {
        "stage": "adversarial", "checkpoint": "runs/two/generator.safetensors", "step": 5000,
        "interpolated": {"share": 0.8, "with_sha256": "another of each seed"},
    }  # fmt: skip
    runs = {
        "a.json": made_run(seed=1) | how,
        "b.json": made_run(seed=2) | how,
        "c.json": made_run(seed=3) | how | other,
    }
    comparison = Comparison({origin: made_result({"ugan": about}) for origin, about in runs.items()})
    assert sorted(len(entry.members) for entry in comparison.entries) == [1, 2]


def test_best_checkpoints_of_seeds_are_one_system_whatever_their_steps():
    runs = [made_run(seed=seed) | {"checkpoint": f"runs/{seed}/best.safetensors", "step": 10 * seed} for seed in (1, 2)]
    comparison = Comparison({run["checkpoint"]: made_result({"ugan": run}) for run in runs})
    assert [len(entry.members) for entry in comparison.entries] == [2]


def test_options_without_effect_neither_name_nor_part_systems():
    """A run of no perceptual loss is what it is whatever that loss would have been computed with."""
    runs = [
        made_run(seed=seed, **{"loss.perceptual_weights": weights}) | {"without_effect": ["loss.perceptual_weights"]}
        for seed, weights in enumerate(("imagenet", "random"))
    ]
    comparison = Comparison({f"{run['sha256']}.json": made_result({"ugan": run}) for run in runs})
    (entry,) = comparison.entries
    assert entry.name == "ugan" and len(entry.members) == 2 and comparison.varying == []


def test_a_checkpoint_scored_in_several_ways_is_several_systems():
    about = made_run(**{"data.size": 16})
    ways = [about, about | {"strength": 1.0, "input_size": 16}, about | {"strength": 1.4}, about | {"input_size": 8}]
    results = {f"{number}.json": made_result({"ugan": way}) for number, way in enumerate(ways)}
    assert {*names(Comparison(results))} == {
        "ugan, strength=1.0, input_size=as in training",
        "ugan, strength=1.4, input_size=as in training",
        "ugan, strength=1.0, input_size=8",
    }


def test_an_evaluation_at_the_size_of_training_is_the_usual_one_also_of_smaller_photographs():
    """`made_result` has 16 x 16 pixels."""
    about = made_run(**{"data.size": 32})
    ways = [about | {"strength": 1.0, "input_size": size} for size in (32, 16)]
    results = {f"{number}.json": made_result({"ugan": way}) for number, way in enumerate(ways)}
    assert {*names(Comparison(results))} == {"ugan, input_size=as in training", "ugan, input_size=16"}


def test_seeds_scored_in_different_ways_are_not_averaged():
    about = [made_run(seed=seed, **{"data.size": 16}) for seed in range(2)]
    results = {"a": made_result({"ugan": about[0]}), "b": made_result({"ugan": about[1] | {"strength": 1.4}})}
    assert [len(entry.members) for entry in Comparison(results).entries] == [1, 1]
