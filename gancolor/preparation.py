"""Photographs as they are kept, to batches as the players learn from them."""

import torch
from torch import Tensor

from gancolor.color import AB_RANGE, L_HALF_RANGE, exact, lab_constants, uint8_to_lab
from gancolor.config import DataConfig
from gancolor.data.augmentation import Augmentation
from gancolor.hardware import Hardware
from gancolor.objective import Batch


class Preparation:
    """Augments, converts to Lab and lays out a batch, on the device that trains.

    Args:
        compiled: fuse the conversion (torch.compile).
    """

    def __init__(self, data: DataConfig, hardware: Hardware, compiled: bool = False) -> None:
        self.hardware = hardware
        self.augmentation = Augmentation(data.size, data.flip, data.crop_scale)
        self.convert = torch.compile(_normalized_lab, dynamic=False) if compiled else _normalized_lab

    def __call__(self, pictures: Tensor, labels: Tensor) -> Batch:
        """uint8 sRGB (B, 3, S, S) and int64 (B,), both on the device, to what the players take."""
        # Around the compiled function: what it switches inside itself is gone by the time that it runs.
        with exact(pictures.device):
            lightness, chroma = self.convert(self.augmentation(pictures), lab_constants(pictures.device))
        return Batch(self.hardware.place(lightness), self.hardware.place(chroma), labels)


def _normalized_lab(pictures: Tensor, constants: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """uint8 sRGB (B, 3, H, W) to lightness (B, 1, H, W) and chroma (B, 2, H, W) in [-1, 1]."""
    lightness, ab = uint8_to_lab(pictures, constants).split([1, 2], dim=1)
    return lightness / L_HALF_RANGE - 1, ab / AB_RANGE
