"""Small generator in a file whose metadata contains private paths and accounts."""

import torch

from gancolor.config.identity import to_dict
from gancolor.config.options import TrainConfig
from gancolor.models import build_generator
from gancolor.models.checkpoint import export_generator

SMALL = {
    "width": 64, "depth": 2, "size": 32, "dropout": 0.0, "global_size": 64, "classifier_width": 4, "neurons": "low",
    "filters": "low", "classes": 3, "backbone_weights": "random",
}  # fmt: skip
PRIVATE = "/home/someone/secret"  # no exported file may contain this path


def make_generator(arch, **options):
    """Create a generator with non-initial BatchNorm statistics that predicts colours."""
    torch.manual_seed(1)
    generator = build_generator(arch, **{**SMALL, **options})
    with torch.no_grad():
        if arch == "attention_ugan":  # is almost grey initially
            generator.to_chroma[1].weight.mul_(60)
        for _ in range(3):
            generator(torch.rand(4, 1, 64, 64) * 2 - 1)
    return generator.eval()


def about(arch, **options):
    config = to_dict(TrainConfig(arch=arch))
    config["out"] = f"{PRIVATE}/runs/one"
    config["seed"] = 7
    config["data"] |= {"source": f"{PRIVATE}/scenes", "cache": f"{PRIVATE}/cache", "size": 32}
    config["generator"] |= {"width": 64, "depth": 2, "dropout": 0.0, "backbone_weights": f"{PRIVATE}/resnet.pth"}
    config["loss"]["perceptual_weights"] = f"{PRIVATE}/vgg.pth"
    config["lpips"]["weights"] = f"{PRIVATE}/alexnet.pth"
    config["tracking"] |= {"entity": "someone", "name": f"{PRIVATE}/name"}
    return {
        "generator": {"arch": arch, "options": {**SMALL, **options, "backbone_weights": f"{PRIVATE}/resnet.pth"}},
        "data": {
            "source": f"{PRIVATE}/scenes", "train": 6399, "val": 540, "size": 32, "classes": ["forest", "sea"],
            "held_out": False, "digest": "0bf7 03d0",
        },
        "config": config, "effective_batch": 16, "step": 399, "stage": "adversarial",
        "metrics": {"psnr": 25.6473, "gain": 1.2478, "colorfulness": 16.9}, "grey": {"psnr": 24.3995},
        "validation": {"folder": PRIVATE},
    }  # fmt: skip


def save_checkpoint(path, arch="attention_ugan", **options):
    generator = make_generator(arch, **options)
    export_generator(path, generator, about(arch, **options))
    return generator
