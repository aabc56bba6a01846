"""Augmentation of batches, on the device that trains (kornia)."""

import torch
from kornia.augmentation import RandomHorizontalFlip, RandomResizedCrop
from torch import Tensor, nn


def make_augmentation(size: int, flip: bool, crop_scale: float) -> nn.Module:
    """float sRGB (B, 3, size, size) in [0, 1] to the same, each photograph flipped and cropped by its own chance.

    Chance comes from torch's default generator, which the trainer seeds with the step.

    Args:
        crop_scale: the least share of the area that a crop keeps; 1: no crop.
    """
    steps: list[nn.Module] = []
    if crop_scale < 1:
        steps.append(RandomResizedCrop((size, size), scale=(crop_scale, 1.0), ratio=(3 / 4, 4 / 3), p=1.0))
    if flip:
        steps.append(RandomHorizontalFlip(p=0.5))
    return nn.Sequential(*steps)


def augment(augmentation: nn.Module, pictures: Tensor) -> Tensor:
    """Runs it in float32, without gradients, clipped to what a picture can hold."""
    with torch.no_grad(), torch.autocast(pictures.device.type, enabled=False):
        return augmentation(pictures).clamp(0, 1)
