"""Measure what several colourings of a photograph are worth: the best of N against the first, the automatic one.

python benchmarks/variants.py runs/siggraph17 --photos DIR --size 64 --lpips alexnet_features.safetensors
"""

import argparse

import torch

from gancolor import Colorizer
from gancolor.color.torch_lab import to_float
from gancolor.data.cache.photographs import load_photographs
from gancolor.data.sources.find import find_source, open_source
from gancolor.inference.image_files import Picture
from gancolor.inference.variants import variants
from gancolor.metrics.bootstrap import difference
from gancolor.metrics.image import psnr
from gancolor.metrics.lpips import lpips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="run folder or .safetensors file of siggraph17 or eccv16")
    parser.add_argument("--photos", required=True, help="folder with val, or of photographs")
    parser.add_argument("--size", type=int, default=128, help="side of the square photographs (default: 128)")
    parser.add_argument("--variants", type=int, default=5, help="colourings of each photograph (default: 5)")
    parser.add_argument("--limit", type=int, default=None, help="most photographs (default: all)")
    parser.add_argument("--lpips", default="auto", help="AlexNet's weights (default: torchvision's)")
    options = parser.parse_args()
    colorizer = Colorizer.load(options.checkpoint, size=options.size)
    source = open_source(find_source(options.photos, 0, 0.1, val_limit=options.limit), options.size, val_only=True)
    photographs = load_photographs(source.val, options.size, None, "photographs")
    distance = lpips(options.lpips, torch.device("cpu"), True, options.size, "--lpips", "alex")
    scores: dict[str, list[torch.Tensor]] = {"PSNR [dB]": [], "LPIPS": []}
    counts = []
    for index in range(len(photographs)):
        truth = photographs.take(torch.tensor([index]))
        made = variants(colorizer, Picture(truth[0].permute(1, 2, 0).numpy()), options.variants)
        counts.append(len(made))
        pictures = to_float(torch.stack([torch.from_numpy(one.pixels).permute(2, 0, 1) for one in made]))
        true = to_float(truth).expand_as(pictures)
        with torch.inference_mode():
            scores["PSNR [dB]"].append(psnr(pictures, true))
            scores["LPIPS"].append(distance(pictures, true))
    print(f"{len(counts)} photographs, {sum(counts) / len(counts):.1f} colourings each")
    for name, rows in scores.items():
        first = torch.stack([row[0] for row in rows])
        best = torch.stack([row.max() if name.startswith("PSNR") else row.min() for row in rows])
        gap = difference(best, first)
        print(
            f"{name}: first {first.mean():.4f}, best {best.mean():.4f}; {gap.mean:+.4f} ({gap.low:.4f}, {gap.high:.4f})"
        )


if __name__ == "__main__":
    main()
