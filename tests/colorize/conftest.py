import contextlib
import signal
import subprocess
from pathlib import Path

import pytest
from made_files import COMMAND, save
from made_generators import made_generator
from made_onnx import made_onnx
from made_pictures import scene

from gancolor import Colorizer
from gancolor.cli import _gancolor


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return made_generator(tmp_path_factory.mktemp("generator") / "generator.safetensors")


@pytest.fixture(scope="session")
def onnx_checkpoint(tmp_path_factory) -> Path:
    """For processes, which start faster without PyTorch."""
    return made_onnx(tmp_path_factory.mktemp("generator") / "generator.onnx", (0.1, 0.0), (0.2, 0.4))


@pytest.fixture(scope="session")
def colorizer(checkpoint: Path) -> Colorizer:
    return Colorizer.load(checkpoint, device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs, one of them in a folder in the folder, and a file that is none."""
    place = tmp_path / "in"
    (place / "deep/er").mkdir(parents=True)
    for index, name in enumerate(("a.jpg", "b.PNG", "deep/er/c.jpg")):
        save(place / name, scene(40 + 8 * index, 60))
    (place / "notes.txt").write_text("of no interest")
    return place


@pytest.fixture
def colorize(checkpoint: Path, capfd: pytest.CaptureFixture[str]):
    """Runs the command in this process: (status, what it said, what it said of errors)."""

    def call(*words: object) -> tuple[int, str, str]:
        given = [] if "--checkpoint" in words else ["--checkpoint", str(checkpoint)]
        status = _gancolor(["colorize", *given, "--device", "cpu", *map(str, words)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def start(onnx_checkpoint: Path):
    """Starts the command in a process of its own; what is left of it at the end is ended."""
    with contextlib.ExitStack() as stack:

        def call(*words: object, **how: object) -> subprocess.Popen[str]:
            command = [*COMMAND, "--checkpoint", str(onnx_checkpoint), "--device", "cpu", *map(str, words)]
            first = how.pop("preexec_fn", lambda: None)

            def prepare() -> None:
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells' background jobs hand on that it is ignored
                first()

            how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": prepare}
            process = subprocess.Popen(command, **how)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield call
