"""Perceptual distances between pictures, for training: features of a network that was trained on ImageNet."""

import torch
from torch import Tensor, nn

from gancolor.metrics import Metric, lpips
from gancolor.models.encoders import vgg16_features

OPTION = "--loss.perceptual_weights"
LAYERS = (3, 8, 15, 22)  # of VGG-16's features: relu1_2, relu2_2, relu3_3, relu4_3 (Johnson 2016)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels


class VGGFeatures(nn.Module):
    """VGG-16's activations at four layers (Johnson 2016, figure 2), of sRGB (B, 3, H, W) in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.layers = vgg16_features(weights, OPTION)[: LAYERS[-1] + 1]
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, picture: Tensor) -> list[Tensor]:
        features, found = (picture - self.mean) / self.std, []
        for number, layer in enumerate(self.layers):
            features = layer(features)
            if number in LAYERS:
                found.append(features)
        return found


def perceptual_distance(network: str, weights: str, device: torch.device, size: int) -> Metric:
    """The distance of two batches of pictures, sRGB (B, 3, H, W) in [0, 1], to (B,): for vgg16 the mean absolute
    difference of features, averaged over four layers (Vazquez 2023; Johnson 2016 squares it), for lpips LPIPS itself.

    Args:
        network: "vgg16" or "lpips".
        weights: VGG-16's, or for lpips AlexNet's: "imagenet" (torchvision's cache, or download), "random", or a file.
        size: side of the pictures [pixels].

    Raises:
        InputError: weights that can't be had, or pictures that are too small for LPIPS.
    """
    if network == "lpips":
        return lpips("auto" if weights == "imagenet" else weights, device, size=size, option=OPTION)
    vgg = VGGFeatures(weights).requires_grad_(False).eval().to(device)

    def distance(picture: Tensor, truth: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            with torch.no_grad():
                wanted = vgg(truth)
            pairs = zip(vgg(picture), wanted, strict=True)
            return torch.stack([(a - b).abs().mean(dim=(1, 2, 3)) for a, b in pairs]).mean(dim=0)

    return distance
