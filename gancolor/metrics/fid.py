"""Distances between a set of pictures and the ground truth: FID and KID, from Inception-v3 features.

torch-fidelity provides the network as the metrics' authors ran it (TensorFlow's resizing, its 2015 weights), and their
formulas.
"""

import io
from pathlib import Path

import torch
from torch import Tensor

from gancolor.utils.errors import InputError
from gancolor.utils.weights import load_file, load_published

FID_LEAST = 2048  # photographs: with fewer than the features' dimension, the covariance is not of full rank
KID_SUBSETS, KID_SUBSET = 100, 1000  # as in Binkowski 2018; subsets are at most half of the set


class Inception:
    """Inception-v3 feature extractor: uint8 sRGB (B, 3, H, W), scaled to 299 x 299, to pool3 features, float32
    (B, 2048).

    Args:
        weights: "auto" (torch's cache, else torch-fidelity's server) or a file.

    Raises:
        InputError: the weights are unavailable, or belong to another network.
    """

    def __init__(self, weights: str, device: torch.device) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        auto = weights == "auto"
        state = load_published(URL_INCEPTION_V3, "--fid.weights FILE") if auto else load_file(Path(weights))
        buffer = io.BytesIO()  # the package unpickles its input, so pass it tensors only
        torch.save(state, buffer)
        buffer.seek(0)
        try:
            network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=buffer)
        except RuntimeError:
            raise InputError(f"{weights}: not Inception-v3's weights in torch-fidelity's layout") from None
        self.network = network.to(device)

    def __call__(self, pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, enabled=False):
            (features,) = self.network(pictures)
        return features


def fid(features: Tensor, truth: Tensor) -> float:
    """Return the Frechet inception distance (Heusel 2017, eq. 6) of features (N, 2048), N > 1: between Gaussians fitted
    to both sets. It falls with N, so compare only sets of the same size, ideally 2048 or more."""
    if len(features) < features.shape[1]:
        return _fid_of_few(features.double(), truth.double())
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    one, other = (fid_features_to_statistics(found.double()) for found in (features, truth))
    return fid_statistics_to_metric(one, other, verbose=False)[KEY_METRIC_FID]


def _fid_of_few(features: Tensor, truth: Tensor) -> float:
    """Return the same distance, computed from N x N products.

    With covariances A'A and B'B, tr (A'A B'B)^(1/2) is the sum of the singular values of AB', so this avoids the square
    root of a 2048 x 2048 matrix.
    """
    centres = [found.mean(dim=0) for found in (features, truth)]
    one, other = (
        (found - centre) / (len(found) - 1) ** 0.5 for found, centre in zip((features, truth), centres, strict=True)
    )
    shared = torch.linalg.svdvals(one @ other.T).sum()
    return float((centres[0] - centres[1]).square().sum() + one.square().sum() + other.square().sum() - 2 * shared)


def kid(features: Tensor, truth: Tensor) -> float:
    """Return the kernel inception distance x 1000 (Binkowski 2018, section 4) of features (N, 2048), N > 1, over 100
    subsets of up to 1000. It is unbiased, so it is meaningful for small sets too."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(KID_SUBSET, max(2, len(features) // 2))
    how = {"kid_subsets": KID_SUBSETS, "kid_subset_size": size, "rng_seed": 0, "verbose": False}
    return 1000 * kid_features_to_metric(features.double(), truth.double(), **how)[KEY_METRIC_KID_MEAN]
