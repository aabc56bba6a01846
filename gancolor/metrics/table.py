"""Table of the metrics: how each is shown to readers, and which direction is better."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is shown to readers.

    Attributes:
        better: which direction is better; "neither": compare with the ground truth's value.
        brief: whether terminal tables show it.
    """

    heading: str
    digits: int
    better: Literal["more", "less", "neither"]
    brief: bool = True


METRICS = {
    "psnr": MetricInfo("PSNR [dB]", 2, "more"),
    "gain": MetricInfo("gain [dB]", 2, "more"),
    "ssim": MetricInfo("SSIM", 4, "more"),
    "lpips": MetricInfo("LPIPS", 4, "less"),
    "lpips_vgg": MetricInfo("LPIPS (VGG)", 4, "less"),
    "mse": MetricInfo("MSE", 0, "less", brief=False),
    "ciede2000": MetricInfo("CIEDE2000", 2, "less"),
    "auc": MetricInfo("AuC [%]", 2, "more", brief=False),
    "fid": MetricInfo("FID", 2, "less"),
    "kid": MetricInfo("KID x 1000", 2, "less"),
    "colorfulness": MetricInfo("colourfulness", 1, "neither"),
    "colorfulness_difference": MetricInfo("colourfulness - truth's", 1, "neither", brief=False),
    "colorfulness_ddcolor": MetricInfo("colourfulness (DDColor's)", 1, "neither", brief=False),
    "in_gamut": MetricInfo("in gamut [%]", 1, "more", brief=False),
}
