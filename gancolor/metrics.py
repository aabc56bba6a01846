"""Figures of merit of pictures, one value a picture, computed in batches on the pictures' own device.

Pictures are float32 sRGB (B, 3, H, W) in [0, 1]. To agree with figures of saved files, round them to 8 bits first
(`color.to_uint8`). PSNR and SSIM agree with scikit-image (Gaussian window, data range 1), LPIPS is the lpips package's.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from kornia.metrics import ssim as _ssim
from torch import Tensor

from gancolor.errors import InputError
from gancolor.weights import load_file, load_published

Metric = Callable[[Tensor, Tensor], Tensor]
LEAST_MSE = 1e-10  # a single value of a 256 x 256 picture off by one level of 255 makes 8e-11
LPIPS_LEAST_SIZE = 31  # side that AlexNet's pooling leaves something of [pixels]


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio [dB], (B,): 10 log10(1 / MSE), the MSE over a picture's pixels and channels; 100 for
    equal pictures, so that one photograph that is grey itself does not make a mean infinite."""
    return -10 * (picture - truth).square().mean(dim=(-3, -2, -1)).clamp(min=LEAST_MSE).log10()


def ssim(picture: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity, (B,) (Wang 2004): Gaussian window of 11 pixels, sigma 1.5, mean over RGB.

    Only windows that lie inside the picture count, as in scikit-image; kornia's default and torchmetrics count the
    border too and read up to 0.008 higher. Needs pictures of at least 11 x 11.
    """
    return _ssim(picture, truth, 11, padding="valid").mean(dim=(-3, -2, -1))


def colorfulness(picture: Tensor) -> Tensor:
    """Colourfulness, (B,): 0 for grey, about 33 for everyday photographs (Hasler and Suesstrunk 2003, section 4).

    sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2) of the signed rg = R - G and yb = (R + G) / 2 - B, on 0..255.
    """
    red, green, blue = (picture * 255).unbind(dim=-3)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=-3).flatten(-2)
    spread, centre = opponents.std(dim=-1, correction=0), opponents.mean(dim=-1)
    return spread.norm(dim=-1) + 0.3 * centre.norm(dim=-1)


def lpips(
    weights: str,
    device: torch.device,
    download: bool = True,
    size: int = LPIPS_LEAST_SIZE,
    option: str = "--lpips.weights",
) -> Metric:
    """LPIPS (Zhang 2018), AlexNet, v0.1: a function of two batches of pictures to distances (B,), less is nearer.

    Args:
        weights: AlexNet's: "auto" (torchvision's cache, else its server), "random" or a file.
        download: False: its cache alone.
        size: side of the pictures [pixels].
        option: the flag that `weights` comes from, for errors.

    Raises:
        InputError: the weights can't be had, or the pictures are too small; the message says what to do.
    """
    if size < LPIPS_LEAST_SIZE:
        raise InputError(f"LPIPS takes pictures of {LPIPS_LEAST_SIZE} pixels or more: give a larger --data.size")
    from lpips import LPIPS
    from torchvision.models import AlexNet_Weights, alexnet

    measures = option == "--lpips.weights"  # a loss may well be of random features, a figure may not
    if weights == "auto":
        instead = f"{option} FILE" + ("" if measures else " (or `random`)")
        state = load_published(AlexNet_Weights.IMAGENET1K_V1.url, instead, download)
    elif weights == "random" and measures:
        raise InputError(f"{option} random: such a distance measures nothing; give auto, off or a file")
    elif weights == "random":
        state = alexnet().state_dict()
    else:
        state = load_file(Path(weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision in a way that has been deprecated
        network = LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    # The package cuts AlexNet's features into slices, but keeps their numbers: features.3.weight is slice2.3.weight.
    try:
        for name, parameter in network.net.named_parameters():
            parameter.data.copy_(state["features." + name.split(".", 1)[1]])
    except (KeyError, RuntimeError):
        raise InputError(f"{weights}: not an AlexNet's weights in torchvision's layout") from None
    network = network.requires_grad_(False).eval().to(device)

    def distance(picture: Tensor, truth: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            return network(picture, truth, normalize=True).flatten()

    return distance
