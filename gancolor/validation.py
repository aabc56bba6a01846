"""Evaluation while training: the averaged generator's figures and sample pictures, and which generator is the best."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gancolor.color import to_float
from gancolor.config import EvalConfig
from gancolor.data.photographs import Photographs
from gancolor.errors import InputError
from gancolor.evaluation import Mean, colorize, greyed, score, score_generator, summarize, with_gain
from gancolor.hardware import Hardware
from gancolor.metrics import Metric, lpips
from gancolor.report import results_table, sample_indices, save_grid

LESS_IS_BETTER = ("lpips",)


class Validation:
    """The validation photographs with the figures of grey and truth on them.

    Attributes:
        means: of the last evaluation, by metric.
        best: {"stage", "metric", "value", "step"} of the best evaluation of the stage that the run has reached.
            Stages compare only with themselves: adversarial training gives up PSNR for colour, as it is meant to.
    """

    def __init__(self, photographs: Photographs, config: EvalConfig, lpips_weights: str, hardware: Hardware) -> None:
        self.photographs, self.config, self.hardware = photographs, config, hardware
        self.lpips = self._load_lpips(lpips_weights)
        self.grey_scores = score(greyed, photographs, hardware, config.batch_size, self.lpips)
        self.grey = summarize(self.grey_scores)
        truth = summarize(score(to_float, photographs, hardware, config.batch_size))
        self.truth = {"colorfulness": truth["colorfulness"]}
        self.means: dict[str, Mean] = {}
        self.best: dict[str, Any] = {}

    def _load_lpips(self, wanted: str) -> Metric | None:
        if wanted == "off" and self.config.best_metric == "lpips":
            raise InputError("--eval.best_metric lpips needs --lpips.weights auto or FILE")
        try:
            return None if wanted == "off" else lpips(wanted, self.hardware.device, False, self.photographs.size)
        except InputError:
            if wanted != "auto" or self.config.best_metric == "lpips":
                raise
            return None  # evaluate.py fetches the weights, and says so

    def state(self) -> dict[str, Any]:
        return {"means": {name: asdict(mean) for name, mean in self.means.items()}, "best": self.best}

    def load_state(self, state: dict[str, Any]) -> None:
        self.means = {name: Mean(**mean) for name, mean in state["means"].items()}
        self.best = state["best"]

    def evaluate(self, generator: nn.Module, stage: str, step: int) -> bool:
        """Scores the generator after `step` steps (every rank its share); whether it is the stage's best so far."""
        scores = score_generator(generator, self.photographs, self.hardware, self.config.batch_size, self.lpips)
        self.means = summarize(with_gain(scores, self.grey_scores))
        metric = self.config.best_metric
        value, sign = self.means[metric].mean, -1 if metric in LESS_IS_BETTER else 1
        improved = math.isfinite(value) and (
            (self.best.get("stage"), self.best.get("metric")) != (stage, metric)
            or sign * value > sign * self.best["value"]
        )
        if improved:
            self.best = {"stage": stage, "metric": metric, "value": value, "step": step}
        return improved

    @torch.inference_mode()
    def draw_samples(self, path: Path, name: str, generator: nn.Module) -> None:
        """A grid of grey, predicted and true pictures, always of the same photographs."""
        chosen = sample_indices(len(self.photographs), self.config.samples)
        pictures = self.photographs.take(chosen).to(self.hardware.device)
        save_grid(path, {"grey": greyed(pictures), name: colorize(generator, pictures), "truth": to_float(pictures)})

    def line(self) -> str:
        """The last evaluation in one line."""
        said = f"PSNR {self.means['psnr'].mean:.2f} dB ({self.means['gain'].mean:+.2f} over grey)"
        said += f", SSIM {self.means['ssim'].mean:.4f}"
        if "lpips" in self.means:
            said += f", LPIPS {self.means['lpips'].mean:.4f}"
        colourful, truth = self.means["colorfulness"].mean, self.truth["colorfulness"].mean
        return f"{said}, colourfulness {colourful:.1f} (truth {truth:.1f})"

    def systems(self, name: str) -> dict[str, dict[str, Mean]]:
        """The rows of the results table."""
        return {"grey": self.grey, name: self.means, "truth": self.truth}

    def table(self, name: str) -> str:
        return results_table(self.systems(name))
