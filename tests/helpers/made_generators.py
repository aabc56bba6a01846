"""Small generators with random weights, exported as runs export them."""

from pathlib import Path

import torch

from gancolor.models import build_generator
from gancolor.models.checkpoint import export_generator


def made_generator(path: Path, size: int = 32, arch: str = "ugan", **options: object) -> Path:
    """An exported generator whose predictions are far from grey."""
    torch.manual_seed(0)
    options = {"width": 4, "depth": 4, "dropout": 0.0, "backbone_weights": "random"} | options
    about = {"generator": {"arch": arch, "options": options}, "data": {"size": size, "source": "demo"}}
    generator = build_generator(arch, **options)
    with torch.no_grad():
        list(generator.parameters())[-2].mul_(500)  # random weights would predict almost grey
    export_generator(path, generator, about)
    return path
