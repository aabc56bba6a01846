"""Pictures for people: sample grids, and the picture of the colour prior."""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gancolor.color.bins import REACH, SIDE, bin_centres
from gancolor.color.torch_lab import AB_RANGE, L_HALF_RANGE, lab_to_rgb, to_uint8
from gancolor.utils.files import write_atomically

MARGIN = 4  # between pictures [pixels]
HEADING = 24  # height of a system's name [pixels]
PRIOR_CELL, PRIOR_LIGHTNESS = 10, 70  # side of a bin [pixels], and L of the bins' own colours
LEAST_SIDE = 128  # [pixels]; smaller pictures are enlarged


def save_grid(path: Path, rows: Mapping[str, Tensor]) -> None:
    """Save a PNG with one row of pictures per system, under the system's name; each column is one photograph.

    Args:
        rows: name -> uint8 sRGB (N, 3, H, W), the same N photographs in each.
    """
    strips = {name: _enlarged(pictures) for name, pictures in rows.items()}
    count, _, height, width = next(iter(strips.values())).shape
    strip_height = HEADING + height
    size = (count * (width + MARGIN) + MARGIN, len(strips) * strip_height + MARGIN)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for row, (name, pictures) in enumerate(strips.items()):
        top = row * strip_height
        draw.text((MARGIN, top + HEADING / 2), name, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
            canvas.paste(Image.fromarray(picture), (MARGIN + column * (width + MARGIN), top + HEADING))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda beside: canvas.save(beside, "PNG"))


def _enlarged(pictures: Tensor) -> Tensor:
    """Enlarge small pictures by a whole factor, without smoothing."""
    times = max(1, -(-LEAST_SIDE // min(pictures.shape[-2:])))
    return pictures.cpu().repeat_interleave(times, dim=-2).repeat_interleave(times, dim=-1)


def sample_indices(count: int, samples: int) -> Tensor:
    """Return the indices of up to `samples` of `count` photographs: int64, ascending, the same every time.

    They are drawn at random, because evenly spaced photographs of a folder may all be of one kind.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:samples].sort().values


def save_prior(path: Path, prior: Tensor, rarity: Tensor) -> None:
    """Save a PNG of the colour bins in the plane of a (to the right) and b (upwards): each bin's own colour, its share
    of the training set's pixels, and its weight. The last two use logarithmic scales, white for the largest.

    Args:
        prior, rarity: (Q,), of the 313 or 529 bins.
    """
    centres = bin_centres(len(prior))
    lightness = torch.full((len(centres), 1, 1, 1), PRIOR_LIGHTNESS / L_HALF_RANGE - 1)
    own = lab_to_rgb(lightness, centres[..., None, None]).flatten(1)
    panels = {
        f"colours (L = {PRIOR_LIGHTNESS})": own,
        f"share: {prior.min():.1g} to {prior.max():.2g}": _log_scale(prior),
        f"weight: {rarity.min():.2g} to {rarity.max():.3g}": _log_scale(rarity),
    }
    places = (centres * AB_RANGE / SIDE).round().long() + REACH
    count = 2 * REACH + 1
    pictures = {}
    for name, colours in panels.items():
        plane = torch.full((3, count, count), 0.2)
        plane[:, count - 1 - places[:, 1], places[:, 0]] = colours.T
        pictures[name] = to_uint8(plane.repeat_interleave(PRIOR_CELL, 1).repeat_interleave(PRIOR_CELL, 2)).unsqueeze(0)
    save_grid(path, pictures)


def _log_scale(values: Tensor) -> Tensor:
    """Map values (N,) to greys (N, 3) on a logarithmic scale, 0 for the least and 1 for the greatest."""
    logs = values.clamp(min=1e-12).log()
    greys = (logs - logs.min()) / (logs.max() - logs.min()).clamp(min=1e-12)
    return greys[:, None].expand(-1, 3)
