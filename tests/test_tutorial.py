"""The tutorial's commands and Python code work, in order and as written."""

import configparser
import json
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from gancolor import cli
from gancolor.data.sources.demo import draw_scene
from gancolor.demo import page

ROOT = Path(__file__).parent.parent
SETUP = ("python3 -m venv .venv", ". .venv/bin/activate")  # the only lines that are not run


def steps() -> list[tuple[str, str]]:
    """The language and text of each block of code, or of each of its lines in shell."""
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", tutorial, re.MULTILINE | re.DOTALL)
    return [
        (language, step)
        for language, text in blocks
        for step in (text.split("\n")[:-1] if language == "bash" else [text])
    ]


def test_the_tutorial_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    def ctrl_c(*_) -> str:
        signal.raise_signal(signal.SIGINT)
        return "http://127.0.0.1:7860"

    monkeypatch.setattr(page, "serve", ctrl_c)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album").mkdir()
    for index in range(18):
        Image.fromarray(draw_scene(1, index, 64)).save(tmp_path / "album" / f"{index}.png")
    Image.fromarray(draw_scene(2, 0, 96)).convert("L").save("old.jpg")
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")

    for language, step in steps():
        if language == "python":
            exec(step, {})
        elif step.startswith("pip install"):
            assert set(re.search(r"\[(.*)\]", step)[1].split(",")) < set(extras["options.extras_require"])
        elif step not in SETUP:
            monkeypatch.setattr(sys, "argv", shlex.split(step))
            with pytest.raises(SystemExit) as end:
                cli.main()
            assert end.value.code == 0, step

    said = capsys.readouterr().out
    assert "http://127.0.0.1:7860 serves the page" in said
    assert "(96, 96)" in said
    plain, clicked, tuned = (Image.open(folder / "old.jpg") for folder in map(Path, ("colorized", "clicked", "mine")))
    assert plain.tobytes() != clicked.tobytes() != tuned.tobytes() != plain.tobytes()
    means = json.loads(Path("result.json").read_text())["means"]
    assert list(means) == ["grey", "bundled", "runs/album", "truth"]
    assert f"{means['runs/album']['psnr']['mean']:.2f}" in Path("album.safetensors.md").read_text()
    assert "<html" in Path("report.html").read_text()
