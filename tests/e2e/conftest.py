"""Fixtures that run the real commands on photographs of a few pixels."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from browser import Browser, find_browser
from filelock import FileLock
from made_once import made_once, shared_folder
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]

# Starting Python with torch costs seconds. Most commands are therefore run in forks of one process that has imported
# it already: the script, the command line, the environment and the exit are the real ones. All workers of pytest-xdist
# send their commands to the same process, which ends when the last of them has closed the pipe.
SERVER = """
import gc, json, os, runpy, signal, sys, traceback, warnings
sys.path.insert(0, os.getcwd())
gc.disable()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fastai.vision.learner, lpips, timm, gancolor.evaluation.evaluator, gancolor.training.trainer
gc.freeze()
gc.enable()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    with open(line.strip()) as file:
        job = json.load(file)
    if os.fork():  # several commands run at a time, each with a process that waits for it
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        with open(job["status"], "w", buffering=1) as said:
            print(child, file=said)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), file=said)
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(job["out"], os.O_WRONLY), 1)
    os.dup2(os.open(job["err"], os.O_WRONLY), 2)
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = job["argv"]
    os.chdir(job["cwd"])
    status = 0
    if job["file_limit"]:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], resource.RLIM_INFINITY))
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = 120
    # as at the end of an interpreter: close open files, which reports errors
    gc.collect()
    os._exit(status)
"""


@dataclass
class Result:
    status: int
    out: str
    err: str

    def refusal(self, *named: str, status: int = 2) -> str:
        """Return the only line of stderr, which must contain all of these."""
        assert self.status == status, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert re.match(r"(train|evaluate)\.py: (rank \d: )?error: ", lines[0])
        for name in named:
            assert name in lines[0], f"{name!r} is not in {lines[0]!r}"
        return lines[0]

    def ok(self) -> "Result":
        assert self.status == 0, self
        assert self.err == ""
        return self


class Started:
    """Running command."""

    def __init__(self, pid: int, out: Path, err: Path, wait: Callable[[float], int]) -> None:
        self.pid, self._out, self._err, self._wait = pid, out, err, wait

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def out(self) -> str:
        return self._out.read_text()

    def until(self, ready: Callable[[], object], seconds: float = 90) -> None:
        """Wait until a condition is true, while the command runs."""
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, f"not in {seconds} s: {self.out()}{self._err.read_text()}"
            assert self.running(), f"it ended: {self.out()}{self._err.read_text()}"
            time.sleep(0.004)

    def running(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    def wait(self, seconds: float = 120) -> Result:
        return Result(self._wait(seconds), self._out.read_text(), self._err.read_text())


class Commands:
    """Runner of train.py and evaluate.py for a user without account, caches and settings."""

    root = ROOT

    # The smallest training that has everything: two stages, augmentation, dropout, a moving average. In float32, which
    # it would be on some machines only.
    TINY = shlex.split(
        "--data.size 16 --data.batch_size 2 --generator.width 4 --discriminator.width 4 --discriminator.layers 1 "
        "--data.demo_photos 50 --tracking.log_every 1 --precision fp32"
    )

    def __init__(self, home: Path, pipe: Path) -> None:
        self.home = home
        self.pipe = pipe
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR")}
        self.env = kept | {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TORCH_HOME": str(home / "torch"),
            "FASTAI_HOME": str(home / "fastai"),
            "OMP_NUM_THREADS": "1",
            "WANDB_MODE": "disabled",  # the default imports wandb, which takes a second or two per training
        }
        self._server: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._children: list[int] = []

    def start(
        self, script: str, *argv: object, fresh: bool = False, cwd: Path = ROOT, file_limit: int = 0, **env: str
    ) -> Started:
        """Start a script of the repository.

        Args:
            fresh: in a new Python process.
            cwd: the current folder.
            file_limit: maximum size of written files [bytes], which simulates a full disk.
            env: variables in addition to this user's; an empty one is removed.
        """
        env = {name: value for name, value in (self.env | env).items() if value}
        words = [str(ROOT / script if cwd != ROOT else script), *map(str, argv)]
        out, err, told = (Path(tempfile.mkstemp(dir=self.home, suffix=end)[1]) for end in (".out", ".err", ".status"))
        if fresh:
            with out.open("w") as stdout, err.open("w") as stderr:
                process = subprocess.Popen(
                    [sys.executable, *words], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                    stdout=stdout, stderr=stderr,
                )  # fmt: skip
            return Started(process.pid, out, err, lambda seconds: process.wait(seconds))
        self._server = self._serve() if self._server is None else self._server
        job = {"argv": words, "cwd": str(cwd), "env": env, "out": str(out), "err": str(err)}
        job |= {"file_limit": file_limit, "status": str(told)}
        order = out.with_suffix(".json")
        order.write_text(json.dumps(job))
        os.write(self._server, f"{order}\n".encode())  # short enough to arrive in one piece

        def line(number: int, seconds: float) -> int:
            end = time.monotonic() + seconds
            while len(lines := told.read_text().split("\n")[:-1]) <= number:
                assert time.monotonic() < end, f"not done in {seconds} s"
                time.sleep(0.004)
            return int(lines[number])

        pid = line(0, 120)
        self._children.append(pid)

        def wait(seconds: float) -> int:
            status = line(1, seconds)
            self._children.remove(pid)
            return status

        return Started(pid, out, err, wait)

    def _serve(self) -> int:
        """Return the pipe to the process that runs commands; start it if no worker has done so, or it has ended."""
        with FileLock(f"{self.pipe}.lock"):
            if not self.pipe.exists():
                os.mkfifo(self.pipe)
            try:
                return os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads
                reader = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
                writer = os.open(self.pipe, os.O_WRONLY)
                os.set_blocking(reader, True)
                self._process = subprocess.Popen(
                    [sys.executable, "-c", SERVER], cwd=ROOT, env=self.env, stdin=reader,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                os.close(reader)
                return writer

    def close(self) -> None:
        for pid in self._children:  # left by failed tests
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(pid, signal.SIGKILL)
        if self._server is not None:
            os.close(self._server)

    def train(self, *argv: object, **how: Any) -> Result:
        return self.start("train.py", *argv, **how).wait()

    def tiny(self, out: Path, *argv: object, **how: Any) -> Result:
        return self.train(*self.TINY, "--out", out, *argv, **how)

    def ranks(self, *argv: object) -> tuple[Started, Started]:
        """Start train.py in two ranks, with the variables that torchrun sets."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        one, two = (self.start("train.py", *argv, RANK=rank, LOCAL_RANK=rank, **common) for rank in ("0", "1"))
        return one, two

    def evaluate(self, *argv: object, **how: Any) -> Result:
        return self.start("evaluate.py", *argv, **how).wait()


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    made = Commands(tmp_path_factory.mktemp("home"), shared_folder(tmp_path_factory) / "commands")
    yield made
    made.close()


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


class Read:
    """Strict reader of a run folder's files."""

    @staticmethod
    def json(path: Path) -> dict:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)

    @staticmethod
    def metrics(run: Path) -> list[dict]:
        text = (run / "metrics.jsonl").read_text()
        assert text.endswith("\n")
        return [json.loads(line, parse_constant=refuse_constant) for line in text.splitlines()]

    @classmethod
    def losses(cls, run: Path) -> list[dict]:
        """Return the logged steps, without their speed."""
        lines = [line for line in cls.metrics(run) if "lr_g" in line]
        unlike = ("photographs_per_second", "memory_gib")
        return [{name: value for name, value in line.items() if name not in unlike} for line in lines]

    @classmethod
    def validations(cls, run: Path) -> list[dict]:
        return [line for line in cls.metrics(run) if "val/psnr" in line]

    @staticmethod
    def rows(path: Path) -> list[dict[str, str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @classmethod
    def everything(cls, run: Path) -> None:
        """Read every file that must be complete at any time."""
        for path in run.rglob("*"):
            if path.suffix == ".safetensors":
                assert all(tensor.isfinite().all() for tensor in load_file(path).values())
            elif path.suffix == ".json":
                cls.json(path)
            elif path.suffix == ".yaml":
                assert yaml.safe_load(path.read_text())
            elif path.suffix == ".png":
                Image.open(path).load()

    @staticmethod
    def same_tensors(one: Path, other: Path) -> None:
        first, second = load_file(one), load_file(other)
        assert first.keys() == second.keys()
        differing = [name for name in first if not torch.equal(first[name], second[name])]
        assert not differing

    @classmethod
    def figures(cls, path: Path) -> dict:
        """Return a result without paths, times and speed."""
        content = cls.json(path)
        same = ("format", "protocol", "source", "files", "names", "classes", "means", "whole", "scores", "samples")
        unlike = ("checkpoint", "sha256", "options", "seconds", "photographs_per_second")
        about = {
            name: {key: value for key, value in found.items() if key not in unlike}
            for name, found in content["about"].items()
        }
        return {"about": about, **{key: content[key] for key in same}}

    @classmethod
    def same_run(cls, one: Path, other: Path) -> None:
        """Assert that weights, scores and losses are equal bit for bit."""
        for name in ("last", "best", "generator"):
            cls.same_tensors(one / f"{name}.safetensors", other / f"{name}.safetensors")
        assert cls.figures(one / "results.json") == cls.figures(other / "results.json")
        assert cls.validations(one) == cls.validations(other)
        assert cls.losses(one) == cls.losses(other)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Copy of the repository's files that git knows, so that no leftovers of the working tree are installed."""

    def copy(folder: Path) -> None:
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, files.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)

    return made_once(tmp_path_factory, "source", copy)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    found = Browser(find_browser(), tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def read():
    return Read


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of 20 photographs."""
    return made_once(tmp_path_factory, "photographs", lambda folder: draw_photographs(folder, 20))


@pytest.fixture(scope="session")
def draw():
    return draw_photographs


def draw_photographs(folder: Path, count: int, size: int = 40, seed: int = 7) -> Path:
    from gancolor.data.sources.demo import draw_scene

    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(draw_scene(seed, index, size)).save(folder / f"{index:03d}.jpg", quality=95)
    return folder


@pytest.fixture(scope="session")
def finished(commands, photographs, tmp_path_factory):
    """Finished run on a folder of photographs; read only."""
    options = shlex.split("--arch ugan --pretrain_epochs 0.5 --epochs 1.5 --data.val_fraction 0.3 --optim.lr_g 0.002")

    def train(folder: Path) -> None:
        said = commands.tiny(folder / "run", "--data.source", photographs, *options, fresh=True, WANDB_MODE="").ok()
        (folder / "result.json").write_text(json.dumps(vars(said)))

    folder = made_once(tmp_path_factory, "finished", train)
    result = Result(**json.loads((folder / "result.json").read_text()))
    return folder / "run", result, [*Commands.TINY, "--data.source", photographs, *options]


@pytest.fixture(scope="session")
def alexnet(tmp_path_factory):
    """A file of AlexNet's weights, random ones."""
    from torchvision.models import alexnet as build

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    state = build(weights=None).features.state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in state.items()}, path)
    return path
