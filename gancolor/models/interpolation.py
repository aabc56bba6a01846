"""Interpolation between two generators' weights."""

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gancolor.models import FREE_OPTIONS, generator_builder
from gancolor.models.checkpoint import describe, export_generator, load_generator
from gancolor.models.layers import SPECTRAL_VECTORS
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest

POWER_ITERATIONS = 20


def interpolate(path: Path, other: Path, share: float, out: Path) -> None:
    """Write a generator with the weights share x `path`'s + (1 - share) x `other`'s (Wortsman 2022, "Robust fine-tuning
    of zero-shot models", https://arxiv.org/abs/2109.01903).

    If `path` was fine-tuned from `other`, the share sets a compromise between the two without further training. The
    metrics in the two files are not copied.

    Args:
        path, other: checkpoints of the same architecture and options.
        share: weight of `path`, in [0, 1].

    Raises:
        InputError: a checkpoint can't be read, or they hold different generators.
    """
    if not 0 <= share <= 1:
        raise InputError(f"--interpolate {other} {share:g}: the share must be a number from 0 to 1")
    about = describe(path)
    if _architecture(about) != _architecture(describe(other)):
        raise InputError(f"--interpolate {other}: its generator differs from {path}'s (architecture or options)")
    generator, second = load_generator(path), load_generator(other).state_dict()
    for name, tensor in generator.state_dict().items():
        # Counters of batches are kept, and so are spectral norm's vectors, which are estimates for one set of weights.
        if tensor.is_floating_point() and not name.endswith(SPECTRAL_VECTORS):
            tensor.lerp_(second[name], 1 - share)
    _estimate_spectral_norms(generator)
    kept = {
        name: value for name, value in about.items() if name not in ("metrics", "grey", "parity", "weights", "kind")
    }
    export_generator(out, generator, kept | {"interpolated": {"share": share, "with_sha256": file_digest(other)}})


def _architecture(about: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the architecture and all its options that change parameters or their meaning."""
    arch, options = about["generator"]["arch"], about["generator"]["options"]
    defaults = {
        name: parameter.default for name, parameter in signature(generator_builder(arch)).parameters.items()
        if parameter.default is not parameter.empty
    }  # fmt: skip
    return arch, {name: value for name, value in (defaults | options).items() if name not in FREE_OPTIONS}


@torch.no_grad()
def _estimate_spectral_norms(network: nn.Module) -> None:
    """Run spectral norm's power iteration on the present weights. A layer runs a step of it each time that it computes
    its weight in training mode."""
    for layer in network.modules():
        if is_parametrized(layer, "weight"):
            layer.train()
            for _ in range(POWER_ITERATIONS):
                _ = layer.weight
            layer.eval()
