"""Conversion of decoded photographs to training batches."""

import torch
from torch import Tensor

from gancolor.color.torch_lab import AB_RANGE, L_HALF_RANGE, exact, lab_constants, linear_to_lab, to_linear
from gancolor.config.options import DataConfig, HintsConfig
from gancolor.data.augmentation import Augmentation
from gancolor.data.batch import Batch
from gancolor.data.hints import draw_hints
from gancolor.data.tone import Damage, damaged_lightness, draw_damage
from gancolor.utils.hardware import Hardware


class Preprocess:
    """Augmentation, Lab conversion and memory layout of batches, on the training device.

    With `--data.tone`, the lightness is damaged like that of old photographs; the chroma stays the true one.

    Args:
        compiled: fuse the conversion (torch.compile).
        hints: how to draw colour hints; None: the generator takes none.
    """

    def __init__(
        self, data: DataConfig, hardware: Hardware, compiled: bool = False, hints: HintsConfig | None = None
    ) -> None:
        self.hardware, self.hints = hardware, hints
        self.augmentation = Augmentation(data.size, data.flip, data.crop_scale)
        self.size, self.tone = data.size, data.tone
        self.convert = torch.compile(_normalized_lab, dynamic=False) if compiled else _normalized_lab

    def __call__(self, pictures: Tensor, labels: Tensor) -> Batch:
        """Convert uint8 sRGB (B, 3, S, S) and int64 labels (B,), both on the device, to a training batch."""
        # Outside the compiled function: settings switched inside it are no longer in force when it runs.
        with exact(pictures.device):
            pictures, constants = self.augmentation(pictures), lab_constants(pictures.device)
            damage = draw_damage(len(pictures), self.size, self.tone, pictures.device) if self.tone else None
            lightness, chroma = self.convert(pictures, constants, damage)
            hints = self.hardware.place(draw_hints(chroma, self.hints)) if self.hints else None
        return Batch(self.hardware.place(lightness), self.hardware.place(chroma), labels, hints)


def _normalized_lab(
    pictures: Tensor, constants: tuple[Tensor, ...], damage: Damage | None = None
) -> tuple[Tensor, Tensor]:
    """Convert uint8 sRGB (B, 3, H, W) to lightness (B, 1, H, W), damaged if `damage` is given, and the true chroma
    (B, 2, H, W), both in [-1, 1]."""
    light = to_linear(pictures, constants)
    lightness, ab = linear_to_lab(light, constants).split([1, 2], dim=1)
    lightness = lightness / L_HALF_RANGE - 1
    if damage is not None:
        lightness = damaged_lightness(lightness, light, damage)
    return lightness, ab / AB_RANGE
