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


def test_missing_module_is_named_with_the_file_that_imports_it(tmp_path, monkeypatch, capsys):
    from gancolor import cli

    file = tmp_path / "network_of_ones_own.py"
    file.write_text("import absent_module\n", encoding="utf-8")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: __import__(file.stem))
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f" error: absent_module is not installed, and {file} imports it; " in said and said.count("\n") == 1


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


def test_a_world_size_that_is_no_number_changes_no_status(monkeypatch):
    from gancolor import cli

    monkeypatch.setenv("WORLD_SIZE", "abc")
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: 3)
    assert end.value.code == 3


def test_words_after_two_dashes_are_inputs(monkeypatch):
    from gancolor import cli

    found = []
    monkeypatch.setattr(cli, "_colorize", lambda chosen: found.extend(chosen.inputs))
    cli._gancolor(["colorize", "a.jpg", "--size", "64", "b.jpg", "--", "-c.jpg", "d.jpg"])
    assert found == ["a.jpg", "b.jpg", "-c.jpg", "d.jpg"]


def test_version(capsys):
    from gancolor import __version__, cli

    with pytest.raises(SystemExit) as end:
        cli._gancolor(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"gancolor {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("colorise a.jpg", "argument COMMAND: invalid choice: 'colorise' (choose from "),
        ("colorize a.jpg --side-by-side", "unknown option --side-by-side; did you mean --side_by_side? ("),
        ("colorize a.jpg --hint -5,2,red", "a value that starts with a dash is written --NAME=VALUE ("),
        ("colorize a.jpg -o x.gif --format GIF", "no format '.gif'; choose from .jpg, "),
        ("--foo colorize a.jpg", "unknown option --foo; did you mean --format or --out? ("),
        ("compare runs --htm=x", "unknown option --htm=x; did you mean --html? ("),
        ("export a b -o x.onnx", "unexpected argument b ("),
        ("sweep", "the following arguments are required: FILE (gancolor sweep --help lists all)"),
    ],
)
def test_wrong_words_give_one_line(words, message, monkeypatch, capsys):
    from gancolor import cli

    monkeypatch.setattr("sys.argv", ["/anywhere/gancolor/__main__.py", *words.split()])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("gancolor: error: ") and message in said and said.count("\n") == 1
