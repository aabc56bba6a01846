import socket
import sys
from pathlib import Path

import pytest
from made_files import save
from made_onnx import made_onnx
from made_pictures import scene

from gancolor import cli
from gancolor.demo import command
from gancolor.demo.command import open_systems
from gancolor.demo.examples import draw_examples
from gancolor.demo.systems import DemoOptions
from gancolor.inference.image_files import read_picture
from gancolor.utils.errors import InputError


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return the one-line error of `gancolor demo` with these words."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["gancolor", "demo", *map(str, words)])
        monkeypatch.setattr(command, "isolate_gradio", lambda _: None)  # would otherwise remain set after this test
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


def test_missing_gradio_is_named(refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert refusal().endswith("the page needs Gradio: pip install 'gancolor[demo]'")


def test_port_in_use_gives_a_one_line_error(refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert f"error: port {port} is in use" in refusal("--port", port)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "0"], "0 is not a port"),
        (["--port", "65536"], "65536 is not a port"),
        (["--port", "http"], "http is not a port"),
        (["--max_upload_mb", "0"], "0 is not a whole number >= 1"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1"),
        (["--host", "no such name"], "--host no such name"),
        (["--colour"], "unknown option --colour"),
        (["missing"], "missing: no such checkpoint"),
    ],
)
def test_invalid_words_give_a_one_line_error(refusal, words: list[str], said: str) -> None:
    assert said in refusal(*words)


def test_several_checkpoints_keep_their_order(tmp_path: Path) -> None:
    paths = [made_onnx(tmp_path / f"{name}.onnx", (0, 0), (0.1, 0.1)) for name in ("b", "a")]
    assert list(open_systems(paths, "cpu").colorizers) == ["b", "a"]


def test_without_checkpoints_the_bundled_generator_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(command.Colorizer, "load", lambda *path, device, **_: asked.append((path, device)))
    assert list(open_systems([], "cpu").colorizers) == ["gancolor"]
    assert asked == [((), "cpu")]


def test_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="not an ONNX model"):
        open_systems([tmp_path / "x.onnx"], "cpu")


def test_examples_are_small_photographs_of_several_kinds(tmp_path: Path) -> None:
    files = draw_examples(tmp_path)
    assert [file.stem for file in files] == ["house", "sea", "forest", "sunset"]
    assert all(read_picture(file).size == (480, 640) for file in files)
    assert sum(file.stat().st_size for file in files) < 500_000


@pytest.mark.parametrize("words", [[], ["--no_disclosure"]])
def test_downloads_disclose_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list) -> None:
    checkpoint = made_onnx(tmp_path / "red.onnx", (0.0, 0.0), (0.3, 0.2))
    asked = {}
    monkeypatch.setattr(command, "run_demo", lambda paths, *_, **options: asked.update(options, paths=paths) or 0)
    assert cli._gancolor(["demo", str(checkpoint), *words]) == 0
    systems = open_systems(asked["paths"], "cpu", disclosure=asked["disclosure"])
    save(tmp_path / "photo.png", scene())
    data = systems.finished(tmp_path / "photo.png", "red", DemoOptions()).encode(".jpg")
    assert (b"compositeWithTrainedAlgorithmicMedia" in data) == (not words)
