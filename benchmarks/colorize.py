"""Measure `gancolor colorize` and the Colorizer on this machine: `python benchmarks/colorize.py`; see `--help`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import fmean, median

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed

PARTS = ("folder", "start", "large", "batches", "video", "upsampling")
CHROMA = 50  # photographs whose chroma is upsampled
COMMAND = [sys.executable, "-c", "from gancolor.cli import main; main()", "colorize"]
LOOP = """
import sys
from pathlib import Path
from gancolor import Colorizer
colorizer = Colorizer.load(sys.argv[1], device=sys.argv[2])
for path in sorted(Path(sys.argv[3]).iterdir()):
    colorizer(path).save(Path(sys.argv[4]) / path.name)
"""


def main() -> None:
    options = parse()
    from bench import header
    from measure import Row

    from gancolor.cli import run
    from gancolor.inference.bundled import default_generator

    def measure() -> None:
        about = header(options.device, sys.argv[1:])
        checkpoint = options.checkpoint or default_generator()
        parts: dict[str, list[Row]] = {}
        with tempfile.TemporaryDirectory() as scratch:
            folder = photographs(Path(scratch), options.photos, options.count)
            if "folder" in options.only:
                parts["folder"] = measure_folder(folder, checkpoint, options)
            if "start" in options.only:
                parts["start"] = measure_start(folder, checkpoint, options)
            if "large" in options.only:
                parts["large"] = measure_large(folder, checkpoint, options)
            if "batches" in options.only:
                parts["batches"] = measure_batches(checkpoint, options)
            if "video" in options.only:
                from flicker import measure_video  # imports scikit-image

                parts["video"] = measure_video(folder, checkpoint, options)
            if "upsampling" in options.only:
                parts["upsampling"] = measure_upsampling(folder, options)
        if options.json:
            Path(options.json).write_text(json.dumps({"about": about, **parts}, indent=1) + "\n", encoding="utf-8")

    run(measure)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from bench import choice

    parser = argparse.ArgumentParser(
        prog="colorize.py", description="Measures gancolor colorize on this machine.", allow_abbrev=False
    )
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="(default: the bundled generator)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--photos", metavar="DIR", help="folder of photographs (default: drawn scenes)")
    parser.add_argument("--count", type=int, default=500, help="photographs in the folder (default: 500)")
    parser.add_argument("--starts", type=int, default=10, help="measured single-photograph processes (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default: 3)")
    parser.add_argument("--only", type=choice(PARTS), default=list(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    return parser.parse_args(argv)


def photographs(scratch: Path, given: str | None, count: int) -> Path:
    """Create a folder of `count` JPEG files."""
    from PIL import Image

    from gancolor.data.sources.demo import draw_scene

    folder = scratch / "photographs"
    folder.mkdir()
    if given:
        sources = sorted(path for path in Path(given).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    else:
        sources = [scratch / f"{index}.jpg" for index in range(20)]
        for index, path in enumerate(sources):
            Image.fromarray(draw_scene(0, index, 512)).save(path, quality=92)
    for index, source in zip(range(count), cycle(sources)):
        shutil.copy(source, folder / f"{index:05d}.jpg")
    return folder


def measure_folder(folder: Path, checkpoint: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Compare the command with one process per photograph, and with a loop over the files in one process."""
    from measure import Table

    files = sorted(folder.iterdir())
    out = folder.parent / "out"

    def command() -> None:
        colorize(folder, out, checkpoint, options.device)

    def loop() -> None:
        out.mkdir()
        subprocess.run([sys.executable, "-c", LOOP, str(checkpoint), options.device, str(folder), str(out)], check=True)

    def a_process_each() -> None:
        for path in files[: options.starts]:
            colorize(path, out, checkpoint, options.device)

    names = ("gancolor colorize FOLDER", "a loop over Colorizer", "one process per photograph")
    shares = (1.0, 1.0, len(files) / options.starts)
    turns = turn_about([command, loop, a_process_each], options.rounds, out)
    seconds = [[one * share for one in turn] for turn, share in zip(turns, shares, strict=True)]
    table = Table(
        f"A folder of {len(files)} photographs",
        f"Whole processes, including their start; one process per photograph is estimated from {options.starts}.",
        ["what", "photos/s", "s", "x as long (range)"],
    )
    for name, mine in zip(names, seconds, strict=True):
        ratios = sorted(one / other for one, other in zip(mine, seconds[0], strict=True))
        table.add({"what": name, "photos/s": len(files) / median(mine), "s": median(mine),
                   "x as long (range)": [ratios[0], median(ratios), ratios[-1]]})  # fmt: skip
    return table.rows


def measure_start(folder: Path, checkpoint: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure the time for one small photograph, beyond the time to import PyTorch."""
    from measure import Table

    path, out = next(folder.iterdir()), folder.parent / "out"
    turns = turn_about(
        [
            lambda: colorize(path, out, checkpoint, options.device),
            lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True),
        ],
        max(5, options.rounds),
        out,
    )
    beyond = sorted(one - other for one, other in zip(*turns, strict=True))
    table = Table("One photograph", "Whole processes.", ["what", "s"])
    table.add({"what": "gancolor colorize PHOTO", "s": median(turns[0])})
    table.add({"what": "import torch", "s": median(turns[1])})
    table.add({"what": "difference (range)", "s": [beyond[0], median(beyond), beyond[-1]]})
    return table.rows


def measure_large(folder: Path, checkpoint: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure 12 megapixels from file to file, an enlarged photograph with grain, against decoding, encoding and one
    forward pass."""
    import numpy as np
    import torch
    from flicker import NOISE
    from measure import Contender, Table, interleave
    from PIL import Image

    from gancolor import Colorizer
    from gancolor.inference.image_files import read_picture

    path, out = folder.parent / "large.jpg", folder.parent / "coloured.jpg"
    large = Image.open(min(folder.iterdir())).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, NOISE, (3000, 4000, 1))
    Image.fromarray((np.asarray(large) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=92)
    colorizer = Colorizer.load(checkpoint, device=options.device)
    compiled = replace(colorizer, compiled=True)
    picture = read_picture(path)
    seen = colorizer.see(picture)
    prediction = colorizer.predict([seen])[0]
    parts: dict[str, Callable[[], object]] = {
        "all, from file to file": lambda: colorizer(path).save(out),
        "all, with the compiled kernel": lambda: compiled(path).save(out),
        "decode": lambda: read_picture(path),
        "see": lambda: colorizer.see(picture),
        "forward pass": lambda: colorizer.predict([seen]),
        "enlarge and join": lambda: colorizer.colour(picture, prediction),
        "enlarge and join, compiled": lambda: compiled.colour(picture, prediction),
        "encode and write": lambda: picture.save(out),
    }
    timings = interleave({name: Contender(part) for name, part in parts.items()}, torch.device(options.device), 10)
    least = sum(timings[name].median for name in ("decode", "forward pass", "encode and write"))
    table = Table("12 megapixels", "", ["what", "s", "x decode + forward pass + encode"])
    for name, timing in timings.items():
        table.add({"what": name, "s": timing.median, "x decode + forward pass + encode": timing.median / least})
    return table.rows


def measure_batches(checkpoint: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure batches of tensors on the device, from pictures to pictures, against the forward pass alone."""
    import torch
    from measure import Contender, Table, interleave

    from gancolor import Colorizer

    colorizer = Colorizer.load(checkpoint, device=options.device)
    device = torch.device(options.device)
    table = Table("Batches of 16 tensors", "", ["side", "photos/s", "forward pass alone, photos/s", "share"])
    for side in (256, 1024):
        pictures = torch.randint(0, 256, (16, 3, side, side), dtype=torch.uint8, device=device)
        seen = torch.rand(16, 1, colorizer.size, colorizer.size, device=device) * 2 - 1
        contenders = {"all": Contender(partial(colorizer, pictures)),
                      "forward": Contender(partial(colorizer.backend, seen))}  # fmt: skip
        taken = interleave(contenders, device, 5)
        whole, forward = taken["all"].median, taken["forward"].median
        table.add({"side": side, "photos/s": 16 / whole, "forward pass alone, photos/s": 16 / forward,
                   "share": forward / whole})  # fmt: skip
    return table.rows


def measure_upsampling(folder: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure the error of upsampling: shrink true chroma to a network's size, upsample it and compare."""
    import numpy as np
    from measure import Table
    from skimage.color import rgb2lab

    from gancolor.inference.image_files import read_picture, resize
    from gancolor.inference.upsampling import Enlarged
    from gancolor.inference.working_size import working_size

    table = Table("Upsampling of chroma", "Mean distance from the truth, ab units.", ["side", "bilinear", "guided"])
    files = sorted(folder.iterdir())[:: max(1, options.count // CHROMA)][:CHROMA]
    for side in (64, 128):
        distances: dict[str, list[float]] = {"bilinear": [], "guided": []}
        for picture in map(read_picture, files):
            if picture.pixels.shape[-1] == 1 or min(picture.size) <= side:
                continue
            small = resize(picture.pixels, *working_size(picture.size, side, side)) / 255
            lightness, chroma = np.split(rgb2lab(small).astype(np.float32).transpose(2, 0, 1), [1])
            truth = rgb2lab(picture.pixels).astype(np.float32)
            for name, found in distances.items():
                enlarged = Enlarged(chroma, lightness, *picture.size, name)  # type: ignore[arg-type]
                x, y, z = enlarged.strip(0, picture.size[0], (truth[..., 0] + 16) / 116)
                found.append(float(np.hypot(500 * (x - y) - truth[..., 1], 200 * (y - z) - truth[..., 2]).mean()))
        table.add({"side": side} | {name: fmean(found) for name, found in distances.items()})
    return table.rows


def colorize(source: Path, out: Path, checkpoint: Path, device: str) -> None:
    words = [str(source), "-o", str(out), "--checkpoint", str(checkpoint), "--device", device]
    subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.DEVNULL)


def turn_about(contenders: Sequence[Callable[[], object]], rounds: int, out: Path) -> list[list[float]]:
    """Return the seconds of each contender's turns, A B A B ..., after an untimed turn of the first. Each turn writes
    to a new folder."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for number in range(-1, rounds):
        for taken, contender in zip(seconds, contenders if number >= 0 else contenders[:1], strict=False):
            shutil.rmtree(out, ignore_errors=True)
            start = time.perf_counter()
            contender()
            if number >= 0:
                taken.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parent.parent), *sys.path])
    main()
