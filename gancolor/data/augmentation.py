"""Batch augmentation on the training device."""

import torch
from kornia.augmentation import RandomResizedCrop
from torch import Tensor, nn

from gancolor.color.torch_lab import exact, to_float, to_uint8

RATIO = (3 / 4, 4 / 3)  # aspect ratios of crops, as in ImageNet training


class Augmentation(nn.Module):
    """Random crop and mirroring of uint8 sRGB (B, 3, size, size), drawn for each photograph separately.

    Random numbers come from torch's default generator, which the trainer seeds with the step.

    Args:
        flip: mirror each photograph with probability 1/2.
        crop_scale: smallest share of the area that a crop keeps; 1: no crop.
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
            # Not indexed by a mask, which would make the host wait for the device.
            chosen = torch.bernoulli(torch.full((len(pictures), 1, 1, 1), 0.5, device=pictures.device)).bool()
            pictures = torch.where(chosen, pictures.flip(-1), pictures)
        return pictures
