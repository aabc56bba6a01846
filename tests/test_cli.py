"""The commands' error handling."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from gancolor import cli

def write():
    for _ in range(100_000):
        print("a line of a long output")
        sys.stdout.flush()

cli.run(write)
"""


def test_reader_that_leaves_early_causes_no_message():
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "a line of a long output\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 141


def test_own_warnings_take_one_line(capsys):
    import gancolor.cli

    own = gancolor.cli.__file__.replace("cli.py", "data/decode.py")
    gancolor.cli.show_warning("a.tif: clipped", UserWarning, own, 7)
    assert capsys.readouterr().err == "gancolor: warning: a.tif: clipped\n"
    with pytest.warns(UserWarning, match="of another"):  # as Python, here pytest, treats them
        gancolor.cli.show_warning("of another", UserWarning, "/elsewhere/x.py", 7)
    assert capsys.readouterr().err == ""


def test_a_rank_ends_without_the_interpreters_teardown(monkeypatch):
    from gancolor import cli

    class EndedError(Exception):
        pass

    def end(status):
        raise EndedError(status)

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EndedError, match="143"):
        cli.run(lambda: 143)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(SystemExit):
        cli.run(lambda: 0)
