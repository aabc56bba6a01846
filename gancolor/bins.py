"""Colours as classes: the 313 ab bins of Zhang 2016, soft encoding, and weights that make rare colours count.

Chroma is ab / 110 as everywhere; bins are numbered 0..312 by ascending a, then b.
"""

from contextlib import nullcontext
from functools import cache

import torch
from torch import Tensor

from gancolor.color import AB_RANGE, rgb_to_lab

CPU = torch.device("cpu")
SIDE = 10  # of a bin [units of ab]
REACH = 11  # the grid runs over -110..110, sRGB's range
# Zhang's list of 313 bins is larger than the 229 of the grid's points that lie in the sRGB gamut, and its rule is not
# published. These are the 313 nearest to the gamut (the last is 13.8 units away, the next 14.2): all but three are his.
MARGIN = 14.0
SURFACE_STEPS = 65  # colours along an edge of the RGB cube, whose surface has all of the gamut's ab
SIGMA = 5.0  # of the soft encoding and of the prior's smoothing [units of ab]
RAREST = 1e-6  # share that no bin counts as rarer than: a stray pixel is not to outweigh a photograph
PIXELS_AT_ONCE = 2**16  # of which distances to all bins are held


@cache
@torch.inference_mode(False)  # what is kept must serve training, whoever asks for it first
def _gamut(device: torch.device) -> tuple[Tensor, Tensor]:
    """The bins' centres (313, 2) in units of ab, and the number of the bin nearest to each point of the grid, int64
    (2 REACH + 1, 2 REACH + 1). Kept on the device: bringing them there would have the host wait in every step."""
    if device != CPU:
        centres, nearest = _gamut(CPU)
        return centres.to(device), nearest.to(device)
    steps = torch.linspace(0, 1, SURFACE_STEPS, device=CPU)
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    faces = [
        torch.stack([first, second, torch.full_like(first, end)]).roll(axis, 0) for axis in range(3) for end in (0, 1)
    ]
    surface = (rgb_to_lab(torch.cat(faces, dim=1))[1] * AB_RANGE).flatten(1).T
    line = torch.arange(-REACH, REACH + 1, device=CPU) * float(SIDE)
    grid = torch.cartesian_prod(line, line)
    centres = grid[_distances(grid, surface).amin(dim=1) < MARGIN]
    return centres, _distances(grid, centres).argmin(dim=1).view(len(line), len(line))


def _distances(points: Tensor, others: Tensor) -> Tensor:
    """(N, 2) and (M, 2) to (N, M), by differences: by a product of matrices, which torch prefers, they are off by 0.02
    units, and by far more in TF32."""
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def bin_centres() -> Tensor:
    """The bins' chroma, float32 (313, 2)."""
    return _gamut(CPU)[0] / AB_RANGE


def nearest_bin(chroma: Tensor) -> Tensor:
    """(B, 2, H, W) to the number of each pixel's bin, int64 (B, H, W)."""
    table = _gamut(chroma.device)[1]
    # What is no number has some bin too: the loss will not be one, and the step is left out.
    place = (chroma.float() * (AB_RANGE / SIDE)).round().nan_to_num().clamp(-REACH, REACH).long() + REACH
    return table[place[:, 0], place[:, 1]]


def soft_encode(chroma: Tensor, neighbours: int = 5) -> tuple[Tensor, Tensor]:
    """Each pixel's colour as a distribution over its nearest bins, weighted by a Gaussian of their distance with sigma
    5, summing to 1 (Zhang 2016, section 2.1). The released code takes 10 bins, the paper 5.

    Returns:
        Weights, float32, and numbers of bins, int64, both (B, neighbours, H, W), the nearest first.
    """
    centres = _gamut(chroma.device)[0]
    pixels = chroma.float().movedim(1, -1).reshape(-1, 2) * AB_RANGE
    found = [_distances(part, centres).topk(neighbours, largest=False) for part in pixels.split(PIXELS_AT_ONCE)]
    distances, numbers = (torch.cat(parts) for parts in zip(*found, strict=True))
    weights = torch.softmax(-distances.square() / (2 * SIGMA**2), dim=-1)
    shape = (chroma.shape[0], *chroma.shape[-2:], neighbours)
    return weights.view(shape).movedim(-1, 1), numbers.view(shape).movedim(-1, 1)


def logits_of(chroma: Tensor) -> Tensor:
    """What the soft encoding says of a predicted colour, (B, 2, H, W) to logits (B, 313, H, W): -d^2 / (2 sigma^2). By
    it, a network that predicts chroma can be judged as one that classifies."""
    centres = _gamut(chroma.device)[0]
    ab = chroma.float() * AB_RANGE
    of_a, of_b = ((ab[:, [axis]] - centres[:, axis, None, None]).square() for axis in range(2))
    return -(of_a + of_b) / (2 * SIGMA**2)


def annealed_mean(logits: Tensor, centres: Tensor, temperature: float) -> Tensor:
    """The mean colour of softmax(logits / T) (Zhang 2016, eq. 5): (B, Q, H, W) and (Q, 2) to chroma (B, 2, H, W)."""
    device = logits.device.type
    exact = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with exact:  # autocast would have the product in half precision
        return torch.einsum("bqhw,qc->bchw", torch.softmax(logits.float() / temperature, dim=1), centres)


def smoothed(prior: Tensor) -> Tensor:
    """A distribution over the bins (313,) smoothed by a Gaussian of sigma 5 over ab."""
    centres = _gamut(CPU)[0].double()
    kernel = torch.exp(-_distances(centres, centres).square() / (2 * SIGMA**2))
    return (prior.double() @ (kernel / kernel.sum(dim=1, keepdim=True))).float()


def rebalancing(prior: Tensor, uniform: float = 0.5) -> Tensor:
    """Each bin's weight (313,): 1 / ((1 - u) p + u / Q), scaled to 1 on average over p (Zhang 2016, eq. 4). Over the
    pixels themselves it is less, where p was smoothed into bins that have none: 0.7 on a few photographs, u = 1/2.

    Args:
        prior: the bins' shares of the training set's pixels, smoothed.
        uniform: the share u of the uniform distribution in the mixture (1/2 in the paper); 0: the inverse frequency, of
            bins that have no pixel as of those that have one in RAREST's inverse.
    """
    mixed = (1 - uniform) * prior + uniform / len(prior)
    weights = 1 / mixed.clamp(min=RAREST)
    return weights / (prior * weights).sum()
