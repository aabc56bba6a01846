import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gancolor.color.colorfulness import colorfulness
from gancolor.color.torch_lab import grey, rgb_to_lab, to_float, to_uint8
from gancolor.config.options import EvalConfig, LpipsConfig
from gancolor.data.cache.index import Columns
from gancolor.data.cache.photographs import Photographs
from gancolor.evaluation.scoring import colorize
from gancolor.metrics.bootstrap import Mean, mean_of
from gancolor.metrics.image import psnr, ssim
from gancolor.models.output import GeneratorOutput
from gancolor.training import validation
from gancolor.training.validation import Validation
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "fp32")
OFF = LpipsConfig("off")


class Colorist(nn.Module):
    """Generator that predicts one chroma everywhere, with a layer that shows the mode."""

    def __init__(self, a: float = 0.0, b: float = 0.0) -> None:
        super().__init__()
        self.chroma = nn.Parameter(torch.tensor([a, b]))
        self.modes: list[bool] = []

    def forward(self, lightness: torch.Tensor) -> GeneratorOutput:
        self.modes.append(self.training)
        height, width = lightness.shape[-2:]
        return GeneratorOutput(self.chroma.view(1, 2, 1, 1).expand(len(lightness), 2, height, width))


@pytest.fixture
def photographs(scenes):
    return Photographs(scenes, Columns.of("abcd", [0] * 4, colorfulness(to_float(scenes))))


@pytest.fixture
def validate(photographs):
    """Create a validation with these options, without LPIPS."""
    return lambda **options: Validation(photographs, EvalConfig(**options), OFF, CPU)


def figures(monkeypatch, validation_: Validation, metric: str, values: list[float], stages: str = "") -> list[bool]:
    """Return which of these evaluations are the best so far, in stages named by one letter each."""
    said = []
    for step, (value, stage) in enumerate(zip(values, stages or "p" * len(values), strict=True)):
        scores = {"psnr": torch.tensor([20.0]), "colorfulness": torch.tensor([30.0]), metric: torch.tensor([value])}
        monkeypatch.setattr(validation, "score_generator", lambda *_, scores=scores: scores)
        monkeypatch.setattr(validation_, "grey_scores", {"psnr": torch.tensor([22.0])})
        validation_.config = replace(validation_.config, best_metric=metric)
        said.append(validation_.evaluate(Colorist(), stage, step))
    return said


# Figures ----------------------------------------------------------------------------------------------------------


def test_grey_baseline_and_truth_are_scored_at_construction(validate, scenes):
    found = validate()
    truth, baseline = to_float(scenes), to_float(to_uint8(grey(rgb_to_lab(to_float(scenes))[0])))
    expected = psnr(baseline, truth).mean().item()
    assert found.grey["psnr"].mean == pytest.approx(expected, abs=1e-3)  # but for the rounding of some values
    assert found.grey["ssim"].mean == pytest.approx(ssim(baseline, truth).mean().item(), rel=1e-5)
    assert found.grey["colorfulness"].mean < 0.5
    assert found.truth["colorfulness"].mean == pytest.approx(colorfulness(truth).mean().item(), rel=1e-6)


def test_generator_without_colour_scores_like_grey(validate):
    found = validate()
    found.evaluate(Colorist(), "pretrain", 10)
    for name, mean in found.grey.items():
        assert found.means[name] == mean
    assert found.means["gain"] == Mean(0.0, 0.0, 0.0)


def test_gain_is_over_grey_photograph_by_photograph(validate, scenes):
    found = validate()
    found.evaluate(Colorist(0.1, 0.2), "pretrain", 10)
    made = to_float(colorize(Colorist(0.1, 0.2).eval(), scenes).pictures)
    gains = psnr(made, to_float(scenes)) - found.grey_scores["psnr"]
    assert found.means["gain"].mean == pytest.approx(gains.mean().item(), abs=1e-4)
    assert found.means["gain"].half_width == pytest.approx(mean_of(gains).half_width, abs=1e-4)
    assert 0 < found.means["gain"].half_width < gains.std().item()
    assert found.means["colorfulness"].mean == pytest.approx(colorfulness(made).mean().item(), rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 32])
def test_scores_do_not_depend_on_the_batch(validate, batch_size):
    found, whole = validate(batch_size=batch_size), validate()
    for one in (found, whole):
        one.evaluate(Colorist(0.1, -0.1), "pretrain", 1)
    for name, mean in whole.means.items():
        assert found.means[name].mean == pytest.approx(mean.mean, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_generator_is_evaluated_in_eval_mode_and_its_mode_restored(validate, training):
    generator = Colorist().train(training)
    validate().evaluate(generator, "pretrain", 1)
    assert generator.modes and not any(generator.modes)
    assert generator.training == training


# The best ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "values", "improved"),
    [
        ("psnr", [20.0, 21.0, 20.5, 21.0, 22.0], [True, True, False, False, True]),
        ("ssim", [0.9, 0.8, 0.95], [True, False, True]),
        ("auc", [90.0, 91.0], [True, True]),
        ("lpips", [0.3, 0.4, 0.2, 0.25], [True, False, True, False]),
        ("lpips_vgg", [0.3, 0.2, 0.4], [True, True, False]),
        ("ciede2000", [9.0, 8.0, 8.5], [True, True, False]),
        ("mse", [300.0, 400.0], [True, False]),
    ],
)
def test_best_is_highest_or_for_distances_lowest(monkeypatch, validate, metric, values, improved):
    found = validate()
    assert figures(monkeypatch, found, metric, values) == improved
    step = len(values) - 1 - improved[::-1].index(True)
    assert found.best == {
        "stage": "p", "metric": metric, "weights": "off" if metric.startswith("lpips") else None, "hints": 0,
        "value": pytest.approx(values[step], rel=1e-6), "step": step,
        "colorfulness": pytest.approx(30 / found.truth["colorfulness"].mean, rel=1e-6),
    }  # fmt: skip


def test_evaluations_are_compared_only_within_a_stage(monkeypatch, validate):
    """Adversarial training trades PSNR for colour."""
    found = validate()
    assert figures(monkeypatch, found, "psnr", [25.0, 26.0, 20.0, 19.0, 20.5], "ppaaa") == [
        True, True, True, False, True,
    ]  # fmt: skip
    assert found.best["stage"] == "a" and found.best["step"] == 4


def test_evaluations_are_compared_only_within_a_metric(monkeypatch, validate):
    """A run may resume with another --eval.best_metric."""
    found = validate()
    assert figures(monkeypatch, found, "psnr", [25.0]) == [True]
    assert figures(monkeypatch, found, "ssim", [0.8, 0.7, 0.9]) == [True, False, True]
    assert found.best["metric"] == "ssim"
    assert figures(monkeypatch, found, "lpips", [0.95, 0.99]) == [True, False]


def test_evaluations_are_compared_only_with_the_same_hints_and_weights(monkeypatch, validate):
    """A run may resume with other --eval.hints or --lpips.weights. States of older versions contain neither."""
    found = validate(hints=10)
    assert figures(monkeypatch, found, "psnr", [25.0]) == [True]
    found.config = replace(found.config, hints=0)
    assert figures(monkeypatch, found, "psnr", [22.0, 21.0]) == [True, False]
    del found.best["hints"], found.best["weights"]
    assert figures(monkeypatch, found, "psnr", [21.0, 23.0]) == [False, True]
    assert figures(monkeypatch, found, "lpips", [0.2, 0.3]) == [True, False]
    found.lpips_weights["lpips"] = "other.pth"
    assert figures(monkeypatch, found, "lpips", [0.3, 0.4]) == [True, False]


@pytest.mark.parametrize("metric", ["psnr", "lpips"])
def test_non_finite_score_is_never_the_best(monkeypatch, validate, metric):
    found = validate()
    assert figures(monkeypatch, found, metric, [math.nan, 0.5, math.nan]) == [False, True, False]
    assert found.best["value"] == 0.5


def judge(monkeypatch, found: Validation, evaluations: list[tuple[float, float]]) -> list[bool]:
    """Return which evaluations, given LPIPS and share of the truth's colourfulness, are the best so far."""
    said = []
    for step, (lpips, share) in enumerate(evaluations):
        colourful = torch.tensor([share * found.truth["colorfulness"].mean])
        scores = {"psnr": torch.tensor([20.0]), "lpips": torch.tensor([lpips]), "colorfulness": colourful}
        monkeypatch.setattr(validation, "score_generator", lambda *_, scores=scores: scores)
        monkeypatch.setattr(found, "grey_scores", {"psnr": torch.tensor([22.0])})
        said.append(found.evaluate(Colorist(), "adversarial", step))
    return said


def test_best_is_chosen_among_the_colourful_enough(monkeypatch, validate):
    """LPIPS alone would choose the second. Pale evaluations rank by colourfulness until one is colourful enough."""
    found = validate()
    found.config = replace(found.config, best_metric="lpips", min_colorfulness=0.65)
    evaluations = [(0.15, 0.4), (0.13, 0.3), (0.16, 0.5), (0.20, 0.7), (0.14, 0.6), (0.18, 0.66), (0.19, 0.9)]
    assert judge(monkeypatch, found, evaluations) == [True, False, True, True, False, True, False]
    assert found.best["step"] == 5
    assert found.verdict() == "best so far"


def test_verdict_reports_a_best_that_is_too_pale(monkeypatch, validate):
    found = validate()
    found.config = replace(found.config, best_metric="lpips", min_colorfulness=0.65)
    judge(monkeypatch, found, [(0.15, 0.4)])
    assert "40% of the truth's colourfulness (--eval.min_colorfulness 0.65)" in found.verdict()


def test_best_without_min_colorfulness_depends_only_on_the_metric(monkeypatch, validate):
    found = validate()
    found.config = replace(found.config, best_metric="lpips")
    assert judge(monkeypatch, found, [(0.15, 0.4), (0.13, 0.1), (0.14, 0.9)]) == [True, True, False]


def test_validation_state_survives_json(monkeypatch, validate):
    found, resumed = validate(), validate()
    figures(monkeypatch, found, "psnr", [21.0, 23.0])
    resumed.load_state(json.loads(json.dumps(found.state())))
    assert resumed.best == found.best
    assert resumed.means["psnr"].mean == found.means["psnr"].mean and math.isnan(resumed.means["psnr"].low)
    assert figures(monkeypatch, resumed, "psnr", [22.0, 24.0]) == [False, True]


# LPIPS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def alexnet(tmp_path):
    from torchvision.models import alexnet as build

    torch.manual_seed(0)
    features = build(weights=None).features.state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in features.items()}, tmp_path / "alexnet.pth")
    return str(tmp_path / "alexnet.pth")


def test_lpips_is_measured_where_its_weights_are_given(photographs, alexnet):
    found = Validation(photographs, EvalConfig(best_metric="lpips"), LpipsConfig(alexnet), CPU)
    assert found.grey["lpips"].mean > 0
    assert found.evaluate(Colorist(), "pretrain", 1)
    assert found.best["metric"] == "lpips" and found.best["value"] == found.grey["lpips"].mean
    assert "LPIPS" in found.line() and "LPIPS" in found.table("ugan")


def test_lpips_is_left_out_if_its_weights_are_missing(photographs):
    found = Validation(photographs, EvalConfig(), LpipsConfig("auto", "auto"), CPU)
    assert not {"lpips", "lpips_vgg"} & found.grey.keys()
    found.evaluate(Colorist(), "pretrain", 1)
    assert "LPIPS" not in found.line() + found.table("ugan")


@pytest.mark.parametrize(
    ("weights", "metric", "match"),
    [
        (("auto", "off"), "lpips", "alexnet.*--lpips.weights FILE"),
        (("nothing.pth", "off"), "psnr", r"nothing\.pth: no such file of weights"),
        (("off", "auto"), "lpips_vgg", "vgg16.*--lpips.vgg_weights FILE"),
        (("off", "nothing.pth"), "psnr", r"nothing\.pth: no such file of weights"),
    ],
)
def test_missing_lpips_weights_are_refused_if_needed(photographs, weights, metric, match):
    with pytest.raises(InputError, match=match):
        Validation(photographs, EvalConfig(best_metric=metric), LpipsConfig(*weights), CPU)


# Guards -----------------------------------------------------------------------------------------------------------


def test_troubles_describe_the_last_evaluation(validate):
    found = validate()
    for chroma, troubles in (((0.0, 0.0), ["colour collapse"]), ((0.9, 0.9), ["oversaturation"])):
        found.evaluate(Colorist(*chroma), "pretrain", 1)
        assert list(found.troubles()) == troubles


# What people see --------------------------------------------------------------------------------------------------


def test_line_lists_every_score_with_its_metric(validate):
    found = validate()
    found.evaluate(Colorist(0.1, 0.2), "pretrain", 1)
    means, truth = found.means, found.truth["colorfulness"].mean
    assert found.line() == (
        f"PSNR {means['psnr'].mean:.2f} dB ({means['gain'].mean:+.2f} over grey), SSIM {means['ssim'].mean:.4f}, "
        f"colourfulness {means['colorfulness'].mean:.1f} (truth {truth:.1f})"
    )


def test_table_has_grey_generator_and_truth(validate):
    found = validate()
    found.evaluate(Colorist(0.1, 0.1), "pretrain", 1)
    _, _, *rows = found.table("ugan").splitlines()
    assert [row.split()[0] for row in rows] == ["grey", "ugan", "truth"]


def test_samples_are_grey_predicted_and_true(validate, scenes, tmp_path):
    found = validate(samples=2)
    found.draw_samples(tmp_path / "s.png", "ugan", Colorist(0.3, -0.3))
    grid = np.asarray(Image.open(tmp_path / "s.png"))
    side = 128  # 64 pixels, twice
    strips = [grid[row * (24 + side) + 24 : (row + 1) * (24 + side)][:, 4 : 4 + side] for row in range(3)]
    of_grey, made, truth = (strip.astype(int) for strip in strips)
    assert np.ptp(of_grey, axis=2).max() <= 1
    assert (made[..., 2] - made[..., 1]).mean() > 20  # towards violet
    assert any(np.array_equal(truth[::2, ::2], scene.permute(1, 2, 0).numpy()) for scene in scenes)
    again = tmp_path / "again.png"
    validate(samples=2).draw_samples(again, "ugan", Colorist(0.3, -0.3))
    assert again.read_bytes() == (tmp_path / "s.png").read_bytes()


class Follower(Colorist):
    """Generator with hints: predicts their mean colour."""

    takes_hints = True

    def forward(self, lightness: torch.Tensor, hints: torch.Tensor | None = None) -> GeneratorOutput:
        chroma = super().forward(lightness).chroma
        if hints is None:
            return GeneratorOutput(chroma)
        share = hints[:, 2:].mean(dim=(2, 3), keepdim=True)
        return GeneratorOutput(chroma + (hints[:, :2] * hints[:, 2:]).mean(dim=(2, 3), keepdim=True) / share)


def test_results_are_scored_without_hints(photographs):
    """Runs are compared by them, and runs with hints would win."""
    found, generator = Validation(photographs, EvalConfig(hints=5), OFF, CPU), Follower()
    found.evaluate(generator, "p", 1)
    hinted = found.means["psnr"].mean
    rows = found.score_automatic(generator)
    plain = Validation(photographs, EvalConfig(), OFF, CPU)
    plain.evaluate(generator, "p", 1)
    assert found.means["psnr"].mean == plain.means["psnr"].mean < hinted
    assert list(rows) == [0, 5] and rows[5]["psnr"].mean == hinted
    assert rows[5]["over_automatic"].mean == pytest.approx(hinted - rows[0]["psnr"].mean, abs=1e-4)
    assert plain.score_automatic(generator) == {}
