"""Picture metrics, one value per picture, computed in batches on the pictures' own device.

Pictures are float32 sRGB (B, 3, H, W) in [0, 1]; some metrics take Lab instead. To match metrics of saved files, round
pictures to 8 bits first (`color.to_uint8`). Each metric agrees with a reference: scikit-image, the paper's formula, or
the package that it comes from. Metrics of whole sets are in fidelity.py.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gancolor.color import exact
from gancolor.errors import InputError
from gancolor.weights import load_file, load_published

Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Kind:
    """How a metric is shown to readers.

    Attributes:
        better: which direction is better; "neither": compare with the ground truth's value.
        brief: whether terminal tables show it.
    """

    heading: str
    digits: int
    better: Literal["more", "less", "neither"]
    brief: bool = True


METRICS = {
    "psnr": Kind("PSNR [dB]", 2, "more"),
    "gain": Kind("gain [dB]", 2, "more"),
    "ssim": Kind("SSIM", 4, "more"),
    "lpips": Kind("LPIPS", 4, "less"),
    "lpips_vgg": Kind("LPIPS (VGG)", 4, "less"),
    "mse": Kind("MSE", 0, "less", brief=False),
    "ciede2000": Kind("CIEDE2000", 2, "less"),
    "auc": Kind("AuC [%]", 2, "more", brief=False),
    "fid": Kind("FID", 2, "less"),
    "kid": Kind("KID x 1000", 2, "less"),
    "colorfulness": Kind("colourfulness", 1, "neither"),
    "colorfulness_difference": Kind("colourfulness - truth's", 1, "neither", brief=False),
    "colorfulness_ddcolor": Kind("colourfulness (DDColor's)", 1, "neither", brief=False),
    "in_gamut": Kind("in gamut [%]", 1, "more", brief=False),
}

# PSNR and MSE --------------------------------------------------------------------------------------------------------

LEAST_MSE = 1e-10  # one value of a 256 x 256 picture off by one level of 255 gives 8e-11


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio [dB], (B,): 10 log10(1 / MSE), with the MSE over a picture's pixels and
    channels. It is 100 for equal pictures, so that one grey photograph does not make a mean infinite."""
    return psnr_of(mse(picture, truth))


def psnr_of(error: Tensor) -> Tensor:
    """Convert mean squared errors in levels of 0..255 to PSNR [dB]."""
    return -10 * (error / 255**2).clamp(min=LEAST_MSE).log10()


def mse(picture: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared error of RGB in levels of 0..255, (B,)."""
    return 255**2 * (picture - truth).square().mean(dim=(-3, -2, -1))


# SSIM ----------------------------------------------------------------------------------------------------------------

WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian [pixels]
C1, C2 = 0.01**2, 0.03**2
BLOCK = 32  # pixels blurred by one matrix product


def ssim(picture: Tensor, truth: Tensor) -> Tensor:
    """Return SSIM, (B,) (Wang 2004, eq. 13): Gaussian window of 11 pixels, sigma 1.5, mean over RGB.

    Only windows inside the picture count, as in scikit-image; kornia's default and torchmetrics count the border too
    and read up to 0.008 higher. Pictures must be at least 11 x 11.
    """
    with exact(picture.device):
        pairs = zip(picture.unbind(dim=1), truth.unbind(dim=1), strict=True)  # one channel at a time fits in the cache
        return torch.stack([_ssim_of_channel(*pair) for pair in pairs]).mean(dim=0)


def _ssim_of_channel(picture: Tensor, truth: Tensor) -> Tensor:
    """Return the SSIM, (B,), of one channel of two batches, both (B, H, W)."""
    maps = torch.stack([picture, truth, torch.addcmul(picture * picture, truth, truth), picture * truth])
    mean_p, mean_t, squares, product = _blur(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
    means, mean_squares = mean_p * mean_t, torch.addcmul(mean_p * mean_p, mean_t, mean_t)
    similarity = (2 * means + C1) * (2 * (product - means) + C2)
    return (similarity / ((mean_squares + C1) * (squares - mean_squares + C2))).mean(dim=(1, 2))


def _blur(maps: Tensor) -> Tensor:
    """Apply SSIM's Gaussian to (N, H, W) where it lies inside: (N, H - 10, W - 10). Products with banded matrices, a
    block at a time, take half the time of the convolutions in kornia.metrics.ssim."""
    kernel = _gaussian_band(maps.device)
    count, height, width = maps.shape
    rows = maps.reshape(-1, width)
    across = maps.new_empty(len(rows), width - WINDOW + 1)
    for start in range(0, across.shape[1], BLOCK):
        size = min(BLOCK, across.shape[1] - start)
        torch.mm(
            rows[:, start : start + size + WINDOW - 1], kernel[: size + WINDOW - 1, :size],
            out=across[:, start : start + size],
        )  # fmt: skip
    across = across.view(count, height, -1)
    blurred = maps.new_empty(count, height - WINDOW + 1, across.shape[2])
    for start in range(0, blurred.shape[1], BLOCK):
        size = min(BLOCK, blurred.shape[1] - start)
        band = kernel[: size + WINDOW - 1, :size].T.expand(count, -1, -1)
        torch.bmm(band, across[:, start : start + size + WINDOW - 1], out=blurred[:, start : start + size])
    return blurred


@cache
def _gaussian_band(device: torch.device) -> Tensor:
    """Return a banded matrix (BLOCK + 10, BLOCK): column j holds the Gaussian window from row j on."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    band = torch.zeros(BLOCK + WINDOW - 1, BLOCK)
    for column in range(BLOCK):
        band[column : column + WINDOW, column] = window / window.sum()
    return band.to(device)


# Colour differences --------------------------------------------------------------------------------------------------

FARTHEST = 150  # largest threshold of raw accuracy [units of ab]


def ciede2000(lab: Tensor, truth: Tensor) -> Tensor:
    """Return the mean CIEDE2000 colour difference, (B,), of Lab (B, 3, H, W) with L in 0..100
    (CIE 142-2001; Sharma 2005, eq. 2-22). A difference of 1 is about the smallest visible one."""
    (l_1, a_1, b_1), (l_2, a_2, b_2) = lab.unbind(1), truth.unbind(1)
    stretch = 1.5 - 0.5 * _share_of_chroma((_length(a_1, b_1) + _length(a_2, b_2)) / 2)
    a_1, a_2 = a_1 * stretch, a_2 * stretch
    c_1, c_2 = _length(a_1, b_1), _length(a_2, b_2)
    hue, turn = (torch.remainder(torch.atan2(b, a), math.tau) for a, b in ((a_1, b_1), (a_2, b_2)))
    turn = _short_way(turn - hue)
    hue, chroma = hue + turn / 2, (c_1 + c_2) / 2
    t = (
        1 - 0.17 * torch.cos(hue - math.radians(30)) + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6)) - 0.2 * torch.cos(4 * hue - math.radians(63))
    )  # fmt: skip
    from_middle = ((l_1 + l_2) / 2 - 50).square()
    d_l = (l_2 - l_1) / (1 + 0.015 * from_middle / (20 + from_middle).sqrt())
    d_c = (c_2 - c_1) / (1 + 0.045 * chroma)
    d_h = 2 * (c_1 * c_2).sqrt() * torch.sin(turn / 2) / (1 + 0.015 * chroma * t)
    from_blue = _short_way(hue - math.radians(275)) / math.radians(25)
    blueness = torch.exp(-from_blue.square().clamp(max=80))  # otherwise denormal numbers, which are slow on CPUs
    rotation = -2 * _share_of_chroma(chroma) * torch.sin(math.radians(60) * blueness)
    squared = d_l.square() + d_c.square() + d_h.square() + rotation * d_c * d_h
    return squared.clamp(min=0).sqrt().mean(dim=(-2, -1))


def _short_way(angle: Tensor) -> Tensor:
    """Wrap an angle to -pi..pi."""
    return angle - math.tau * (angle / math.tau).round()


def _length(a: Tensor, b: Tensor) -> Tensor:
    return (a * a + b * b).sqrt()


def _share_of_chroma(chroma: Tensor) -> Tensor:
    """Return sqrt(c^7 / (c^7 + 25^7)): 0 for greys, near 1 for bright colours."""
    squared = chroma * chroma
    seventh = squared * squared * squared * chroma
    return (seventh / (seventh + 25.0**7)).sqrt()


def raw_accuracy(lab: Tensor, truth: Tensor) -> Tensor:
    """Return raw accuracy (AuC) [%], (B,), of Lab (B, 3, H, W) (Zhang 2016, section 3.1): the share of pixels whose ab
    are within a distance of the ground truth's, averaged over the distances 0..150. Grey scores about 90."""
    distance = (lab[:, 1:] - truth[:, 1:]).square().sum(dim=1).sqrt()
    return 100 * (1 - distance / FARTHEST).clamp(min=0).mean(dim=(-2, -1))


def within_gamut(picture: Tensor) -> Tensor:
    """Return the share of pixels [%], (B,), that lie in the sRGB gamut, for pictures not clipped to [0, 1]. Half a
    level of 255 is tolerated."""
    return 100 * ((picture - 0.5).abs() <= 0.5 + 0.5 / 255).all(dim=-3).float().mean(dim=(-2, -1))


# Colourfulness -------------------------------------------------------------------------------------------------------


def colorfulness(picture: Tensor) -> Tensor:
    """Return colourfulness, (B,): 0 for grey, about 33 for everyday photographs
    (Hasler and Suesstrunk 2003, section 4).

    sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2) of the signed rg = R - G and yb = (R + G) / 2 - B, on 0..255; s
    and m are standard deviation and mean over the pixels.
    """
    return _colorfulness(_opponents(picture))


def colorfulness_of_bytes(picture: Tensor) -> float:
    """Return the `colorfulness` of a contiguous uint8 (3, H, W) picture, within 0.002, in two thirds of the time."""
    red, green, blue = picture.flatten(1).numpy().astype(np.int16)
    centres, variance = [], 0.0
    for opponents in (2 * (red - green), red + green - 2 * blue):  # twice their values, to stay in integers
        values = opponents.astype(np.float32)
        centres.append(values.mean())
        values -= centres[-1]
        values *= values
        variance += values.mean()  # not values @ values: BLAS libraries differ in the order of summation
    return float(np.sqrt(variance) + 0.3 * np.hypot(*centres)) / 2


def both_colorfulnesses(picture: Tensor) -> Tensor:
    """Return `colorfulness` and `colorfulness_ddcolor`, (B, 2), computing what they share once."""
    opponents = _opponents(picture)
    return torch.stack([_colorfulness(opponents), _colorfulness(opponents.abs())], dim=-1)


def colorfulness_ddcolor(picture: Tensor) -> Tensor:
    """Return `colorfulness` as DDColor's code computes it, (B,): of |rg| and |yb|. Compare values from papers that use
    that code only with this one."""
    return _colorfulness(_opponents(picture).abs())


def _opponents(picture: Tensor) -> Tensor:
    red, green, blue = picture.unbind(dim=-3)
    return 255 * torch.stack([red - green, (red + green) / 2 - blue], dim=-3).flatten(-2)


def _colorfulness(opponents: Tensor) -> Tensor:
    centre = opponents.mean(dim=-1, keepdim=True)
    variance = (opponents - centre).square().mean(dim=-1)  # torch.var_mean takes ten times as long on a CPU
    return variance.sum(dim=-1).sqrt() + 0.3 * centre.squeeze(-1).norm(dim=-1)


# LPIPS ---------------------------------------------------------------------------------------------------------------

LPIPS_LEAST_SIZE = 31  # smallest side that AlexNet's pooling can handle [pixels]
Trunk = Literal["alex", "vgg"]


def lpips(
    weights: str,
    device: torch.device,
    download: bool = True,
    size: int = LPIPS_LEAST_SIZE,
    option: str = "--lpips.weights",
    trunk: Trunk = "alex",
) -> Metric:
    """Return LPIPS (Zhang 2018), v0.1, as a function of two batches of pictures to distances (B,); lower is closer.

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
        raise InputError(f"LPIPS takes pictures of {LPIPS_LEAST_SIZE} pixels or more: give a larger --data.size")
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
        raise InputError(f"{option} random: such a distance measures nothing; give auto, off or a file")
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
