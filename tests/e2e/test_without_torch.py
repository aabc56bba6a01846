"""The environment of the container, which docker/install.sh makes, colours photographs without PyTorch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_once import made_once
from made_pictures import colourfulness, scene
from served import Served

from gancolor.inference.image_files import Picture, read_picture

ROOT = Path(__file__).resolve().parents[2]
MOST_MB = 370  # of the environment: with its base image, the container has less than 500


@pytest.fixture(scope="session")
def environment(tmp_path_factory, source) -> Path:
    """Scripts folder of a new environment."""

    def install(folder: Path) -> None:
        script = ["sh", source / "docker" / "install.sh", folder, sys.executable]
        done = subprocess.run(script, capture_output=True, text=True)
        if "No matching distribution" in done.stderr or "Temporary failure in name resolution" in done.stderr:
            pytest.skip("pip reaches no index")
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "without_torch", install) / "bin"


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([str(word) for word in command], cwd=cwd, env=clean, capture_output=True, text=True)


def test_all_dependencies_are_installed(environment: Path, tmp_path: Path) -> None:
    code = "import gancolor, pathlib; print(pathlib.Path(gancolor.__file__).parent)"
    installed = Path(run(environment / "python", "-c", code, cwd=tmp_path).stdout.strip())
    assert installed.is_dir()
    listed = subprocess.run(
        ["git", "ls-files", "gancolor"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert not [name for name in listed.split() if not (installed.parent / name).is_file()]


def test_command_colours_without_torch(environment: Path, tmp_path: Path) -> None:
    assert run(environment / "python", "-c", "import torch", cwd=tmp_path).returncode != 0
    Picture(scene(200, 300)).save(tmp_path / "photo.png")
    done = run(environment / "gancolor", "colorize", "photo.png", "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    coloured = read_picture(tmp_path / "out.png")
    assert coloured.size == (200, 300)
    assert colourfulness(coloured.pixels) > 3


def test_service_answers_without_torch(environment: Path, tmp_path: Path) -> None:
    served = Served(environment / "gancolor", cwd=tmp_path)
    try:
        photograph = Picture(scene(200, 300)).encode(".jpg")
        coloured = read_picture(served.ask("/colorize", photograph, Content_Type="image/jpeg"))
    finally:
        served.end()
    assert coloured.size == (200, 300) and colourfulness(coloured.pixels) > 3


def test_environment_is_small(environment: Path) -> None:
    files = [path for path in environment.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < MOST_MB * 10**6


def test_colorizer_opens_an_export_without_torch(environment: Path, tmp_path: Path) -> None:
    from made_generators import made_generator

    from gancolor import Colorizer
    from gancolor.export.command import run_export

    made_generator(tmp_path / "generator.safetensors")
    assert run_export(tmp_path / "generator.safetensors", tmp_path / "model.onnx", None) == 0
    Picture(scene()).save(tmp_path / "photo.png")
    code = 'from gancolor import Colorizer; Colorizer.load("model.onnx")("photo.png").save("out.png")'
    done = run(environment / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = Colorizer.load(tmp_path / "generator.safetensors")(scene())
    assert abs(read_picture(tmp_path / "out.png").pixels.astype(int) - expected).mean() < 0.1


@pytest.mark.parametrize("command", [["compare", "runs/x"], ["sweep", "x.yaml"], ["export", "x", "-o", "x.onnx"]])
def test_commands_that_need_torch_give_a_one_line_error(environment: Path, tmp_path: Path, command: list[str]) -> None:
    done = run(environment / "gancolor", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'gancolor[train]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_training_without_torch_gives_a_one_line_error(environment: Path, tmp_path: Path) -> None:
    done = run(environment / "python", ROOT / "train.py", cwd=tmp_path)
    assert done.returncode == 2
    expected = r"train\.py: error: \w+ is not installed, and \S+ imports it; .*: pip install 'gancolor\[train\]'\n"
    assert re.fullmatch(expected, done.stderr)
