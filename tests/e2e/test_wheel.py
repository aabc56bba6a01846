"""The wheel, installed outside the checkout, as by `pip install gancolor[train]`."""

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from made_once import made_once
from made_pictures import scene
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def call(*words: object, cwd: Path, **env: str) -> str:
    process = subprocess.run(
        [*map(str, words)], cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="session")
def bin_folder(tmp_path_factory, source) -> Path:
    """The programs of an environment with the wheel; its dependencies are those of this one, which has [train]."""

    def install(folder: Path) -> None:
        leavings = shutil.ignore_patterns("build", "*.egg-info")
        copy = shutil.copytree(source, folder / "source", ignore=leavings)  # another worker may build in the original
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy, cwd=folder)
        (wheel,) = folder.glob("gancolor-*.whl")
        venv.create(folder / "env", with_pip=False)
        (site,) = (folder / "env").glob("lib/python*/site-packages")
        zipfile.ZipFile(wheel).extractall(site)  # all that pip does with a wheel of Python files
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        python = folder / "env" / "bin" / "python"
        found = call(python, "-c", "import gancolor; print(gancolor.__path__[0], gancolor.__version__)", cwd=folder)
        assert found.split() == [str(site / "gancolor"), metadata.version("gancolor")]

    return made_once(tmp_path_factory, "wheel", install) / "env" / "bin"


def test_every_folder_of_modules_is_a_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = set(config["options"]["packages"].split())
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "gancolor").rglob("__init__.py")}
    assert named == folders | {"gancolor.configs", "gancolor.configs.sweeps"}


def test_the_wheel_trains_colours_and_evaluates(bin_folder, tmp_path):
    gancolor = [bin_folder / "python", "-m", "gancolor"]
    small = ["--data.size=32", "--data.demo_photos=20", "--data.batch_size=2", "--generator.width=4"]
    stages = ["--arch=ugan", "--epochs=0.1", "--pretrain_epochs=0", "--discriminator.layers=1"]
    out = call(*gancolor, "train", *small, *stages, "--lpips.weights=off", "--out=run", cwd=tmp_path)
    assert "after step 1" in out or "after step 2" in out
    Image.fromarray(scene(40, 60)).save(tmp_path / "grey.jpg")
    call(*gancolor, "colorize", "grey.jpg", "-o", "coloured", "--checkpoint", "run", cwd=tmp_path)
    assert Image.open(tmp_path / "coloured" / "grey.jpg").size == Image.open(tmp_path / "grey.jpg").size
    assert "grey" in call(*gancolor, "evaluate", "run", "--lpips.weights=off", cwd=tmp_path)


def test_the_wheel_has_the_recipes_and_sweeps_by_their_names(bin_folder, tmp_path):
    gancolor = [bin_folder / "python", "-m", "gancolor"]
    printed = call(*gancolor, "train", "--config", "general", "--print_config", cwd=tmp_path)
    assert "log_mse: 0.05" in printed
