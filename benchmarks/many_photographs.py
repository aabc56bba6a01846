"""Measure time and memory of the first start, and of later ones, with very many photographs.

    python benchmarks/many_photographs.py --folder DIR                        # a million, as loose files and as shards
    python benchmarks/many_photographs.py --folder DIR --form shards --decode always --photos 100000

The photographs are a few hundred small drawn ones, repeated as often as needed. They stay in DIR for the next time,
until you delete them.
"""

import argparse
import io
import os
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import Memory, Row, Table, attempt, in_fresh_process
from PIL import Image

from gancolor.config.options import DataConfig
from gancolor.data.sources.demo import draw_scene

SIDE, BATCH = 48, 64  # of the photographs [pixels]; photographs per step
DRAWN, MOST_LINKS = 400, 60_000  # drawn photographs; links per file: ext4 allows 65,000
IN_FOLDER, IN_SHARD = 1000, 10_000  # photographs per folder and per shard
SAMPLED = 20_000  # most photographs for which the rate is measured
PARTS = 100  # memory growth is measured from a hundredth of the photographs to all of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="folder for the photographs and their caches")
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--form", choices=["files", "shards", "both"], default="both")
    parser.add_argument("--decode", choices=["once", "always"], default="once")
    parser.add_argument("--size", type=int, default=32, help="side of the decoded photographs [pixels]")
    args = parser.parse_args()
    table = Table(
        f"{args.photos:,} photographs, --data.decode {args.decode}, {args.size} x {args.size}",
        f"JPEG files of {SIDE} x {SIDE}. first: time to read all of them once. start: time that any later process "
        "takes to start, without imports, and its CPU time. first batch: time after that. Memory: growth until the end "
        "of sampling, of the process's own (anonymous) memory and together with mapped files, which the system can "
        "reclaim.",
        ["form", "photos", "first [s]", "photos/s", "start [s]", "start, CPU [s]", "first batch [s]", "sampled/s",
         "own [MB]", "with mapped [MB]", "own, bytes a photo"],
    )  # fmt: skip
    for form in ("files", "shards") if args.form == "both" else (args.form,):
        own: dict[int, float] = {}
        for count in (max(args.photos // PARTS, 10 * BATCH), args.photos):
            row = attempt(partial(measure, Path(args.folder), form, count, args.size, args.decode))
            if isinstance(row, str):
                table.add({"form": form, "photos": count, "error": row})
                continue
            own[count] = float(row["own [MB]"])
            if len(own) == 2:
                fewer, more = own
                row["own, bytes a photo"] = 1e6 * (own[more] - own[fewer]) / (more - fewer)
            table.add({"form": form, "photos": count} | row)


def measure(folder: Path, form: str, count: int, size: int, decode: str) -> Row:
    source = (make_files if form == "files" else make_shards)(folder, count)
    cache = folder / f"cache-{form}-{count}-{decode}"
    shutil.rmtree(cache, ignore_errors=True)
    first = in_fresh_process(start, source, cache, size, decode)
    later = in_fresh_process(start, source, cache, size, decode)
    shutil.rmtree(cache)
    return {"first [s]": first["start [s]"], "photos/s": count / first["start [s]"]} | later


def start(source: Path, cache: Path, size: int, decode: str) -> dict[str, float]:
    """Measure what a training process does up to its batches, without the networks."""
    from gancolor.data.dataset import Dataset

    config = DataConfig(source=str(source), size=size, cache=str(cache), batch_size=BATCH, val_fraction=0.001)
    config.decode = decode  # type: ignore[assignment]
    cpu = torch.device("cpu")
    memory, own = Memory(cpu), OwnMemory()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    batches = Dataset(config, 0, cpu).batches
    started, started_cpu = time.perf_counter(), time.process_time()
    steps = min(batches.steps_per_epoch, SAMPLED // BATCH + 1)
    stream = batches.stream(0, steps, cpu)
    next(stream)
    first = time.perf_counter()
    for _ in stream:
        pass
    ended = time.perf_counter()
    return {
        "start [s]": started - begun,
        "start, CPU [s]": started_cpu - begun_cpu,
        "first batch [s]": first - started,
        "sampled/s": (steps - 1) * BATCH / (ended - first),
        "own [MB]": own.growth() / 1e6,
        "with mapped [MB]": memory.peak() * 2**30 / 1e6,
    }


class OwnMemory:
    """Peak of a process's own (anonymous) memory above what it held before [bytes]. It is polled, because the system
    keeps no record of it. Linux only: elsewhere 0."""

    def __init__(self) -> None:
        self.before = self.most = self._now()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def growth(self) -> int:
        self._stopped.set()
        self._thread.join()
        return max(self.most, self._now()) - self.before

    def _watch(self) -> None:
        while not self._stopped.wait(0.02):
            self.most = max(self.most, self._now())

    @staticmethod
    def _now() -> int:
        status = Path("/proc/self/status")
        if not status.exists():
            return 0
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        return 1024 * int(line.split()[1])


# The photographs ------------------------------------------------------------------------------------------------------


def draw(folder: Path, count: int) -> list[Path]:
    """Draw enough photographs to link or pack them `count` times."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index}.jpg" for index in range(max(DRAWN, -(-count // MOST_LINKS)))]
    for index, path in enumerate(paths):
        if not path.exists():
            Image.fromarray(draw_scene(0, index, SIDE)).save(path, quality=85)
    return paths


def make_files(folder: Path, count: int) -> Path:
    """Create `count` hard links to a few hundred files, a thousand per folder."""
    drawn = draw(folder / f"drawn-{count}", count)

    def fill(made: Path) -> None:
        for index in range(count):
            if index % IN_FOLDER == 0:
                below = made / f"{index // IN_FOLDER:06d}"
                below.mkdir()
            os.link(drawn[index % len(drawn)], below / f"{index:08d}.jpg")

    return _made(folder / f"files-{count}", fill)


def make_shards(folder: Path, count: int) -> Path:
    """Create tar files of ten thousand photographs with their classes, or of a hundred or more if there are few."""
    pictures = [path.read_bytes() for path in draw(folder / "drawn", 0)]
    in_shard = min(IN_SHARD, max(count // 16, 100))

    def fill(made: Path) -> None:
        for first in range(0, count, in_shard):
            with tarfile.open(made / f"train-{first // in_shard:05d}.tar", "w") as tar:
                for index in range(first, min(first + in_shard, count)):
                    _add(tar, f"{index:08d}.jpg", pictures[index % len(pictures)])
                    _add(tar, f"{index:08d}.cls", str(index % 1000).encode())

    return _made(folder / f"shards-{count}", fill)


def _made(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return the folder; create and fill it if it does not exist."""
    if not folder.is_dir():
        print(f"making {folder}", file=sys.stderr, flush=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        fill(scratch)
        scratch.rename(folder)
    return folder


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    main()
