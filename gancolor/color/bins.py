"""Colour classes: bins of the ab plane, soft encoding, and weights that emphasize rare colours.

There are two sets of bins, told apart by their number: GAMUT, the 313 of Zhang 2016, and GRID, the 529 of Zhang 2017,
which include colours that no photograph has. Chroma is ab / 110 as everywhere; bins are numbered by ascending a, then
b.
"""

from functools import cache

import torch
from torch import Tensor

from gancolor.color.torch_lab import AB_RANGE, rgb_to_lab, without_autocast

CPU = torch.device("cpu")
SIDE = 10  # width of a bin [units of ab]
GAMUT, GRID = 313, 529  # numbers of bins
REACH = 11  # grid steps on each side of 0: -110..110 covers sRGB
# Only 229 grid points lie in the sRGB gamut, and Zhang's rule for choosing 313 is not published. These are the 313
# nearest to the gamut (the last is 13.8 units away, the next 14.2); all but three are in Zhang's list.
MARGIN = 14.0
SURFACE_STEPS = 65  # samples along an edge of the RGB cube, whose surface contains all ab values of the gamut
SIGMA = 5.0  # standard deviation of soft encoding and prior smoothing [units of ab]
RAREST = 1e-6  # minimum share of a bin, so that a stray pixel does not outweigh a photograph
PIXELS_AT_ONCE = 2**16  # pixels whose distances to all bins are in memory at a time


@cache
@torch.inference_mode(False)  # the cached tensors must work in training, even if inference requests them first
def _bins(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the bins' centres (count, 2) in units of ab, and each grid point's nearest bin, int64
    (2 REACH + 1, 2 REACH + 1). Both are cached per device: copying them in every step would make the host wait."""
    if device != CPU:
        centres, nearest = _bins(count, CPU)
        return centres.to(device), nearest.to(device)
    line = torch.arange(-REACH, REACH + 1, device=CPU) * float(SIDE)
    grid = torch.cartesian_prod(line, line)
    if count == GRID:
        return grid, torch.arange(GRID, device=CPU).view(len(line), len(line))
    steps = torch.linspace(0, 1, SURFACE_STEPS, device=CPU)
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    faces = [
        torch.stack([first, second, torch.full_like(first, end)]).roll(axis, 0) for axis in range(3) for end in (0, 1)
    ]
    surface = (rgb_to_lab(torch.cat(faces, dim=1))[1] * AB_RANGE).flatten(1).T
    centres = grid[_distances(grid, surface).amin(dim=1) < MARGIN]
    return centres, _distances(grid, centres).argmin(dim=1).view(len(line), len(line))


def _distances(points: Tensor, others: Tensor) -> Tensor:
    """Return distances (N, M) between points (N, 2) and (M, 2), computed from differences.

    Matrix products, which torch prefers, are off by 0.02 units, and by far more in TF32.
    """
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def bin_centres(count: int = GAMUT) -> Tensor:
    """Return the bins' chroma, float32 (count, 2)."""
    return _bins(count, CPU)[0] / AB_RANGE


def nearest_bin(chroma: Tensor, count: int = GAMUT) -> Tensor:
    """Convert chroma (B, 2, H, W) to each pixel's bin number, int64 (B, H, W)."""
    table = _bins(count, chroma.device)[1]
    # NaN gets an arbitrary bin: the loss becomes NaN too, and the step is skipped.
    place = (chroma.float() * (AB_RANGE / SIDE)).round().nan_to_num().clamp(-REACH, REACH).long() + REACH
    return table[place[:, 0], place[:, 1]]


def soft_encode(chroma: Tensor, neighbours: int = 5, count: int = GAMUT) -> tuple[Tensor, Tensor]:
    """Encode each pixel's colour as a distribution over its nearest bins (Zhang 2016, section 2.1).

    Weights are a Gaussian of the distance, sigma 5, and sum to 1. The released code uses 10 bins, the paper 5.

    Returns:
        Weights, float32, and bin numbers, int64, both (B, neighbours, H, W), nearest first.
    """
    centres = _bins(count, chroma.device)[0]
    pixels = chroma.float().movedim(1, -1).reshape(-1, 2) * AB_RANGE
    found = [_distances(part, centres).topk(neighbours, largest=False) for part in pixels.split(PIXELS_AT_ONCE)]
    distances, numbers = (torch.cat(parts) for parts in zip(*found, strict=True))
    weights = torch.softmax(-distances.square() / (2 * SIGMA**2), dim=-1)
    shape = (chroma.shape[0], *chroma.shape[-2:], neighbours)
    return weights.view(shape).movedim(-1, 1), numbers.view(shape).movedim(-1, 1)


def logits_of(chroma: Tensor) -> Tensor:
    """Convert predicted chroma (B, 2, H, W) to the logits of its soft encoding, -d^2 / (2 sigma^2), (B, 313, H, W).
    With them, classification losses apply to networks that predict chroma."""
    centres = _bins(GAMUT, chroma.device)[0]
    ab = chroma.float() * AB_RANGE
    of_a, of_b = ((ab[:, [axis]] - centres[:, axis, None, None]).square() for axis in range(2))
    return -(of_a + of_b) / (2 * SIGMA**2)


def annealed_mean(logits: Tensor, centres: Tensor, temperature: float) -> Tensor:
    """Return the mean colour of softmax(logits / T) (Zhang 2016, eq. 5).

    Args:
        logits: (B, Q, H, W).
        centres: the bins' chroma (Q, 2).

    Returns:
        Chroma (B, 2, H, W).
    """
    with without_autocast(logits.device.type):  # which would compute the product in half precision
        return torch.einsum("bqhw,qc->bchw", torch.softmax(logits.float() / temperature, dim=1), centres)


def smoothed(prior: Tensor) -> Tensor:
    """Smooth a distribution over the bins (Q,) with a Gaussian of sigma 5 in ab."""
    centres = _bins(len(prior), CPU)[0].double()
    kernel = torch.exp(-_distances(centres, centres).square() / (2 * SIGMA**2))
    return (prior.double() @ (kernel / kernel.sum(dim=1, keepdim=True))).float()


def rebalancing(prior: Tensor, uniform: float = 0.5) -> Tensor:
    """Return each bin's weight (Q,): 1 / ((1 - u) p + u / Q), scaled to a mean of 1 over p (Zhang 2016, eq. 4).

    Over the training set's actual pixels, the mean weight is below 1 (0.7 on a few photographs with u = 1/2): smoothing
    moves a part of p into empty bins, which have the greatest weights.

    Args:
        prior: each bin's share p of the training set's pixels, smoothed.
        uniform: share u of the uniform distribution in the mixture (1/2 in the paper); 0: the inverse of each bin's
            share, which counts as RAREST or more.
    """
    mixed = (1 - uniform) * prior + uniform / len(prior)
    weights = 1 / mixed.clamp(min=RAREST)
    return weights / (prior * weights).sum()
