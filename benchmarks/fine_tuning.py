"""Measure what fine-tuning saves. A generator that has never seen a group of photographs is fine-tuned on 300 of them,
and compared with generators trained on the same 300 from ImageNet features, for as many steps and for up to ten times
as many.

    python benchmarks/fine_tuning.py --photos DIR --group food --out runs/fine_tuning

DIR contains train/GROUP/ and val/GROUP/. The initial generator is trained on all other groups. The group's other
photographs are used for validation. Interrupted runs are resumed, and finished ones are not trained again.
"""

import argparse
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gancolor.evaluation.results import load_result
from gancolor.metrics.bootstrap import difference

ROOT = Path(__file__).resolve().parents[1]
BATCH = 16
EPOCHS = (5, 10, 25, 50)  # over the group; fine-tuned runs take the first number
# No augmentation: all runs see the same photographs unchanged, because so few steps do not need variation.
SMALL = ["--data.size=128", f"--data.batch_size={BATCH}", "--data.crop_scale=1", "--data.tone=0", "--optim.ema=0.99"]


def link_photographs(photos: Path, group: str, count: int, out: Path) -> tuple[Path, Path]:
    """Create two folders of links: one to all groups but this one, and one to this group, with `count` photographs for
    training and the rest for validation."""
    others, own = out / f"without_{group}", out / f"{count}_of_{group}"
    for part in ("train", "val"):
        for folder in sorted((photos / part).iterdir()):
            if folder.name != group:
                _link(others / part / folder.name, folder)
    files = sorted((photos / "train" / group).iterdir())
    random.Random(0).shuffle(files)
    for number, file in enumerate([*files, *sorted((photos / "val" / group).iterdir())]):
        _link(own / ("train" if number < count else "val") / group / file.name, file)
    return others, own


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve(), target_is_directory=target.is_dir())


def train(run: Path, *words: object) -> Path:
    """Train a run. A finished run is not trained again; a run folder with other options is refused."""
    subprocess.run([sys.executable, ROOT / "train.py", f"--out={run}", *map(str, words)], check=True, cwd=ROOT)
    return run


def compare(runs: Sequence[Path]) -> None:
    """Print one line per run: steps, gain, and how far the first run is ahead, paired by photograph."""
    print(f"| run | steps | gain [dB] | {runs[0].name} is ahead by [dB] |\n| --- | ---: | ---: | ---: |")
    first = None
    for run in runs:
        result = load_result(run / "results.json")
        (system,) = (result.systems[name] for name in result.systems if name not in ("grey", "truth"))
        first = first or system
        ahead = difference(first.scores["psnr"], system.scores["psnr"])
        paired = "" if system is first else f"{ahead.mean:+.2f} ({ahead.low:+.2f} to {ahead.high:+.2f})"
        print(f"| {run.name} | {system.about['step']} | {system.means['gain'].mean:+.2f} | {paired} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--group", default="food")
    parser.add_argument("--count", type=int, default=300, help="photographs of the group to train on")
    parser.add_argument("--start_epochs", type=float, default=2, help="of initial training")
    parser.add_argument("--out", type=Path, default=Path("runs/fine_tuning"))
    chosen, more = parser.parse_known_args()
    out = chosen.out.resolve()
    others, own = link_photographs(chosen.photos, chosen.group, chosen.count, out)
    recipe = [f"--config={ROOT / 'configs' / 'general.yaml'}", "--critic_epochs=0", "--epochs=0"]
    start = train(out / "start", *recipe, f"--data.source={others}", f"--pretrain_epochs={chosen.start_epochs}", *more)
    small = [f"--data.source={own}", *SMALL, "--eval.every=25"]
    tuned = [
        train(
            out / f"fine_tuned_norm_{frozen}",
            *(f"--init={start}", *small, f"--pretrain_epochs={EPOCHS[0]}", f"--optim.frozen_norm={frozen}", *more),
        )
        for frozen in ("always", "never")
    ]
    fresh = [
        train(out / f"from_imagenet_{epochs}", *recipe, *small, f"--pretrain_epochs={epochs}", *more)
        for epochs in EPOCHS
    ]
    compare([*tuned, *fresh])


if __name__ == "__main__":
    main()
