"""Closed lists of the names that options choose from."""

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

# Architecture -> "MODULE.FUNCTION" in gancolor.models that builds its generator. Its recipe is configs/NAME.yaml.
ARCHITECTURES = {
    "ugan": "unet.ugan",
    "attention_ugan": "unet.attention_ugan",
    "pretrained_ugan": "unet.pretrained_ugan",
    "pretrained_attention_ugan": "unet.pretrained_attention_ugan",
    "deoldify": "unet.deoldify",
    "ltbc": "ltbc.ltbc",
    "ltbc_no_classifier": "ltbc.ltbc_no_classifier",
    "eccv16": "eccv16.eccv16",
    "siggraph17": "siggraph17.siggraph17",
    "vgg16_autoencoder": "autoencoder.vgg16_autoencoder",
    "resnet18_autoencoder": "autoencoder.resnet18_autoencoder",
    "polychromify": "polychromify.polychromify",
    "polychromify_v0": "polychromify.polychromify_v0",
    "polychromify_v1": "polychromify.polychromify_v1",
    "polychromify_v3": "polychromify.polychromify_v3",
    "polychromify_cnn": "polychromify.polychromify_cnn",
}
HINTED = ("siggraph17",)  # architectures that always take colour hints; U-Nets do with --generator.hints
if TYPE_CHECKING:
    Architecture: TypeAlias = str
else:
    Architecture = Literal[tuple(ARCHITECTURES)]

MOST_STRENGTH = 2.0  # of colour: twice the predicted chroma

Norm = Literal["batch", "instance", "none"]
DecoderUpsampling = Literal["transposed", "pixel_shuffle", "nearest"]
Neurons = Literal["low", "medium", "high"]  # widths of polychromify's fully connected layers
Filters = Literal["low", "high"]  # widths of polychromify's convolutions
Trunk = Literal["classification", "regression"]  # the head that trains siggraph17's trunk
GanMode = Literal["vanilla", "lsgan", "hinge", "wgan_gp"]

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
ProtocolName = Literal["native", "val5k-crop256", "squash256", "scenes128", "tiny64", "old128"]
# Metrics that can rank systems. gain (PSNR minus grey's) is not among them, because it gives the same order as psnr.
RankingMetric = Literal["psnr", "ssim", "lpips", "lpips_vgg", "ciede2000", "auc", "mse", "fid", "kid"]
CheckpointMetric = Literal["psnr", "ssim", "lpips", "lpips_vgg", "ciede2000", "auc", "mse"]  # no FID, no KID

# Suffixes of the picture files that are taken from folders and shards, for training and for colouring: all formats that
# inference/image_files reads. A folder's random split into training and validation photographs depends on this list:
# with one more suffix, folders that have files with it are split differently.
PICTURE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff"),
        *("avif", "avifs", "heic", "heif", "hif", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
        *("tga", "icb", "vda", "vst", "pcx", "ppm", "pgm", "pbm", "pnm"),
    )
)
# Suffixes of what commonly lies beside photographs, such as labels and notes: files that are ignored in silence.
COMPANION_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("txt", "md", "rst", "doc", "docx", "odt", "html", "htm", "url", "ini", "db", "log", "xmp", "aae"),
        *("json", "jsonl", "ndjson", "csv", "tsv", "xls", "xlsx", "xml", "yaml", "yml", "toml", "parquet", "lst"),
        *("cls", "id", "idx", "index", "npy", "npz", "mat", "pkl", "pickle", "pt", "pth", "bin", "safetensors"),
        *("py", "ipynb", "sh", "sha1", "sha256", "md5", "lock"),
    )
)

ChromaUpsampling = Literal["guided", "bilinear"]
PictureFormat = Literal["jpg", "png", "webp", "tiff", "avif"]
ExportFormat = Literal["safetensors", "onnx", "torch_export"]

RANKING_METRICS: tuple[RankingMetric, ...] = get_args(RankingMetric)
PICTURE_FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
