"""Evaluation during training: scores and sample pictures of the EMA generator, and the choice of the best generator."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.config.options import EvalConfig, LpipsConfig
from gancolor.data.cache.photographs import Photographs
from gancolor.evaluation.grids import sample_indices, save_grid
from gancolor.evaluation.hint_scores import HintMeans
from gancolor.evaluation.scoring import (
    GREY,
    Scores,
    colorize,
    greyed,
    load_networks,
    random_hints,
    score,
    score_generator,
    with_gain,
)
from gancolor.evaluation.tables import results_table
from gancolor.metrics.bootstrap import Mean, difference, summarize
from gancolor.metrics.table import METRICS
from gancolor.training.diagnostics import check_colourfulness
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware


class Validation:
    """Validation photographs, with the scores of the grey baseline and the ground truth on them.

    Attributes:
        scores: of the last evaluation, by metric; means: their means.
        best: {"stage", "metric", "weights", "hints", "value", "step", "colorfulness"} of the best evaluation of the
            stage that the run has reached; "weights" are those of LPIPS if it is the metric, and "colorfulness" is a
            share of the ground truth's. Evaluations are compared only within a stage, because adversarial training
            deliberately gives up PSNR for colour, and only if the options that a resumed run may change are the same.
    """

    def __init__(self, photographs: Photographs, config: EvalConfig, lpips: LpipsConfig, hardware: Hardware) -> None:
        self.photographs, self.config, self.hardware = photographs, config, hardware
        self.lpips_weights = {"lpips": lpips.weights, "lpips_vgg": lpips.vgg_weights}
        self._load_networks(lpips)
        scores, _ = score({"grey": GREY}, photographs, hardware, config.batch_size, self.networks)
        self.grey_scores, self.truth_scores = scores["grey"], scores["truth"]
        self.grey, self.truth = summarize(self.grey_scores), summarize(self.truth_scores)
        self.scores: Scores = {}
        self.means: dict[str, Mean] = {}
        self.best: dict[str, Any] = {}

    def _load_networks(self, config: LpipsConfig) -> None:
        """Load the networks of LPIPS. If weights are not in torchvision's cache, their metric is left out: only
        evaluate.py downloads them.

        Raises:
            InputError: weights are missing that the user named, or that `best_metric` needs.
        """
        best = self.config.best_metric
        self.networks, problems = load_networks(config, self.hardware.device, self.photographs.size, download=False)
        for name, weights in {"lpips": config.weights, "lpips_vgg": config.vgg_weights}.items():
            problem = problems.get(METRICS[name].heading)
            if problem and (weights != "auto" or best == name):
                raise InputError(problem)

    def state(self) -> dict[str, Any]:
        return {"means": {name: asdict(mean) for name, mean in self.means.items()}, "best": self.best}

    def load_state(self, state: dict[str, Any]) -> None:
        self.means = {name: Mean(**mean) for name, mean in state["means"].items()}
        self.best = state["best"]

    def evaluate(self, generator: nn.Module, stage: str, step: int) -> bool:
        """Score the generator after `step` steps (ranks share the work); return whether it is the best of its stage."""
        config = self.config
        scores = score_generator(
            generator, self.photographs, self.hardware, config.batch_size, self.networks, config.hints
        )
        self.scores = with_gain(scores, self.grey_scores)
        self.means = summarize(self.scores)
        metric = config.best_metric
        found: dict[str, Any] = {
            "stage": stage, "metric": metric, "weights": self.lpips_weights.get(metric), "hints": config.hints,
            "value": self.means[metric].mean, "step": step, "colorfulness": self._colorfulness_share(),
        }  # fmt: skip
        comparable = bool(self.best) and all(
            self.best.get(name, found[name]) == found[name]  # states of older versions lack "weights" and "hints"
            for name in ("stage", "metric", "weights", "hints")
        )
        improved = math.isfinite(found["value"]) and (not comparable or self._rank(found) > self._rank(self.best))
        if improved:
            self.best = found
        return improved

    def _colorfulness_share(self) -> float:
        """Return the last evaluation's colourfulness as a share of the ground truth's."""
        truth = self.truth["colorfulness"].mean
        return self.means["colorfulness"].mean / truth if truth else 1.0

    def _rank(self, found: dict[str, Any]) -> tuple[float, float]:
        """Return a sort key; greater is better. Evaluations that are colourful enough rank by the metric, above all
        others, which rank by their colourfulness."""
        least, sign = self.config.min_colorfulness, -1 if METRICS[found["metric"]].better == "less" else 1
        if found["colorfulness"] >= least:
            return least, sign * found["value"]
        return found["colorfulness"], 0.0

    def verdict(self) -> str:
        """Describe the last evaluation, provided that it is the best so far."""
        share, least = self.best["colorfulness"], self.config.min_colorfulness
        if share >= least:
            return "best so far"
        return f"best so far, but with {share:.0%} of the truth's colourfulness (--eval.min_colorfulness {least:g})"

    def score_automatic(self, generator: nn.Module) -> HintMeans:
        """Score the generator without hints, as results are compared; the last evaluation is replaced by this.

        Returns:
            The means without hints and with `eval.hints` of them; empty if evaluations give none.
        """
        number, hinted = self.config.hints, self.scores
        if not number:
            return {}
        scores = score_generator(generator, self.photographs, self.hardware, self.config.batch_size, self.networks)
        self.scores = with_gain(scores, self.grey_scores)
        self.means = summarize(self.scores)
        return {
            count: summarize(found) | {"over_automatic": difference(found["psnr"], scores["psnr"])}
            for count, found in ((0, self.scores), (number, hinted))
        }

    @torch.inference_mode()
    def pictures(self, name: str, generator: nn.Module, indices: Tensor, hints: int = 0) -> dict[str, Tensor]:
        """Return grey, predicted and true pictures of these photographs, uint8 (len(indices), 3, S, S) each."""
        truth = self.photographs.take(indices).to(self.hardware.device)
        patches = random_hints(self.photographs, hints, self.hardware.device)(indices)
        coloured = colorize(generator, truth, patches=patches).pictures
        return {"grey": greyed(truth), name: coloured, "truth": truth}

    def draw_samples(self, path: Path, name: str, generator: nn.Module) -> None:
        """Save a grid of grey, predicted and true pictures, always of the same photographs."""
        indices = sample_indices(len(self.photographs), self.config.samples)
        save_grid(path, self.pictures(name, generator, indices, self.config.hints))

    def troubles(self) -> dict[str, str]:
        """Return problems with the colours of the last evaluation: name -> a line with advice."""
        means = (row["colorfulness"].mean for row in (self.means, self.grey, self.truth))
        return check_colourfulness(*means)

    def line(self) -> str:
        """Summarize the last evaluation in one line."""
        said = f"PSNR {self.means['psnr'].mean:.2f} dB ({self.means['gain'].mean:+.2f} over grey)"
        said += f", SSIM {self.means['ssim'].mean:.4f}"
        if "lpips" in self.means:
            said += f", LPIPS {self.means['lpips'].mean:.4f}"
        colourful, truth = self.means["colorfulness"].mean, self.truth["colorfulness"].mean
        return f"{said}, colourfulness {colourful:.1f} (truth {truth:.1f})"

    def systems(self, name: str) -> dict[str, dict[str, Mean]]:
        """Return the rows of the results table."""
        return {"grey": self.grey, name: self.means, "truth": self.truth}

    def table(self, name: str) -> str:
        return results_table(self.systems(name))
