"""Measure the effect of each setting of a recipe: one changed at a time, equal photographs, the same validation.

    python benchmarks/ablation.py --photos DIR --out runs/ablation --lpips alexnet_features.safetensors
    python benchmarks/ablation.py --photos DIR --out runs/stage --lpips ... --start runs/general

The first command varies pretraining, the second the adversarial stage of a pretrained generator. Interrupted runs are
resumed and finished ones are not trained again, so the same command continues where it stopped. At the end,
`gancolor compare` puts all runs into one table, with paired differences.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "configs" / "general.yaml"
# Half an epoch, so each photograph is seen at most once, without damage of tone.
COMMON = [
    "--pretrain_epochs=0.5",
    "--critic_epochs=0",
    "--epochs=0",
    "--data.tone=0",
    "--eval.every=1",
]
# Variants of pretraining.
VARIANTS: dict[str, list[str]] = {
    "recipe": [],
    "random_features": ["--generator.backbone_weights=random", "--optim.backbone_lr=1"],
    "full_size_chroma": ["--generator.chroma_stride=1", "--generator.decoder_widths=[160, 96, 64, 48, 24]"],
    "no_attention_gates": ["--arch=pretrained_ugan"],
    "backbone_lr_1": ["--optim.backbone_lr=1"],
    "frozen_backbone": ["--generator.freeze_backbone=true"],
    "frozen_norm": ["--optim.frozen_norm=always"],
    "lite2": ["--generator.backbone=tf_efficientnet_lite2"],
    "no_skip_norm": ["--generator.skip_norm=false"],
    "narrow": ["--generator.decoder_widths=[96, 64, 48, 32]"],
    "wide": ["--generator.decoder_widths=[256, 160, 96, 64]"],
    "transposed": ["--generator.upsampling=transposed"],
    "l1": ["--loss.log_mse=0", "--loss.l1=1"],
    "smooth_l1": ["--loss.log_mse=0", "--loss.smooth_l1=1"],
    "mse": ["--loss.log_mse=0", "--loss.mse=1"],
    "tone": ["--data.tone=1"],
    "crop": ["--data.crop_scale=0.5"],
}


# Variants of the adversarial stage, with the recipe's number of epochs.
STAGE = ["--pretrain_epochs=0", "--data.tone=0", "--optim.frozen_norm=always", "--eval.every=1"]
WITHOUT_GAME = ["--loss.gan=0", "--critic_epochs=0"]
STAGE_VARIANTS: dict[str, list[str]] = {
    "recipe": [],
    "gan_alone": ["--loss.colorfulness=0"],
    "gan_alone_0.1": ["--loss.colorfulness=0", "--loss.gan=0.1"],
    "colorfulness_alone": WITHOUT_GAME,
    "color_weighted": [*WITHOUT_GAME, "--loss.colorfulness=0", "--loss.log_mse=0", "--loss.color_weighted=5"],
    "perceptual": [*WITHOUT_GAME, "--loss.perceptual=0.1"],
    "true_saturation": ["--data.real_saturation=1"],
    "norm_in_training": ["--optim.frozen_norm=never"],
    "lr_2e-4": ["--optim.lr_g=2e-4"],
}


def train(name: str, seed: int, photos: Path, out: Path, more: list[str]) -> Path:
    """Train one variant. A finished run is not trained again; a run folder with other options is refused."""
    run = out / (name if not seed else f"{name}_seed{seed}")
    words = [f"--config={RECIPE}", f"--data.source={photos}", f"--seed={seed}", f"--out={run}", *more]
    subprocess.run([sys.executable, ROOT / "train.py", *words], check=True, cwd=ROOT)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder with train/ and val/")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder for the runs")
    parser.add_argument("--lpips", type=Path, help="AlexNet's weights")
    parser.add_argument("--start", type=Path, help="a pretrained generator: vary the adversarial stage")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="only these variants")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    chosen, more = parser.parse_known_args()
    out = chosen.out.resolve()
    if chosen.lpips:
        more.append(f"--lpips.weights={chosen.lpips.resolve()}")
    variants, common = VARIANTS, COMMON
    if chosen.start:
        variants, common = STAGE_VARIANTS, [f"--init={chosen.start.resolve()}", *STAGE]
    if unknown := set(chosen.only or ()) - variants.keys():
        parser.error(f"--only {' '.join(unknown)}: choose from {', '.join(variants)}")
    runs = [
        train(name, seed, chosen.photos.resolve(), out, [*common, *more, *variants[name]])
        for seed in chosen.seeds
        for name in chosen.only or variants
    ]
    compare = [sys.executable, "-c", "from gancolor.cli import main; main()", "compare", *map(str, runs)]
    subprocess.run([*compare, "--csv", str(out / "table.csv")], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
