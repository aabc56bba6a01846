"""gancolor compare on real runs."""

import os
import shlex
import subprocess
import sys

import pytest
from scored import rows_of

from gancolor import cli

OPTIONS = shlex.split("--arch ugan --epochs 0.3 --optim.ema 0")


@pytest.fixture(scope="module")
def runs(commands, tmp_path_factory):
    """Two seeds of one system, a run with another option, and an unfinished run."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in {"one": "--seed 1", "two": "--seed 2", "sharp": "--loss.l1 10"}.items():
        commands.tiny(folder / name, *OPTIONS, *options.split()).ok()
    (folder / "stopped").mkdir()
    for name in ("config.yaml", "best.safetensors"):
        os.link(folder / "one" / name, folder / "stopped" / name)
    return folder


@pytest.fixture
def compare(monkeypatch, capsys):
    """Run `gancolor compare` in this process; return its status and output."""

    def compare(*words):
        monkeypatch.setattr(sys, "argv", ["gancolor", "compare", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return compare


def test_seeds_are_grouped_and_stopped_runs_noted(compare, runs, read, tmp_path):
    status, out, err = compare(runs, "--metric", "ssim", "--csv", tmp_path / "new" / "table.csv")
    assert (status, err) == (1, "")
    stopped = runs / "stopped"
    lines = out.splitlines()
    assert lines[0].startswith(f"{stopped}: not finished, so without results; evaluate.py {stopped} --json FILE")
    assert any(line.startswith("10 photographs of the demo") and "protocol native, 16 x 16" in line for line in lines)
    first, *names, last = [row[0] for row in rows_of(out)]
    assert (first, last) == ("grey", "truth") and [name[:2] for name in names] == ["1 ", "2 "]
    assert {name[2:] for name in names} == {"ugan, loss.l1=10.0", "ugan, loss.l1=100.0 (2 seeds)"}
    assert "behind [ssim]" in out and "over seeds: mean ± sd" in out
    assert lines[-1] == f"wrote {tmp_path / 'new' / 'table.csv'}"
    means = [read.json(runs / name / "results.json")["means"]["ugan"]["ssim"]["mean"] for name in ("one", "two")]
    rows = {row["system"]: row for row in read.rows(tmp_path / "new" / "table.csv")}
    assert float(rows["ugan, loss.l1=100.0"]["ssim"]) == pytest.approx(sum(means) / 2, rel=1e-4)
    assert [row["rank"] for row in rows.values()] == ["", "1", "2", ""]


def test_rescored_checkpoint_is_the_same_system_and_protocols_have_own_tables(commands, compare, runs, tmp_path):
    for name, options in {"again": "", "large": "--data.size 32"}.items():
        words = [*options.split(), "--lpips.weights", "off", "--json", tmp_path / f"{name}.json"]
        commands.evaluate(runs / "sharp", *words).ok()
    status, out, err = compare(runs / "sharp", tmp_path / "again.json", tmp_path / "large.json")
    assert (status, err) == (0, "")
    other = runs / "sharp" / "results.json"
    assert f"{tmp_path / 'large.json'} cannot be compared with {other}: size 32 against 16" in out
    assert [row[0] for row in rows_of(out)] == ["grey", "1 ugan", "truth"] * 2


def test_missing_paths_are_noted_and_no_results_are_refused(compare, runs, tmp_path):
    status, out, err = compare(runs / "one", tmp_path / "nowhere")
    assert (status, err) == (1, "") and out.startswith(f"{tmp_path / 'nowhere'}: no such file or folder\n")
    assert "1 ugan" in out
    status, out, err = compare(tmp_path / "nowhere")
    assert (status, out) == (2, "") and err == f"gancolor: error: {tmp_path / 'nowhere'}: no such file or folder\n"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "RUN"),
        ("RUN --metric colour", "'colour'"),
        ("RUN --nonsense", "--nonsense"),
        ("RUN --metric kid", "--metric kid: none of the results has it"),
        ("RUN --csv RUN", "a folder"),
        ("RUN --html /dev/null/x.html", "--html /dev/null/x.html: "),
    ],
)
def test_bad_options_are_refused_in_one_line(compare, runs, words, named):
    status, _, err = compare(*words.replace("RUN", str(runs / "one")).split())
    assert status == 2 and named in err.splitlines()[-1] and "Traceback" not in err


def test_report_is_one_file_with_every_system(commands, runs, tmp_path):
    """The command runs in a new Python process."""
    program = "import sys; from gancolor.cli import main; sys.argv[0] = 'gancolor'; main()"
    words = ["compare", runs / "one", "--html", tmp_path / "page.html", runs / "sharp"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], cwd=commands.root, env=commands.env, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "ugan, loss.l1=10.0" in text and "ugan, loss.l1=100.0" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]
