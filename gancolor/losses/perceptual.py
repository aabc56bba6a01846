"""Perceptual distances between pictures, for training: distances of features of a network trained on ImageNet."""

import torch
from torch import Tensor, nn

from gancolor.metrics.image import PictureDistance
from gancolor.metrics.lpips import lpips
from gancolor.models.encoders import load_features, timm_features

OPTION = "--loss.perceptual_weights"
LEVELS = (0, 1, 2, 3)  # of VGG-16, each before pooling: relu1_2, relu2_2, relu3_3, relu4_3 (Johnson 2016)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels


class VGGFeatures(nn.Module):
    """VGG-16's activations at four layers (Johnson 2016, figure 2), of sRGB (B, 3, H, W) in [0, 1].

    Args:
        weights: "imagenet" (timm's published weights), "random", or a file.

    Raises:
        InputError: the weights are unavailable, or belong to another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.network = timm_features("vgg16", channels=3, levels=LEVELS)
        if weights != "random":
            load_features(self.network, "vgg16", weights, OPTION)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, picture: Tensor) -> list[Tensor]:
        return self.network((picture - self.mean) / self.std)


def perceptual_distance(network: str, weights: str, device: torch.device, size: int) -> PictureDistance:
    """Create a distance function: two batches of pictures, sRGB (B, 3, H, W) in [0, 1], to distances (B,).

    vgg16: mean absolute difference of features, averaged over four layers (Vazquez 2023; Johnson 2016 squares it).
    lpips: LPIPS itself.

    Args:
        network: "vgg16" or "lpips".
        weights: weights of VGG-16 ("vgg16") or AlexNet ("lpips"): "imagenet" (timm's for VGG-16, torchvision's for
            AlexNet, from their caches or downloaded), "random", or a file.
        size: side of the pictures [pixels].

    Raises:
        InputError: the weights are unavailable, or the pictures are too small for LPIPS.
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
