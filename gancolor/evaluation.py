"""Scores a generator on photographs, beside the grey baseline and the truth."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancolor import distributed
from gancolor.color import grey, lab_to_rgb, rgb_to_lab, to_float, to_uint8
from gancolor.data.photographs import Photographs
from gancolor.hardware import Hardware
from gancolor.metrics import Metric, colorfulness, psnr, ssim

Scores = dict[str, Tensor]  # metric -> one value a photograph, float32 (N,) on the CPU


@dataclass(frozen=True)
class Mean:
    """Mean over photographs and its standard error (the sample's deviation over sqrt(N); NaN for a single one)."""

    mean: float
    stderr: float


def colorize(generator: nn.Module, pictures: Tensor) -> Tensor:
    """uint8 sRGB (B, 3, H, W) to the same pictures in predicted colour, float32 sRGB in [0, 1], as 8 bits hold it.

    Only their lightness is looked at.
    """
    lightness, _ = rgb_to_lab(to_float(pictures))
    return to_float(to_uint8(lab_to_rgb(lightness, generator(lightness).chroma)))


def greyed(pictures: Tensor) -> Tensor:
    """uint8 sRGB (B, 3, H, W) with no colour predicted (a = b = 0), float32 sRGB in [0, 1], as 8 bits hold it."""
    lightness, _ = rgb_to_lab(to_float(pictures))
    return to_float(to_uint8(grey(lightness)))


@torch.inference_mode()
def score(
    system: Callable[[Tensor], Tensor],
    photographs: Photographs,
    hardware: Hardware,
    batch_size: int = 32,
    lpips: Metric | None = None,
) -> Scores:
    """PSNR [dB], SSIM, colourfulness and (given its metric) LPIPS of every photograph, shared out over the ranks.

    Args:
        system: uint8 sRGB (B, 3, H, W) on the device to float sRGB in [0, 1].
    """
    metrics: dict[str, Metric] = {"psnr": psnr, "ssim": ssim}
    if lpips is not None:
        metrics["lpips"] = lpips
    names = [*metrics, "colorfulness"]
    mine = torch.arange(len(photographs))[distributed.rank() :: distributed.world_size()]
    rows = [torch.empty(0, len(names), device=hardware.device)]
    for indices in mine.split(batch_size):
        pictures = photographs.take(indices).to(hardware.device)
        truth, made = to_float(pictures), system(pictures)
        values = [metric(made, truth) for metric in metrics.values()]
        rows.append(torch.stack([*values, colorfulness(made)], dim=1))
    table = distributed.gather_shares(torch.cat(rows), len(photographs)).cpu()
    return dict(zip(names, table.unbind(dim=1), strict=True))


def score_generator(
    generator: nn.Module,
    photographs: Photographs,
    hardware: Hardware,
    batch_size: int = 32,
    lpips: Metric | None = None,
) -> Scores:
    """`score` of a generator, in float32 (TF32 where the hardware's precision allows it)."""
    training = generator.training
    generator.eval()
    scores = score(lambda pictures: colorize(generator, pictures), photographs, hardware, batch_size, lpips)
    generator.train(training)
    return scores


def with_gain(scores: Scores, baseline: Scores) -> Scores:
    """The scores with "gain", the PSNR over the grey baseline's [dB], photograph by photograph."""
    return {**scores, "gain": scores["psnr"] - baseline["psnr"]}


def summarize(scores: Mapping[str, Tensor]) -> dict[str, Mean]:
    """Each metric's mean and standard error over photographs."""
    return {name: mean_of(values) for name, values in scores.items()}


def mean_of(values: Tensor) -> Mean:
    count = len(values)
    deviation = values.double().std(correction=1).item() if count > 1 else math.nan
    return Mean(values.double().mean().item(), deviation / math.sqrt(count))
