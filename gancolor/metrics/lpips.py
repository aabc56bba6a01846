"""LPIPS, from the package of its authors, with the trunk's weights from torchvision's cache or a file."""

import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gancolor.metrics.image import PictureDistance
from gancolor.utils.errors import InputError
from gancolor.utils.weights import load_file, load_published

LPIPS_LEAST_SIZE = 31  # smallest side that AlexNet's pooling can handle [pixels]
Trunk = Literal["alex", "vgg"]


def lpips(
    weights: str,
    device: torch.device,
    download: bool = True,
    size: int = LPIPS_LEAST_SIZE,
    option: str = "--lpips.weights",
    trunk: Trunk = "alex",
) -> PictureDistance:
    """Return LPIPS (Zhang 2018), version 0.1: a function that maps two batches of pictures, sRGB (B, 3, H, W) in
    [0, 1], to distances (B,); lower is more similar.

    Args:
        weights: the trunk's: "auto" (torchvision's cache, else its server), "random" or a file.
        download: False: only use the cache.
        size: side of the pictures [pixels].
        option: the flag that `weights` comes from, for errors.
        trunk: AlexNet ("alex") or VGG-16 ("vgg").

    Raises:
        InputError: the weights are unavailable, or the pictures are too small; the message says what to do.
    """
    if size < LPIPS_LEAST_SIZE:
        raise InputError(f"LPIPS needs pictures of {LPIPS_LEAST_SIZE} pixels or more: give a larger --data.size")
    from lpips import LPIPS
    from torchvision.models import AlexNet_Weights, VGG16_Weights, alexnet, vgg16

    measures = option.startswith("--lpips.")  # random features are fine for a loss, but not for a reported metric
    published, build = {
        "alex": (AlexNet_Weights.IMAGENET1K_V1, alexnet),
        "vgg": (VGG16_Weights.IMAGENET1K_V1, vgg16),
    }[trunk]
    if weights == "auto":
        instead = f"{option} FILE" + ("" if measures else " (or `random`)")
        state = load_published(published.url, instead, download)
    elif weights == "random" and measures:
        raise InputError(f"{option} random: random features measure nothing; give auto, off or a file")
    elif weights == "random":
        state = build().state_dict()
    else:
        state = load_file(Path(weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision in a deprecated way
        network = LPIPS(net=trunk, version="0.1", pnet_rand=True, verbose=False)
    # The package splits the features into slices but keeps their numbers: features.3.weight is slice2.3.weight.
    try:
        for name, parameter in network.net.named_parameters():
            parameter.data.copy_(state["features." + name.split(".", 1)[1]])
    except (KeyError, RuntimeError):
        name = {"alex": "an AlexNet", "vgg": "a VGG-16"}[trunk]
        raise InputError(f"{option} {weights}: not {name}'s weights in torchvision's layout") from None
    network = network.requires_grad_(False).eval().to(device)

    def distance(picture: Tensor, truth: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            return network(picture, truth, normalize=True).flatten()

    return distance
