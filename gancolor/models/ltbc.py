"""Let there be Color (Iizuka 2016): fused local and global features, with a scene classifier on the global ones. The
poster that this project reproduces (docs/architectures.md) calls ltbc "CNN + Classifier" and ltbc_no_classifier
"CNN"."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancolor.choices import Norm
from gancolor.models.layers import init_relu, norm_layer, pad_to_multiple
from gancolor.models.output import GeneratorOutput


class LTBC(nn.Module):
    """Generator from lightness (B, 1, H, W) in [-1, 1] to chroma (B, 2, H, W) in [-1, 1] and scene logits (B, classes),
    for any H and W (Iizuka 2016, table 1). Layers are 3 x 3 convolutions, norm and ReLU.

    Args:
        classes: number of scene classes; 0: no classifier.
        width: channels of the first layer (64 in the paper); the others scale with it.
        global_size: side that the photograph is resized to for the global features [pixels] (224 in the paper).
        classifier_width: units of the classifier's hidden layer (256 in the paper, 400 in Jacob and Darcey's report).
        norm: norm after every layer but the last of each head. With "batch", fully connected layers have it too.
    """

    stride = 8  # downsampling factor of the low-level features

    def __init__(
        self,
        classes: int,
        width: int = 64,
        global_size: int = 224,
        classifier_width: int = 256,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.global_size, w = global_size, width
        self.low = _convolutions(norm, 1, (w, 2), (2 * w, 1), (2 * w, 2), (4 * w, 1), (4 * w, 2), (8 * w, 1))
        self.middle = _convolutions(norm, 8 * w, (8 * w, 1), (4 * w, 1))
        self.global_convolutions = _convolutions(norm, 8 * w, (8 * w, 2), (8 * w, 1), (8 * w, 2), (8 * w, 1))
        places = (-(-global_size // 32)) ** 2
        self.global_scene = nn.Sequential(
            nn.Flatten(), *_connected(norm, 8 * w * places, 16 * w), *_connected(norm, 16 * w, 8 * w)
        )
        self.global_colour = nn.Sequential(*_connected(norm, 8 * w, 4 * w))
        self.fusion = nn.Sequential(
            nn.Conv2d(8 * w, 4 * w, 1, bias=norm != "batch"), norm_layer(norm, 4 * w), nn.ReLU()
        )
        init_relu(self.fusion)
        self.colour = nn.Sequential(
            *_convolutions(norm, 4 * w, (2 * w, 1)),
            nn.Upsample(scale_factor=2),
            *_convolutions(norm, 2 * w, (w, 1), (w, 1)),
            nn.Upsample(scale_factor=2),
            *_convolutions(norm, w, (max(w // 2, 1), 1)),
            nn.Conv2d(max(w // 2, 1), 2, 3, padding=1),
            nn.Sigmoid(),
            nn.Upsample(scale_factor=2),
        )
        self.classifier = (
            nn.Sequential(*_connected(norm, 8 * w, classifier_width), nn.Linear(classifier_width, classes))
            if classes
            else None
        )

    def forward(self, lightness: Tensor) -> GeneratorOutput:
        height, width = lightness.shape[-2:]
        lightness = pad_to_multiple(lightness, self.stride)
        low = self.low(lightness)
        size = (self.global_size, self.global_size)
        if lightness.shape[-2:] == size:  # both branches then start from the same features
            whole = low
        else:
            # In float32: antialiased resizing has no half-precision kernel on a CPU.
            scaled = F.interpolate(lightness.float(), size, mode="bilinear", antialias=True)
            whole = self.low(scaled.to(lightness.dtype))
        scene = self.global_scene(self.global_convolutions(whole))
        middle = self.middle(low)
        colour = self.global_colour(scene)[..., None, None].expand(-1, -1, *middle.shape[-2:])
        chroma = 2 * self.colour(self.fusion(torch.cat([middle, colour], dim=1))) - 1
        logits = self.classifier(scene) if self.classifier is not None else None
        return GeneratorOutput(chroma[..., :height, :width], scene_logits=logits)


def _convolutions(norm: Norm, before: int, *layers: tuple[int, int]) -> nn.Sequential:
    """Build 3 x 3 convolutions of (width, stride), each with norm and ReLU."""
    parts: list[nn.Module] = []
    for width, stride in layers:
        parts += [
            nn.Conv2d(before, width, 3, stride, padding=1, bias=norm != "batch"), norm_layer(norm, width), nn.ReLU()
        ]  # fmt: skip
        before = width
    stack = nn.Sequential(*parts)
    init_relu(stack)
    return stack


def _connected(norm: Norm, before: int, width: int) -> list[nn.Module]:
    """Build a fully connected layer, norm and ReLU. Instance norm is left out: there are no positions to average."""
    last = nn.BatchNorm1d(width) if norm == "batch" else nn.Identity()
    layer = nn.Linear(before, width, bias=norm != "batch")
    init_relu(layer)
    return [layer, last, nn.ReLU()]


def ltbc(
    classes: int = 0, width: int = 64, global_size: int = 224, classifier_width: int = 256, norm: Norm = "batch"
) -> LTBC:
    return LTBC(classes, width, global_size, classifier_width, norm)


def ltbc_no_classifier(width: int = 64, global_size: int = 224, norm: Norm = "batch") -> LTBC:
    return LTBC(0, width, global_size, norm=norm)
