"""Results with random scores and pictures, for tests of charts and comparisons."""

import hashlib
import io

import numpy as np
import torch
from PIL import Image

from gancolor.evaluation.results import EvaluationResult, SystemResult

PROTOCOL = {"name": "native", "size": 16, "photographs": "all", "resizing": "centre square", "rounding": "8 bits"}


def made_result(systems, photographs=12, size=16, pictured=3, classes=(), whole=None, seed=0):
    """Create a result of systems, name -> about. Later systems are worse and more colourful; a photograph is equally
    hard for all systems.

    Args:
        pictured: number of photographs with pictures.
        whole: system -> metrics of the whole set.
    """
    random = np.random.default_rng(seed)
    names = [
        f"{classes[number % len(classes)]}/{number:03}.jpg" if classes else f"{number:03}.jpg"
        for number in range(photographs)
    ]
    easy = random.normal(0, 4, photographs)
    found = {}
    for place, (name, about) in enumerate({"grey": {}, **systems, "truth": {}}.items()):
        noise = random.normal(0, 0.5, photographs)
        psnr = 24 + easy + (0 if name == "grey" else 2 - 0.3 * place + noise)
        scores = {"psnr": psnr, "gain": psnr - 24 - easy, "ssim": 0.9 + psnr / 1000, "ciede2000": 30 - psnr}
        if name == "truth":
            scores = {}
        elif name == "grey":
            del scores["gain"]
        scores["colorfulness"] = {"grey": 0.0, "truth": 33.0}.get(name, 10 + 2 * place) + noise.clip(0, 1)
        values = {metric: torch.from_numpy(found).float() for metric, found in scores.items()}
        samples = [_picture(random, size) for _ in range(min(pictured, photographs))]
        found[name] = SystemResult(values, (whole or {}).get(name, {}), dict(about), samples)
    return EvaluationResult(
        {**PROTOCOL, "size": size}, "photographs/val", names, hashlib.sha256(repr(names).encode()).hexdigest(),
        [name.split("/")[0] for name in names] if classes else [], found, list(range(min(pictured, photographs))),
        {"command": "evaluate.py runs/a", "versions": {"gancolor": "0.1.0", "torch": "2.15.0"}},
    )  # fmt: skip


def made_run(arch="ugan", place=0, seed=0, **options):
    """Create a run's description in a result; `place` makes its costs and checkpoint unique."""
    curve = [[step, 20 + place + np.log(step)] for step in range(100, 1100, 100)]
    return {
        "arch": arch, "sha256": f"{arch} {place} {seed} {options}", "parameters": 10 ** (4 + place),
        "macs": 2e9 * (place + 1), "photographs_per_second": 100 / (place + 1), "seconds": 300 * (place + 1),
        "options": {"arch": arch, "seed": seed, **options}, "curves": {"psnr": curve, "gain": curve},
    }  # fmt: skip


def _picture(random, size):
    """As a WebP file: noise over a gradient, which is as hard to compress as a photograph."""
    noise = random.normal(0, 12, (size, size, 3)) + np.linspace(40, 200, size)[:, None, None]
    buffer = io.BytesIO()
    Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(buffer, "WEBP", quality=90)
    return buffer.getvalue()
