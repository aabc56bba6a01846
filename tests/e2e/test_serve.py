"""`gancolor serve` as a process without PyTorch: the examples of docs/serving.md, and stops with a request in
progress and with one that never ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from made_pictures import colourfulness, scene
from served import Served

from gancolor.inference.image_files import Picture, read_picture

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; sys.argv[0] = 'gancolor'; from gancolor.cli import main; main()"
)
ENDLESS = (
    "import sys, time; from gancolor import Colorizer; Colorizer.colour = lambda *given: time.sleep(1000); "
    "sys.argv += ['--timeout', '1']; "
)


@pytest.fixture(scope="module")
def served():
    running = Served(sys.executable, "-c", WITHOUT_TORCH, cwd=ROOT)
    yield running
    running.end()


def examples(language: str, served: Served) -> str:
    """Return the blocks of docs/serving.md in a language, with the address of this service."""
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert "http://127.0.0.1:8000" in blocks
    return blocks.replace("http://127.0.0.1:8000", served.address)


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Picture(scene(480, 640)).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg.hints.json").write_text(
        '{"width": 640, "height": 480, "hints": [{"x": 120, "y": 80, "color": "#a03030"}]}'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_example_colours(served, photographs: Path) -> None:
    exec(examples("python", served), {})
    assert colourfulness(read_picture(photographs / "coloured.jpg").pixels) > 3


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_examples_colour(served, photographs: Path) -> None:
    done = subprocess.run(["bash", "-ec", examples("bash", served)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name: path for path in photographs.iterdir() if "photo.jpg" not in path.name}
    assert {"photo_coloured.jpg", "coloured.png"} <= made.keys()
    assert all(colourfulness(read_picture(path).pixels) > 3 for path in made.values())


def test_sigterm_lets_requests_finish_and_refuses_new_ones(photographs: Path) -> None:
    served, answers = Served(sys.executable, "-c", WITHOUT_TORCH, cwd=ROOT), []
    photograph = Picture(scene(1500, 2000)).encode(".jpg")

    def ask() -> None:
        answers.append(served.ask("/colorize?size=512", photograph, Content_Type="image/jpeg"))

    asking = threading.Thread(target=ask)
    asking.start()
    while b"in_progress 1.0" not in served.ask("/metrics"):
        assert asking.is_alive()
        time.sleep(0.01)
    os.kill(served.process.pid, signal.SIGTERM)
    assert served.process.wait(60) == 0
    asking.join()
    assert read_picture(answers[0]).size == (1500, 2000)
    with pytest.raises(URLError, match="refused"):
        served.ask("/health")
    assert served.process.stdout.read() == ""


def test_sigterm_does_not_wait_for_a_photograph_that_is_overdue(photographs: Path) -> None:
    served = Served(sys.executable, "-c", ENDLESS + WITHOUT_TORCH, cwd=ROOT)
    try:
        for path, body in (("/colorize", (photographs / "photo.jpg").read_bytes()), ("/health", None)):
            with pytest.raises(HTTPError, match="503"):
                served.ask(path, body, Content_Type="image/jpeg")
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(15) == 0
        assert served.process.stdout.read() == ""
    finally:
        served.end()
