"""Random colour hints, which stand for a user's clicks: small patches that show their mean true colour.

Hints are a tensor (B, 3, H, W): chroma ab / 110 where it is given and 0 elsewhere, and a mask that is 1 where it is
given (Zhang 2017, section 3.1).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gancolor.config.options import HintsConfig
from gancolor.data.chance import generator_of_name

LARGEST = 9  # side of the largest patch in training [pixels], as in Zhang 2017
# The number of hints is capped, to keep tensors small: for this share of the photographs, and at the latest at MOST.
BEYOND, MOST = 1e-3, 512
EVALUATION_SIDE = 6  # side of the patches in Zhang 2017's evaluation, figure 5 [pixels]


class Patches(NamedTuple):
    """Square patches of B photographs, all inside the photograph.

    Attributes:
        top, left: int64 (B, N), the patch's first row and column.
        side: int64 (B, N), at most LARGEST; 0: no patch.
    """

    top: Tensor
    left: Tensor
    side: Tensor


def draw_hints(chroma: Tensor, config: HintsConfig) -> Tensor:
    """Draw training hints (B, 3, H, W) for true chroma (B, 2, H, W), by torch's default generator.

    Their number is geometric, and their places are normal around the centre (Zhang 2017, section 3.1, and its released
    code).
    """
    count, device = len(chroma), chroma.device
    most = min(math.ceil(math.log(BEYOND) / math.log1p(-config.p)), MOST)
    chance = torch.rand(count, 1, device=device)
    # 1 - u lies in (0, 1]: its logarithm is finite.
    number = 1 + (torch.log(1 - torch.rand(count, 1, device=device)) / math.log1p(-config.p)).floor()
    number = torch.where(chance < config.absent, 0, number)
    side = torch.randint(1, LARGEST + 1, (count, most), device=device).clamp(max=min(chroma.shape[-2:]))
    top, left = (_normal_places(size - side) for size in chroma.shape[-2:])
    side = torch.where(torch.arange(most, device=device) < number, side, 0)
    hints = reveal(chroma, Patches(top, left, side))
    complete = (chance >= 1 - config.complete).view(-1, 1, 1, 1)
    return torch.where(complete, torch.cat([chroma, torch.ones_like(chroma[:, :1])], dim=1), hints)


def _normal_places(room: Tensor) -> Tensor:
    """Draw int64 places from 0 to `room`, normal around the middle with a quarter of the room as standard deviation."""
    drawn = (room + 1) / 2 + (room + 1) / 4 * torch.randn(room.shape, device=room.device)
    return torch.minimum(drawn.clamp(min=0).long(), room)


def patches_of_names(names: Sequence[str], size: int, number: int) -> Patches:
    """Draw `number` evaluation patches for each of these photographs, uniformly, on the CPU.

    Each photograph's name is its random seed. The patches are nested: the first N are the same for every larger number.
    """
    side = min(EVALUATION_SIDE, size)
    drawn = []
    for name in names:
        drawn.append(torch.randint(size - side + 1, (number, 2), generator=generator_of_name(f"hints {name}")))
    top, left = torch.stack(drawn).unbind(dim=-1)
    return Patches(top, left, torch.full_like(top, side))


def reveal(chroma: Tensor, patches: Patches) -> Tensor:
    """Return hints (B, 3, H, W) that show each patch's mean of the true chroma (B, 2, H, W). Where patches overlap, the
    last one is shown."""
    height, width = chroma.shape[-2:]
    number, outside = patches.side.shape[1], height * width
    if not number:
        return torch.zeros(len(chroma), 3, height, width, device=chroma.device)
    reach = torch.arange(LARGEST, device=chroma.device)
    inside = reach < patches.side[..., None]
    pixels = inside[..., :, None] & inside[..., None, :]  # (B, N, LARGEST, LARGEST)
    rows, columns = (start[..., None] + reach for start in (patches.top, patches.left))
    places = torch.where(pixels, rows[..., :, None] * width + columns[..., None, :], outside).flatten(1)
    padded = F.pad(chroma.flatten(2), (0, 1))  # a zero for places that are outside
    shown = padded.gather(2, places[:, None].expand(-1, 2, -1)).unflatten(2, (number, -1))
    means = shown.sum(dim=-1) / pixels.flatten(2).sum(dim=-1).clamp(min=1)[:, None]
    # The last patch at each pixel: a maximum does not depend on the order of the operations, unlike an assignment.
    owner = torch.full((len(chroma), outside + 1), -1, device=chroma.device)
    numbers = torch.arange(number, device=chroma.device).repeat_interleave(LARGEST**2).expand_as(places)
    owner = owner.scatter_reduce(1, places, numbers, "amax")[:, None, :outside]
    mask = (owner >= 0).to(chroma.dtype)
    colours = means.gather(2, owner.clamp(min=0).expand(-1, 2, -1))
    return torch.cat([colours * mask, mask], dim=1).unflatten(2, (height, width))
