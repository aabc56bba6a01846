"""Picture metrics, one value per picture, computed in batches on the pictures' own device.

Pictures are float32 sRGB (B, 3, H, W) in [0, 1]; some metrics take Lab instead. To match metrics of saved files, round
pictures to 8 bits first (`torch_lab.to_uint8`). Each metric agrees with a reference: scikit-image or the paper's
formula.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from gancolor.color.torch_lab import exact

PictureDistance = Callable[[Tensor, Tensor], Tensor]  # two batches of pictures to distances (B,)

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
