"""Closed lists of the names that options choose from."""

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

# Architecture -> module of gancolor.models, and its function that builds the generator; configs/NAME.yaml: its recipe.
ARCHITECTURES = {
    "ugan": "unet.ugan",
    "attention_ugan": "unet.attention_ugan",
    "pretrained_ugan": "unet.pretrained_ugan",
    "pretrained_attention_ugan": "unet.pretrained_attention_ugan",
    "deoldify": "unet.deoldify",
    "ltbc": "ltbc.ltbc",
    "ltbc_no_classifier": "ltbc.ltbc_no_classifier",
    "eccv16": "eccv16.eccv16",
    "vgg16_autoencoder": "autoencoder.vgg16_autoencoder",
    "resnet18_autoencoder": "autoencoder.resnet18_autoencoder",
    "polychromify": "polychromify.polychromify",
    "polychromify_v0": "polychromify.polychromify_v0",
    "polychromify_v1": "polychromify.polychromify_v1",
    "polychromify_v3": "polychromify.polychromify_v3",
    "polychromify_cnn": "polychromify.polychromify_cnn",
}
if TYPE_CHECKING:
    Architecture: TypeAlias = str
else:
    Architecture = Literal[tuple(ARCHITECTURES)]

Norm = Literal["batch", "instance", "none"]
DecoderUpsampling = Literal["transposed", "pixel_shuffle", "nearest"]
Neurons = Literal["low", "medium", "high"]  # widths of polychromify's fully connected layers
Filters = Literal["low", "high"]  # widths of polychromify's convolutions
GanMode = Literal["vanilla", "lsgan", "hinge", "wgan_gp"]

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
ProtocolName = Literal["native", "val5k-crop256", "squash256", "scenes128", "tiny64", "old128"]
# Metrics that can rank systems. gain is not among them, because it gives the same order as psnr.
RankingMetric = Literal["psnr", "ssim", "lpips", "lpips_vgg", "ciede2000", "auc", "mse", "fid", "kid"]
CheckpointMetric = Literal["psnr", "ssim", "lpips", "lpips_vgg", "ciede2000", "auc", "mse"]  # of single photographs

ChromaUpsampling = Literal["guided", "bilinear"]
PictureFormat = Literal["jpg", "png", "webp", "tiff", "avif"]
ExportFormat = Literal["safetensors", "onnx", "torch_export"]

RANKING_METRICS: tuple[RankingMetric, ...] = get_args(RankingMetric)
PICTURE_FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
