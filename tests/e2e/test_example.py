"""docs/adding_an_architecture.md, followed in a copy of the repository."""

import re
import shutil
import subprocess
import sys

import pytest

from gancolor.models.checkpoint import describe


@pytest.fixture(scope="module")
def copy(commands, tmp_path_factory):
    """Copy of the repository with the page's three code blocks inserted."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("gancolor", "configs", "tests"):
        shutil.copytree(commands.root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "pyproject.toml"):
        shutil.copy(commands.root / name, folder)
    page = (commands.root / "docs" / "adding_an_architecture.md").read_text(encoding="utf-8")
    code, line, recipe = re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)
    assert len([row for row in code.splitlines() if row]) <= 20
    (folder / "gancolor/models/shallow.py").write_text(code, encoding="utf-8")
    table = folder / "gancolor/choices.py"
    head = "ARCHITECTURES = {\n"
    before = table.read_text(encoding="utf-8")
    assert before.count(head) == 1
    table.write_text(before.replace(head, head + line), encoding="utf-8")
    (folder / "configs/shallow.yaml").write_text(recipe, encoding="utf-8")
    return folder


def run(commands, folder, *words):
    env = commands.env | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def test_example_architecture_trains_with_its_recipe(commands, copy, read):
    options = ["--epochs", "0.3", "--generator.width", "6"]
    done = run(commands, copy, "train.py", "--arch", "shallow", *commands.TINY, *options, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert describe(copy / "run/generator.safetensors")["generator"]["arch"] == "shallow"
    (first, *_) = read.losses(copy / "run")
    assert "gan" not in first and first["generator"] == pytest.approx(100 * first["l1"], rel=1e-4)
    assert "shallow" in (copy / "run/results.json").read_text()
    exported = run(commands, copy, "-m", "gancolor", "export", "run", "-o", "shallow.onnx")  # checks the file
    assert exported.returncode == 0 and (copy / "shallow.onnx").stat().st_size > 0, exported.stderr


def test_example_architecture_is_listed_and_its_recipe_shown(commands, copy):
    shown = run(commands, copy, "train.py", "--arch", "shallow", "--print_config")
    assert "arch: shallow" in shown.stdout and "size: 128" in shown.stdout
    refused = run(commands, copy, "train.py", "--arch", "shalow")
    assert "did you mean shallow" in refused.stderr


def test_generator_tests_cover_the_example_architecture(commands, copy):
    done = run(commands, copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models/test_generators.py", "-k",
               "shallow")  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 10


def test_unregistered_architecture_is_unknown(commands):
    refused = commands.train("--arch", "shallow")
    assert refused.status == 2 and "unknown value 'shallow'" in refused.err
    assert not (commands.root / "configs/shallow.yaml").exists()
