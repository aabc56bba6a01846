"""Augmentation of batches, on the device that trains."""

import torch
from kornia.augmentation import RandomResizedCrop
from torch import Tensor, nn

from gancolor.color import exact, to_float, to_uint8

RATIO = (3 / 4, 4 / 3)  # of a crop's sides, as of ImageNet's trainers


class Augmentation(nn.Module):
    """uint8 sRGB (B, 3, size, size) to the same, each photograph cropped and mirrored by its own chance.

    Chance comes from torch's default generator, which the trainer seeds with the step.

    Args:
        flip: mirror half of them.
        crop_scale: the least share of the area that a crop keeps; 1: no crop.
    """

    def __init__(self, size: int, flip: bool, crop_scale: float) -> None:
        super().__init__()
        self.flip = flip
        scale = (crop_scale, 1.0)
        self.crop = RandomResizedCrop((size, size), scale=scale, ratio=RATIO, p=1.0) if crop_scale < 1 else None

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        if self.crop is not None:
            with exact(pictures.device):
                pictures = to_uint8(self.crop(to_float(pictures)))
        if self.flip:
            # Chosen on the device, all at once: indexing by a mask would make the host wait for it.
            chosen = torch.bernoulli(torch.full((len(pictures), 1, 1, 1), 0.5, device=pictures.device)).bool()
            pictures = torch.where(chosen, pictures.flip(-1), pictures)
        return pictures
