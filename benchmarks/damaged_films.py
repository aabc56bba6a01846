"""Colour damaged films, each in a process of its own, and count how that ends.

    python benchmarks/damaged_films.py --films 1000 --seed 0
    python benchmarks/damaged_films.py --seed 0 --film 17 --keep DIR  # that one again; DIR gets the film and its result

The films are made by code, a second long, and damaged by chance: cut off, with bits flipped, ranges zeroed, bytes
inserted, or under another format's name. The "network" is a formula, so that the time goes into reading and writing.
"""

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed

import av
import numpy as np

from gancolor import Colorizer
from gancolor.colorize.inputs import ColorizeJob, renamed
from gancolor.colorize.video import colour_video, partial_name
from gancolor.inference.backends import Backend
from gancolor.utils.errors import InputError

CODERS = {
    ".mp4": ("libx264", "aac"), ".mkv": ("libx264", "flac"), ".avi": ("mpeg4", "libmp3lame"),
    ".mov": ("mjpeg", "pcm_s16le"), ".webm": ("libvpx-vp9", "libopus"), ".ts": ("mpeg2video", "mp2"),
    ".flv": ("flv1", "adpcm_swf"), ".mpg": ("mpeg1video", "mp2"), ".wmv": ("wmv2", "wmav2"),
}  # fmt: skip
FRAMES, HEIGHT, WIDTH, RATE = 24, 48, 64, 25
DAMAGES = ("cut off", "bits flipped", "range zeroed", "bytes inserted", "other name")
ENDS = ("whole", "part, named", "refused", "part, unnamed", "wrong", "crashed", "hung")
LONGEST = 60  # seconds that a result may last beyond its source's header: damaged times must not make hours of it
MEMORY = 4 * 2**30  # most address space of a process [bytes]


class Formula:
    """Chroma as a function of lightness."""

    about: dict[str, Any] = {}  # noqa: RUF012
    takes_hints = has_distribution = False

    def __call__(self, lightness: np.ndarray, hints: object = None) -> np.ndarray:  # noqa: ARG002
        return np.concatenate([0.2 * lightness + 0.1, 0.1 * lightness], axis=1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--film", type=int, help="number of a single film")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for films that did not end well")
    parser.add_argument("--processes", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="time after which a film counts as hung (default: 60)"
    )
    args = parser.parse_args(argv)
    numbers = range(args.films) if args.film is None else [args.film]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gancolor.colorize.video"])
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(args.processes) as pool:
        whole = make_films(Path(scratch))
        ends = list(pool.map(lambda number: run(context, whole, Path(scratch), number, args), numbers))
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(ENDS, 0))
    for damage, end, _ in ends:
        counts[damage][end] += 1
        counts["all"][end] += 1
    print(f"\n| damage | {' | '.join(ENDS)} |\n|---{'|---:' * len(ENDS)}|")
    for damage in (*DAMAGES, "all"):
        print(f"| {damage} | {' | '.join(str(counts[damage][end]) for end in ENDS)} |")
    print(f"\nPeak memory of a process: {max(peak for *_, peak in ends) / 2**20:.0f} MB")


def run(
    context: Any, whole: dict[str, bytes], scratch: Path, number: int, args: argparse.Namespace
) -> tuple[str, str, int]:
    """Colour a film in a process of its own; return its damage, how it ended, and the peak memory [bytes]."""
    folder = scratch / str(number)
    film, damage = make_damaged(folder, whole, args.seed, number)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(film, sender))
    process.start()
    sender.close()
    try:
        end, words, peak = receiver.recv() if receiver.poll(args.seconds) else ("hung", "", 0)
    except EOFError:
        end, words, peak = "crashed", "its process ended", 0
    process.kill()
    process.join()
    if end in ENDS[3:] or args.film is not None:
        print(f"film {number} ({film.name}, {damage}): {end}: {words}", flush=True)
        if args.keep:
            shutil.copytree(folder, args.keep / str(number), dirs_exist_ok=True)
    shutil.rmtree(folder)
    return damage, end, peak


def report(film: Path, sender: Any) -> None:
    """Send how a film ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    end, words = colour(film)
    sender.send((end, words, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def colour(film: Path) -> tuple[str, str]:
    """Colour a film as the command does; return how it ended, and why."""
    job = ColorizeJob(film, film.parent / "out" / renamed(Path(film.name), None))
    backend: Backend = Formula()  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            colour_video(Colorizer(backend, 32, "bilinear"), job)
        end, words = "whole", ""
    except InputError as error:
        end, words = "refused", str(error)
    except Exception:
        return "wrong", traceback.format_exc()
    results = [path for path in (job.target, partial_name(job)) if path.exists()]
    if end == "refused" and results:
        end = "part, named"
    if "\n" in words or len(list(job.target.parent.iterdir())) != len(results) or len(results) != (end != "refused"):
        return "wrong", f"{words}; {[path.name for path in job.target.parent.iterdir()]}"
    for result in results:
        count, problem = watch(result, film)
        if problem:
            return "wrong", f"{words}; {problem}"
        if end == "whole" and count < FRAMES:
            return "part, unnamed", f"{count} of {FRAMES} frames"
    return end, words


def watch(result: Path, film: Path) -> tuple[int, str]:
    """Return a result's number of frames, and what is wrong with it, if anything."""
    try:
        with av.open(str(result)) as video:
            times = [frame.time for frame in video.decode(video.streams.video[0])]
    except av.FFmpegError as error:
        return 0, f"the result can't be read: {error}"
    with av.open(str(film), metadata_errors="replace") as source:
        longest = LONGEST + (source.duration or 0) / av.time_base
    if not times or times[-1] > longest:
        return len(times), f"the result has {len(times)} frames, until {times[-1] if times else 0:.0f} s"
    return len(times), ""


# The films ------------------------------------------------------------------------------------------------------------


def make_films(folder: Path) -> dict[str, bytes]:
    """Return a whole film of each format, by suffix."""
    films = {}
    for suffix, coders in CODERS.items():
        path = folder / f"whole{suffix}"
        make_film(path, *coders)
        films[suffix] = path.read_bytes()
    return films


def make_film(path: Path, pictures: str, sound: str, frames: int = FRAMES) -> None:
    """Write a film of moving stripes with a tone."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options=options) as film:
        seen = film.add_stream(pictures, rate=RATE, width=WIDTH, height=HEIGHT)
        seen.pix_fmt = "yuvj420p" if pictures == "mjpeg" else "yuv420p"
        seen.codec_context.time_base = Fraction(1, RATE)
        heard = film.add_stream(sound, rate=48000 if sound == "libopus" else 44100, layout="mono", bit_rate=64000)
        rate = heard.codec_context.sample_rate
        for number in range(frames):
            rows, columns = np.mgrid[:HEIGHT, :WIDTH]
            stripes = (127 + 120 * np.sin((columns + rows / 2 + number) / 5)).astype(np.uint8)
            film.mux(seen.encode(av.VideoFrame.from_ndarray(np.repeat(stripes[..., None], 3, -1), "rgb24")))
            tone = np.sin(0.05 * np.arange(rate // RATE, dtype=np.float32))[None]
            part = av.AudioFrame.from_ndarray(tone, "flt", "mono")
            part.sample_rate, part.pts, part.time_base = rate, number * (rate // RATE), Fraction(1, rate)
            film.mux(heard.encode(part))
        film.mux(seen.encode(None))
        film.mux(heard.encode(None))


def make_damaged(folder: Path, whole: dict[str, bytes], seed: int, number: int) -> tuple[Path, str]:
    """Write a damaged film; return its path and its damage."""
    random = np.random.default_rng([seed, number])
    suffix, damage = str(random.choice(list(whole))), str(random.choice(DAMAGES))
    data = bytearray(whole[suffix])
    start = int(random.integers(len(data)))
    length = int(min(len(data) - start, 2 ** random.uniform(0, 12)))
    if damage == "cut off":
        del data[start:]
    elif damage == "bits flipped":
        for at in random.integers(len(data), size=int(2 ** random.uniform(0, 8))):
            data[at] ^= 1 << int(random.integers(8))
    elif damage == "range zeroed":
        data[start : start + length] = bytes(length)
    elif damage == "bytes inserted":
        data[start:start] = random.bytes(length)
    else:
        suffix = str(random.choice([other for other in whole if other != suffix]))
    folder.mkdir()
    path = folder / f"film{suffix}"
    path.write_bytes(data)
    return path, damage


if __name__ == "__main__":
    main()
