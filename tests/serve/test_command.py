import socket
import sys

import pytest

from gancolor import cli


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return the one-line error of `gancolor serve` with these words."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["gancolor", "serve", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


def test_missing_packages_are_named(refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert refusal().endswith("the service needs uvicorn: pip install 'gancolor[serve]'")


def test_port_in_use_gives_a_one_line_error(refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert f"error: port {port} is in use; give another --port" in refusal("--port", port)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--timeout", "0"], "0 is not a whole number >= 1"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1"),
        (["--colour"], "unknown option --colour"),
        (["--checkpoint", "missing", "--port", "PORT"], "missing: no such checkpoint"),
    ],
)
def test_invalid_words_give_a_one_line_error(refusal, words: list[str], said: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert said in refusal(*[str(port) if word == "PORT" else word for word in words])


def test_help_states_the_limits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gancolor", "serve", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = capsys.readouterr().out
    assert all(status in shown for status in ("413", "503", "408"))
