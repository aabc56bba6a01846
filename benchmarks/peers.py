"""Compare other people's trainers with gancolor and the plain reference: `python benchmarks/peers.py --help`.

Their code stays in the given checkout. This file contains only adapters, one function per peer.
"""

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed

from bench import add_common, choice, measuring

from gancolor.utils.errors import InputError

if TYPE_CHECKING:
    from measure import Row
    from step_runners import StepSpec
    from torch import Tensor, nn

PARTS = ("step", "data", "gain")
LOOKS = 8  # measurements of gains


@dataclass
class Peer:
    """Trainer of another project.

    Attributes:
        step: takes one training step on lightness (B, 1, S, S) and chroma (B, 2, S, S) on the host, both in [-1, 1].
        loader: yields one epoch of its own batches.
        keys: of lightness and chroma in its batches.
        generator: maps lightness to chroma.
    """

    step: "Callable[[Tensor, Tensor], object]"
    loader: Iterable[Any]
    keys: tuple[str, str]
    generator: "nn.Module"


# The adapters ---------------------------------------------------------------------------------------------------------


def pix2pix(checkout: Path, photos: Path, spec: "StepSpec") -> Peer:
    """Build the peer junyanz/pytorch-CycleGAN-and-pix2pix: its colorization model, U-Net and PatchGAN as in its paper.

    Raises:
        InputError: a size that its U-Nets do not support.
    """
    if spec.size not in (128, 256):
        raise InputError(f"--size {spec.size}: pix2pix's U-Nets are for 128 and 256")
    options = importlib.import_module("options.train_options")
    words = ["--dataroot", str(photos.parent), "--phase", photos.name, "--model", "colorization", "--name", "peer"]
    words += ["--netG", f"unet_{spec.size}", "--load_size", str(spec.size), "--crop_size", str(spec.size)]
    words += ["--batch_size", str(spec.batch_size), "--num_threads", str(os.cpu_count() or 1)]
    words += ["--checkpoints_dir", str(photos.parent / "checkpoints")]
    if "--gpu_ids" in (checkout / "options" / "base_options.py").read_text(encoding="utf-8"):
        words += ["--gpu_ids", "0" if spec.device == "cuda" else "-1"]
    before, sys.argv = sys.argv, ["train.py", *words]
    try:
        opt = options.TrainOptions().parse()
    finally:
        sys.argv = before
    model = importlib.import_module("models").create_model(opt)
    model.setup(opt)

    def step(lightness: "Tensor", chroma: "Tensor") -> None:
        model.set_input({"A": lightness, "B": chroma, "A_paths": [], "B_paths": []})
        model.optimize_parameters()

    return Peer(step, importlib.import_module("data").create_dataset(opt), ("A", "B"), model.netG)


def notebook(checkout: Path, photos: Path, spec: "StepSpec") -> Peer:
    """Build the peer moein-shariatnia/Deep-Learning, "Image Colorization Tutorial": the notebook's code as modules."""
    models, data = importlib.import_module("models"), importlib.import_module("dataset")
    data.SIZE = spec.size  # type: ignore[attr-defined]
    levels = min(spec.size.bit_length() - 1, 8)
    model = models.MainModel(net_G=models.init_model(models.Unet(n_down=levels), spec.device))
    model.device = spec.device
    model.to(spec.device)

    def step(lightness: "Tensor", chroma: "Tensor") -> None:
        model.setup_input({"L": lightness, "ab": chroma})
        model.optimize()

    workers, pins = os.cpu_count() or 1, spec.device == "cuda"
    paths = sorted(photos.iterdir())
    loader = data.make_dataloaders(spec.batch_size, workers, pins, paths=paths, split="train")
    return Peer(step, loader, ("L", "ab"), model.net_G)


# name: (adapter, files that it needs from the checkout)
PEERS: dict[str, tuple[Callable[[Path, Path, "StepSpec"], Peer], Sequence[str]]] = {
    "pix2pix": (
        pix2pix,
        ("options/train_options.py", "models/colorization_model.py", "models/networks.py",
         "data/colorization_dataset.py", "util/util.py"),
    ),
    "notebook": (notebook, ("models.py", "dataset.py", "loss.py")),
}  # fmt: skip


def load_peer(name: str, checkout: Path, photos: Path, spec: "StepSpec") -> Peer:
    """Load a peer's trainer and loader from its checkout. Its output goes to standard error.

    Args:
        photos: a folder that contains the photographs and nothing else.

    Raises:
        InputError: the folder is not a checkout of that peer, or a module that it needs is not installed.
    """
    adapter, needed = PEERS[name]
    if not checkout.is_dir():
        raise InputError(f"--checkout {checkout}: no such folder")
    if lacking := [file for file in needed if not (checkout / file).is_file()]:
        raise InputError(f"--checkout {checkout}: no checkout of {name}, it lacks {', '.join(lacking)}")
    sys.path.insert(0, str(checkout))
    try:
        with redirect_stdout(sys.stderr):
            return adapter(checkout, photos, spec)
    except ModuleNotFoundError as error:
        raise InputError(f"--peer {name} needs {error.name}, which is not installed") from None
    finally:
        sys.path.remove(str(checkout))


# The tables -----------------------------------------------------------------------------------------------------------


def measure_steps(name: str, peer: Peer, spec: "StepSpec", shown: list[str]) -> "list[Row]":
    """Print the table of steps and return its rows: the peer's, the reference's and gancolor's in each precision, in
    turns."""
    import torch
    from measure import Contender, Table, interleave
    from step_runners import BATCHES, REFERENCE, ReferenceSteps, as_torch_ships, make_steps

    table = Table(
        f"Adversarial step beside {name}, {spec.size} x {spec.size}, batch {spec.batch_size}",
        f"{name} on its own networks, gancolor and the plain reference on {spec.arch}'s.",
        ["trainer", "precision", "photos/s", "ms", f"× {name} (range)"],
    )
    batches = ReferenceSteps(spec).batches
    turn = iter(range(10**9))
    theirs = Contender(lambda: peer.step(*batches[next(turn) % BATCHES]), as_torch_ships)
    contenders: dict[tuple[str, str], Contender] = {(name, "fp32"): theirs}
    for precision in (REFERENCE, *shown):
        trainer = REFERENCE if precision == REFERENCE else "gancolor"
        steps = make_steps(replace(spec, precision=precision))
        contenders[trainer, "fp32" if precision == REFERENCE else precision] = steps.contender("adversarial")
    named = {f"{trainer} {precision}": contender for (trainer, precision), contender in contenders.items()}
    timings = interleave(named, torch.device(spec.device), spec.seconds, warm_up=2)
    for (trainer, precision), timing in zip(contenders, timings.values(), strict=True):
        row: Row = {"trainer": trainer, "precision": precision, "photos/s": spec.batch_size / timing.median}
        beside = 1.0 if trainer == name else timing.speedup_over(timings[f"{name} fp32"])
        table.add(row | {"ms": timing.median * 1000, f"× {name} (range)": beside})
    return table.rows


def measure_loaders(name: str, peer: Peer, files: Sequence[Any], spec: "StepSpec") -> "list[Row]":
    """Print the table of loading, by epochs of Lab batches on the device, and return its rows."""
    from data_pipeline import Pipeline
    from measure import Contender, Table, interleave

    from gancolor.utils.hardware import choose_hardware

    hardware = choose_hardware(spec.device, "fp32")
    table = Table(
        f"Loading beside {name}, {spec.size} x {spec.size}, batch {spec.batch_size}",
        f"{len(files)} picture files, to batches of Lab.",
        ["loader", "photos/s", f"× {name} (range)"],
    )

    def epoch() -> None:
        for _ in peer.loader:
            pass

    with tempfile.TemporaryDirectory() as scratch:
        pipeline = Pipeline(list(files), spec.size, spec.batch_size, hardware, scratch)
        contenders = {
            name: Contender(epoch),
            "reference": Contender(pipeline.reference_epoch),
            "gancolor, first epoch": Contender(pipeline.first_epoch),
            "gancolor, later ones": pipeline.later_epochs("later", "auto"),
        }
        timings = interleave(contenders, hardware.device, spec.seconds, warm_up=1)
    for loader, timing in timings.items():
        beside = 1.0 if loader == name else timing.speedup_over(timings[name])
        table.add({"loader": loader, "photos/s": len(files) / timing.median, f"× {name} (range)": beside})
    return table.rows


def measure_gains(
    name: str, checkout: Path, photos: Path, spec: "StepSpec", shown: list[str], minutes: float, limit: int | None
) -> "list[Row]":
    """Print the table of gains over grey after equal times of training and return its rows."""
    import torch
    from measure import Table
    from time_to_psnr import VALIDATED, Loop, race_with

    from gancolor.models.output import GeneratorOutput

    class AsGancolors(torch.nn.Module):
        def __init__(self, network: "nn.Module") -> None:
            super().__init__()
            self.network = network

        def forward(self, lightness: "Tensor") -> GeneratorOutput:
            return GeneratorOutput(self.network(lightness))

    table = Table(
        f"Gain over grey beside {name}, {spec.size} x {spec.size}, batch {spec.batch_size}",
        f"After {minutes:g} minutes of training each, decoding included, on {VALIDATED} validation photographs. Every "
        f"trainer has its own loader, losses and stages; {name} and gancolor train in turns.",
        ["trainer", "precision", "photographs", "photos/s", "gain [dB]", "best gain [dB]"],
    )
    for precision in shown:
        with tempfile.TemporaryDirectory() as scratch:

            def loop_on(paths: list[Path], folder: Path = Path(scratch)) -> Loop:
                peer = load_peer(name, checkout, linked(paths, folder / "train"), spec)
                step = lambda batch: peer.step(*(batch[key] for key in peer.keys))  # noqa: E731
                return Loop(step, peer.loader, AsGancolors(peer.generator), torch.device(spec.device))

            race = race_with(loop_on, replace(spec, precision=precision), photos, minutes * 60, limit, (), LOOKS)
        trained = {
            (name, "fp32"): (race.other.steps, race.theirs),
            (f"gancolor, {spec.arch}", precision): (race.steps, race.mine),
        }
        for (trainer, of), (steps, learner) in trained.items():
            seen = steps * spec.batch_size
            row: Row = {"trainer": trainer, "precision": of, "photographs": seen, "photos/s": seen / learner.seconds}
            table.add(row | {"gain [dB]": f"{learner.last:+.2f}", "best gain [dB]": f"{learner.most:+.2f}"})
    return table.rows


def linked(paths: Sequence[Path], folder: Path) -> Path:
    """Make a folder of links to the files, in their order, and return it."""
    folder.mkdir()
    for number, path in enumerate(paths):
        (folder / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="peers.py", description=str(__doc__).split(":")[0], allow_abbrev=False)
    parser.add_argument("--checkout", metavar="PATH", required=True, help="folder with the peer's code")
    parser.add_argument("--peer", choices=list(PEERS), required=True, help="project of that code")
    parser.add_argument("--arch", default="ugan", help="gancolor's architecture to compare with (ugan: pix2pix's)")
    parser.add_argument("--only", type=choice(PARTS), default=["step", "data"],
                        help=f"parts, of {', '.join(PARTS)} (default: step,data)")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=10, help="training time of each contender of gain (10)")
    add_common(parser)
    options = parser.parse_args()

    def measure(base: "StepSpec", shown: list[str]) -> "dict[str, list[Row]]":
        from data_pipeline import photo_files, photo_folder

        name, checkout = options.peer, Path(options.checkout)
        with photo_folder(options.photos) as folder, tempfile.TemporaryDirectory() as scratch:
            files = photo_files(folder, options.limit)
            files = files[: len(files) // base.batch_size * base.batch_size]
            if not files:
                raise InputError(f"--photos {folder}: fewer photographs than a batch")
            photos = linked([file.path for file in files], Path(scratch) / "train")
            peer = load_peer(name, checkout, photos, base)
            parts: dict[str, Callable[[], list[Row]]] = {
                "step": lambda: measure_steps(name, peer, base, shown),
                "data": lambda: measure_loaders(name, peer, files, base),
                "gain": lambda: measure_gains(name, checkout, folder, base, shown, options.minutes, options.limit),
            }
            return {part: parts[part]() for part in options.only}

    measuring(options, options.arch, measure)


if __name__ == "__main__":
    main()
