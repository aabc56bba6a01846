"""Attention to colour hints: what a hint says of its own place is passed on to places that look alike."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.color.torch_lab import without_autocast

CELLS = 16  # hints are averaged in CELLS x CELLS cells of the photograph, which are the keys
REACH = 0.2  # initial standard deviation of the weight by distance, as a share of the photograph's side
NULL = 1.0  # initial logit of no correction


class HintAttention(nn.Module):
    """Correction of predicted chroma by hints.

    At the hints, the residual (hint minus prediction) is known. A pixel p's correction is the mean of the residuals,
    weighted by

    softmax over cells h with hints of (e_p . e_h / sqrt(d) - |p - h|^2 / (2 r^2)), and over a logit n_p of no
    correction.

    e is an embedding of the decoder's features. A cell's embedding, position and residual are means over its pixels
    with hints. So without hints, nothing is corrected.

    Args:
        channels: of the decoder's features.
        dim: of the embedding.
    """

    def __init__(self, channels: int, dim: int = 32) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(channels, 2 * dim, 1), nn.ReLU(), nn.Conv2d(2 * dim, dim, 1, bias=False))
        self.null = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.null.weight)
        self.null.bias.data.fill_(NULL)  # type: ignore[union-attr]
        self.log_reach = nn.Parameter(torch.tensor(REACH).log())

    def forward(self, chroma: Tensor, features: Tensor, hints: Tensor) -> Tensor:
        """Return corrected chroma (B, 2, H, W).

        Args:
            chroma: predicted, (B, 2, H, W) in [-1, 1].
            features: of the decoder, (B, channels, h, w), with H and W multiples of h and w.
            hints: (B, 3, H', W'), with H' and W' multiples of h and w.
        """
        with without_autocast(features.device.type):  # which would compute the softmax's logits in half precision
            dtype = self.log_reach.dtype
            return self.corrected(chroma.to(dtype), features.to(dtype), hints.to(dtype))

    def corrected(self, chroma: Tensor, features: Tensor, hints: Tensor) -> Tensor:
        """Return corrected chroma as `forward` does, in the precision of the inputs and without regard to autocast."""
        height, width = features.shape[-2:]
        colour, mask = _averaged(hints, height).split([2, 1], dim=1)
        embedding = self.embed(features)
        places = _places(height, width, features).expand(features.shape[0], -1, -1, -1)
        known = torch.cat([embedding, places, _averaged(chroma, height)], dim=1)
        rows, columns = _cells(height, features), _cells(width, features)
        pooled = rows @ torch.cat([mask, colour, known * mask], dim=1) @ columns.T
        mass, of_hints, of_known = pooled.flatten(2).split([1, 2, known.shape[1]], dim=1)
        there = mass > 0
        share = mass + ~there
        keys, key_places, predicted = (of_known / share).split([embedding.shape[1], 2, 2], dim=1)
        residuals = of_hints / share - predicted  # (B, 2, cells)

        alike = embedding.flatten(2).transpose(1, 2) @ keys / embedding.shape[1] ** 0.5
        at, key_at = places.flatten(2).transpose(1, 2), key_places.transpose(1, 2)
        far = at.square().sum(-1, keepdim=True) - 2 * at @ key_places + key_at.square().sum(-1).unsqueeze(1)
        logits = alike - far / (2 * (2 * self.log_reach).exp())
        logits = logits.masked_fill(~there, -1e4)
        weights = torch.softmax(torch.cat([logits, self.null(features).flatten(2).transpose(1, 2)], dim=2), dim=2)
        correction = (weights[..., :-1] @ residuals.transpose(1, 2)).transpose(1, 2).unflatten(2, (height, width))
        if correction.shape[-2:] != chroma.shape[-2:]:
            correction = F.interpolate(correction, size=chroma.shape[-2:], mode="bilinear", align_corners=False)
        return (chroma + correction).clamp(-1, 1)


def _averaged(planes: Tensor, height: int) -> Tensor:
    """Average planes (B, C, H, W) down to the height of the features."""
    stride = planes.shape[-2] // height
    return F.avg_pool2d(planes, stride) if stride > 1 else planes


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """Return each pixel's place, (1, 2, height, width), in units of the side of a square of the same area."""
    side = (height * width) ** 0.5
    rows = torch.arange(height, device=like.device).view(-1, 1).expand(height, width)
    columns = torch.arange(width, device=like.device).expand(height, width)
    return (torch.stack([rows, columns])[None] / side).to(like.dtype)


def _cells(size: int, like: Tensor) -> Tensor:
    """Return the matrix (CELLS, size) that sums pixels of a row or a column in cells."""
    cell = torch.arange(size, device=like.device) * CELLS // size
    return (cell == torch.arange(CELLS, device=like.device)[:, None]).to(like.dtype)
