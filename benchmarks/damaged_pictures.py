"""Count what becomes of damaged pictures: every one must be decoded, or named in one line, within seconds.

    python benchmarks/damaged_pictures.py --pictures 10000 --seed 0

Each picture is made from its seed: a small drawn scene in one of many formats, then truncated, with flipped bits, a
zeroed range, inserted bytes or another format's suffix. A child process puts it through training's decoding,
`Colorizer` and `gancolor colorize`'s function; where it crashes or hangs, it is replaced.
"""

import argparse
import io
import multiprocessing
import resource
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import tifffile
from measure import Table
from PIL import Image

from gancolor import Colorizer
from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.photographs import colour_photographs
from gancolor.data.catalogue import PhotoFile
from gancolor.data.decode import UndecodableError
from gancolor.data.sources.demo import draw_scene
from gancolor.inference.backends import Backend
from gancolor.inference.image_files import read_picture
from gancolor.utils.errors import InputError

SIDE = 48  # of the pictures [pixels]
PEAK = "peak memory"
MOST_MEMORY = 2**32  # bytes that a child may take for data: more is refused to it
LOST = 0.01  # a truncated picture is incomplete if it is this far from the whole one, on average of 0..1

TIFFS: dict[str, dict[str, Any]] = {
    "tiff": {}, "tiff, deflate": {"compression": "zlib", "predictor": True}, "tiff, tiles": {"tile": (16, 16)},
    "tiff, big-endian": {"byteorder": ">", "rowsperstrip": 5}, "bigtiff": {"bigtiff": True}}  # fmt: skip
PILLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"}),
    "jpeg, progressive": ("JPEG", {"progressive": True}), "png": ("PNG", {}), "webp": ("WEBP", {}),
    "webp, lossless": ("WEBP", {"lossless": True}), "tiff, lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}), "gif": ("GIF", {}), "avif": ("AVIF", {"speed": 10}), "jpeg 2000": ("JPEG2000", {}),
    "tga": ("TGA", {"compression": "tga_rle"}), "ppm": ("PPM", {})}  # fmt: skip
SUFFIXES = {"jpeg": ".jpg", "bigtiff": ".tif", "tiff": ".tif", "jpeg 2000": ".jp2"}
FORMATS = (*PILLOWS, *TIFFS, "png, 16 bits", "tiff, floats", "heic")
DAMAGES = ("truncated", "flipped bits", "zeroed range", "inserted bytes", "wrong suffix")

Outcome = tuple[str, str]  # what became of a picture, and the words that name it


class Green:
    """The cheapest backend: everything is green."""

    about: ClassVar[dict[str, Any]] = {}
    takes_hints = False

    def __call__(self, lightness: np.ndarray) -> np.ndarray:
        return np.concatenate([lightness * 0 - 0.2, lightness * 0 + 0.2], axis=1)


def green_colorizer() -> Colorizer:
    return Colorizer(cast(Backend, Green()), 32)


@cache
def whole(kind: str) -> bytes:
    """Return a file of one of `FORMATS`."""
    scene, stream = draw_scene(0, 3, SIDE), io.BytesIO()
    if kind in PILLOWS:
        name, options = PILLOWS[kind]
        Image.fromarray(scene).save(stream, name, **options)
    elif kind in TIFFS:
        tifffile.imwrite(stream, scene, photometric="rgb", **TIFFS[kind])
    elif kind == "tiff, floats":
        tifffile.imwrite(stream, (scene / 255).astype(np.float32), photometric="rgb")
    elif kind == "png, 16 bits":
        Image.fromarray(scene[..., 0].astype(np.uint16) * 257).save(stream, "PNG")
    else:
        import pillow_heif

        pillow_heif.from_pillow(Image.fromarray(scene)).save(stream)
    return stream.getvalue()


def damaged(seed: int) -> tuple[str, str, str, bytes]:
    """Return format, damage, file name and content of a picture."""
    dice = np.random.default_rng(seed)
    kind, damage = str(dice.choice(FORMATS)), str(dice.choice(DAMAGES))
    data = bytearray(whole(kind))
    suffix = SUFFIXES.get(kind.split(",")[0], f".{kind.split(',')[0]}")
    # Half of the damage is in the headers, which are short.
    place = int(dice.integers(len(data) if dice.random() < 0.5 else min(256, len(data))))
    length = int(2 ** dice.uniform(0, 9))
    if damage == "truncated":
        del data[int(dice.integers(len(data))) :]
    elif damage == "flipped bits":
        for _ in range(int(dice.integers(1, 9))):
            data[min(place + int(dice.integers(64)), len(data) - 1)] ^= 1 << int(dice.integers(8))
    elif damage == "zeroed range":
        data[place : place + length] = bytes(len(data[place : place + length]))
    elif damage == "inserted bytes":
        data[place:place] = dice.bytes(length)
    else:
        suffix = str(dice.choice([".jpg", ".png", ".tif", ".webp", ".gif", ".bmp", ".avif", ".mp4"]))
    return kind, damage, f"{seed}{suffix}", bytes(data)


def routes(colorizer: Colorizer, path: Path) -> dict[str, Callable[[], object]]:
    """Return the ways of a picture file through gancolor."""

    def train() -> None:
        photograph = PhotoFile(path, path.name)
        photograph.upright_size(), photograph.load(32)

    def command() -> None:
        job = ColorizeJob(path, path.parent / "out" / f"{path.stem}.png")
        if problems := colour_photographs(colorizer, [job]):
            raise InputError(problems[0].reason)

    return {"training": train, "Colorizer": lambda: colorizer(path), "gancolor colorize": command}


def judge(run: Callable[[], object]) -> Outcome:
    """Run one route."""
    try:
        run()
    except (InputError, UndecodableError, MemoryError) as error:
        return "named" if "\n" not in str(error) else "several lines", str(error)
    except Exception as error:
        return "other error", f"{type(error).__name__}: {error}"
    return "decoded", ""


def is_incomplete(kind: str, path: Path) -> bool:
    """Return whether a truncated picture is read without a word although its end is missing."""
    found, expected = read_picture(path).pixels, read_picture(whole(kind)).pixels
    most = np.iinfo(found.dtype).max
    return found.shape != expected.shape or bool(np.abs(found / most - expected / most).mean() > LOST)


def judged(colorizer: Colorizer, folder: Path, seed: int) -> Iterator[tuple[str, Outcome | None]]:
    """Put a picture through all routes. Yield the route's name and None before each, and its outcome after it."""
    kind, damage, name, data = damaged(seed)
    path = folder / name
    path.write_bytes(data)
    for route, run in routes(colorizer, path).items():
        yield route, None
        outcome = judge(run)
        if route == "Colorizer" and damage == "truncated" and outcome[0] == "decoded":
            outcome = ("incomplete" if is_incomplete(kind, path) else "decoded", "")
        yield route, outcome
    path.unlink()


def work(pipe: Connection, seeds: range) -> None:
    """Send (seed, route, None) before and (seed, route, outcome) after each route, and at the end the peak memory
    [MB]."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            for route, outcome in judged(green_colorizer(), Path(folder), seed):
                pipe.send((seed, route, outcome))
    pipe.send((seeds.stop, PEAK, (f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}", "")))


def outcomes(seeds: range, patience: float) -> Iterator[tuple[int, str, Outcome]]:
    """Yield seed, route and outcome of every picture, in as many child processes as it takes."""
    context = multiprocessing.get_context("forkserver")
    while seeds:
        pipe, end = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(end, seeds))
        child.start()
        end.close()
        seed, route, outcome, fate = seeds.start, "start", None, "hung"
        try:
            while pipe.poll(patience):
                seed, route, outcome = pipe.recv()
                if outcome:
                    yield seed, route, outcome
        except EOFError:
            fate = "crashed"
        child.kill()
        child.join()
        if outcome is None:
            yield seed, route, (fate, f"exit code {child.exitcode}")
        seeds = range(seed + 1, seeds.stop)


def count(seeds: range, patience: float = 60) -> tuple[dict[str, Counter[str]], list[str], int]:
    """Return how often each outcome occurred by route, lines about the bad ones, and the peak memory [MB].

    Args:
        patience: seconds until a picture counts as hung. The first one also waits for imports.
    """
    counts: dict[str, Counter[str]] = {}
    bad, peak = [], 0
    for seed, route, (outcome, words) in outcomes(seeds, patience):
        if route == PEAK:
            peak = max(peak, int(outcome))
            continue
        counts.setdefault(route, Counter())[outcome] += 1
        if outcome not in ("decoded", "named"):
            kind, damage, *_ = damaged(seed)
            bad.append(f"seed {seed} ({kind}, {damage}), {route}: {outcome} {words!r}")
    return counts, bad, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first picture")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.pictures)
    counts, bad, peak = count(seeds)
    columns = ["decoded", "named", "several lines", "other error", "incomplete", "crashed", "hung"]
    table = Table(
        f"{args.pictures:,} damaged pictures from seed {args.seed}",
        f"incomplete: truncated, and decoded without a word. Peak memory of a child: {peak:.0f} MB.",
        ["route", *columns],
    )
    for route, found in counts.items():
        table.add({"route": route, **{column: found[column] for column in columns}})
    print("\n" + "\n".join(bad))


if __name__ == "__main__":
    main()
