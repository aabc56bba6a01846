"""Kill trainings at random moments and check that nothing is lost.

    python benchmarks/kills.py --kills 200 --seed 1

Small runs through all stages, with states saved in the background every few steps, are killed (SIGKILL) at random
moments and started again by the same command until they end. Then weights, scores and logs must be, bit for bit, those
of a run that was not interrupted. Runs train on scenes, on shards that are decoded in every epoch, from a finished
generator (--init), and in sweeps, whose kills take the sweep alone or its training too.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shlex
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "WANDB_MODE": "disabled",
}  # before torch is imported: forks can't use its threads

import torch
import yaml
from measure import Table
from PIL import Image
from safetensors.torch import load_file

from gancolor import cli
from gancolor.data.sources.demo import draw_scene
from gancolor.training import trainer  # noqa: F401 - imported once, for all forks

TINY = shlex.split(
    "--arch attention_ugan --data.size 16 --data.batch_size 2 --data.demo_photos 40 --data.crop_scale 0.7 "
    "--generator.width 4 --generator.dropout 0.5 --discriminator.width 4 --discriminator.layers 1 --precision fp32 "
    "--pretrain_epochs 0.7 --critic_epochs 0.3 --epochs 0.8 --eval.every 0.4 --tracking.log_every 1 "
    "--checkpoint_every 3 --data.val_limit 4"
)
TUNED = [word for word in TINY if not word.startswith("--arch") and word != "attention_ugan"]
UNLIKE = ("photographs_per_second", "memory_gib")
KINDS = ("scenes", "shards", "fine-tuning", "sweep")
SHARE_OF_SWEEPS = 0.1  # of the kills, because each start of a sweep starts Python for every training


@dataclass
class Kind:
    """A kind of run, and what became of its kills.

    Attributes:
        words: of the command `gancolor ...`, without --out.
        runs: finds the folders of its trainings in that of the command's --out.
        kills, resumed, same: number of kills, of those after which the same command went on, and of those in runs that
            ended like the uninterrupted one.
    """

    name: str
    words: Sequence[str]
    runs: Callable[[Path], list[Path]] = lambda out: [out]
    kills: int = 0
    resumed: int = 0
    same: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"XDG_CACHE_HOME": f"{scratch}/cache", "HOME": scratch}
        kinds = [kind for kind in make_kinds(Path(scratch)) if options.only in (None, kind.name)]
        table = Table(f"{options.kills} kills, seed {options.seed}", "", ["kind", "kills", "resumed", "same", "lost"])
        for kind in kinds:
            share = SHARE_OF_SWEEPS if kind.name == "sweep" else (1 - SHARE_OF_SWEEPS) / (len(KINDS) - 1)
            share = 1 if options.only else share
            torment(kind, round(options.kills * share), random.Random(f"{options.seed} {kind.name}"), Path(scratch))
            lost = kind.kills - min(kind.resumed, kind.same)
            table.add(
                {"kind": kind.name, "kills": kind.kills, "resumed": kind.resumed, "same": kind.same, "lost": lost}
            )
    problems = [f"{kind.name}: {problem}" for kind in kinds for problem in kind.problems]
    print("\n".join(problems), file=sys.stderr)
    sys.exit(bool(problems))


def make_kinds(scratch: Path) -> list[Kind]:
    """Make shards, a generator to start from, and a sweep file."""
    for shard in range(4):
        with tarfile.open(scratch / f"train-{shard}.tar", "w") as tar:
            for number in range(shard * 10, shard * 10 + 10):
                data = io.BytesIO()
                Image.fromarray(draw_scene(5, number, 40)).save(data, "JPEG")
                info = tarfile.TarInfo(f"{number:04d}.jpg")
                info.size = data.tell()
                tar.addfile(info, io.BytesIO(data.getvalue()))
    first = scratch / "first"
    run(["train", *TINY, "--out", str(first)], scratch / "first.txt").wait()
    pairs = zip(TINY[::2], TINY[1::2], strict=True)
    parameters = {name.removeprefix("--"): {"value": yaml.safe_load(value)} for name, value in pairs}
    parameters |= {"seed": {"values": [0, 1]}}
    content = {"program": "train.py", "method": "grid", "parameters": parameters}
    (scratch / "sweep.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    shards = ["--data.source", str(scratch / "train-{0..3}.tar"), "--data.decode", "always"]
    return [
        Kind("scenes", ["train", *TINY]),
        Kind("shards", ["train", *TINY, *shards]),
        Kind("fine-tuning", ["train", *TUNED, "--init", str(first / "generator.safetensors")]),
        Kind("sweep", ["sweep", str(scratch / "sweep.yaml"), "--jobs", "1"], lambda out: sorted(out.glob("seed=*/"))),
    ]


class Run:
    """A command in a fork, with a process group of its own."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self.log = pid, log

    def wait(self, seconds: float = 600) -> int | None:
        """Return the exit status, or None if it runs for longer."""
        end = time.monotonic() + seconds
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.002)

    def kill(self, alone: bool) -> None:
        (os.kill if alone else os.killpg)(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def run(words: Sequence[str], log: Path) -> Run:
    """Start `gancolor WORDS`, with its output in a file."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        return Run(pid, log)
    status = 1
    try:
        os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["gancolor", *words]
        cli.main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def torment(kind: Kind, kills: int, chance: random.Random, scratch: Path) -> None:
    """Kill runs of a kind until there are enough kills, and compare each that ends with the uninterrupted one."""
    straight, log = scratch / f"{kind.name}-straight", scratch / "log.txt"
    begin = time.monotonic()
    if run([*kind.words, "--out", str(straight)], log).wait() != 0:
        kind.problems.append(f"the uninterrupted run failed: {log.read_text()[-500:]}")
        return
    duration = time.monotonic() - begin
    while kind.kills < kills and not kind.problems:
        out, mine = scratch / f"{kind.name}-run", 0
        while True:
            cache = ["--data.cache", str(out / "cache")] if kind.name != "sweep" else []
            started = run([*kind.words, *cache, "--out", str(out)], log)
            status = started.wait(chance.uniform(0, duration) if kind.kills < kills else 600)
            if status is None:
                started.kill(alone=kind.name == "sweep" and chance.random() < 0.5)
                kind.kills, mine = kind.kills + 1, mine + 1
                continue
            break
        if status:
            kind.problems.append(f"status {status} after {mine} kills: {log.read_text()[-500:]}")
            break
        kind.resumed += mine
        pairs = zip(kind.runs(straight), kind.runs(out), strict=True)
        differing = [f"{two.name}: {what}" for one, two in pairs for what in differences(one, two)]
        kind.problems += differing
        kind.same += 0 if differing else mine
        shutil.rmtree(out)


def differences(one: Path, two: Path) -> list[str]:
    """Return what differs between two runs, besides times and speed."""
    found = []
    for name in ("last", "best", "generator"):
        first, second = (load_file(folder / f"{name}.safetensors") for folder in (one, two))
        if first.keys() != second.keys() or not all(torch.equal(first[key], second[key]) for key in first):
            found.append(f"{name}.safetensors")
    if logged(one) != logged(two):
        found.append("metrics.jsonl")
    results = (json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in (one, two))
    first, second = ({key: content[key] for key in ("means", "scores", "samples", "files")} for content in results)
    if first != second:
        found.append("results.json")
    if leavings := [path.name for path in two.rglob("*.part")]:
        found.append(f"left over: {', '.join(leavings)}")
    return found


def logged(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in UNLIKE} for line in lines]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill trainings at random moments and check that nothing is lost.")
    parser.add_argument("--kills", type=int, default=200, help="number of kills (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--only", choices=KINDS, help="kind of run that gets all kills")
    return parser.parse_args()


if __name__ == "__main__":
    main()
