"""gancolor sweep with the real trainer. tests/sweeps/test_runner.py tests the rest with a quick program."""

import json
import os
import re
import signal

import pytest
import yaml
from made_once import made_once

COMMAND = """
import os, sys
os.setsid()
sys.path.insert(0, os.getcwd())
sys.argv[0] = "gancolor"
from gancolor.cli import main
main()
"""
FIXED = {
    "data.size": 16, "data.batch_size": 2, "generator.width": 4, "discriminator.width": 4, "discriminator.layers": 1,
    "data.demo_photos": 20, "tracking.log_every": 1, "epochs": 0.3, "data.val_limit": 2,
}  # fmt: skip


def sweep_file(path, method="grid", keys=None, **parameters):
    specs = {name: {"value": value} for name, value in FIXED.items()}
    specs |= {name.replace("__", "."): spec for name, spec in parameters.items()}
    path.write_text(yaml.safe_dump({"program": "train.py", "method": method, "parameters": specs, **(keys or {})}))
    return path


@pytest.fixture(scope="module")
def gancolor(commands, tmp_path_factory):
    """Return a function that runs the command in a process group of its own; the sweep's runs are new processes."""
    script = tmp_path_factory.mktemp("command") / "gancolor.py"
    script.write_text(COMMAND)

    def start(*words, **how):
        return commands.start(script, *words, **how)

    def run(*words, **how):
        done = start(*words, **how).wait(300)
        return done.status, done.out, done.err

    run.start = start
    return run


@pytest.fixture(scope="module")
def done(gancolor, tmp_path_factory):
    """Sweep that ran three trials of a 2 x 2 grid, the second of which fails."""

    def run(folder):
        file = sweep_file(
            folder / "mine.yaml", arch={"values": ["ugan", "polychromify_v0"]}, data__batch_size={"values": [2, 500]},
            generator__depth={"value": None}, optim__betas={"value": [0.5, 0.9]}, keys={"run_cap": 3},
        )  # fmt: skip
        ended = gancolor("sweep", file, "--out", folder / "runs", "--seed=3")
        (folder / "ended.json").write_text(json.dumps(ended))

    folder = made_once(tmp_path_factory, "sweep", run)
    return folder, folder / "mine.yaml", json.loads((folder / "ended.json").read_text())


def test_failed_run_of_a_grid_does_not_stop_the_others(done, read):
    folder, _, (status, out, err) = done
    assert status == 1
    names = [f"{arch}, data.batch_size={batch}" for arch, batch in (("ugan", 2), ("ugan", 500), ("polychromify_v0", 2))]
    ends = ["done", "failed (status 2)", "done"]
    lines = [line for name, end in zip(names, ends, strict=True) for line in (name, f"{name}: {end}")]
    assert re.findall(r"^\[\d/3\] (.*)$", out, re.MULTILINE) == lines
    assert f"failed: {names[1]} (status 2)" in err
    assert "--generator.depth=None" in out and "'--optim.betas=[0.5, 0.9]'" in out
    for arch in ("ugan", "polychromify_v0"):
        config = yaml.safe_load((folder / "runs" / f"{arch},data.batch_size=2" / "config.yaml").read_text())
        assert (config["arch"], config["data"]["size"], config["seed"]) == (arch, 16, 3)
        assert (config["generator"]["depth"], config["optim"]["betas"]) == (None, [0.5, 0.9])


def test_table_has_costs_and_scores_of_finished_runs(done, read):
    folder, _, (_, out, _) = done
    table = (folder / "runs/table.md").read_text()
    assert table in out
    heading, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    [polychromify] = [row for row in rows if row[0].startswith("polychromify_v0")]
    assert polychromify[heading.index("parameters")] == "21 k"
    [ugan] = [row for row in rows if row[0].startswith("ugan")]
    assert re.search(r"\d\d\.\d\d ± ", ugan[heading.index("PSNR [dB]")])


def test_same_command_runs_only_unfinished_runs(done, gancolor):
    folder, file, _ = done
    status, out, _ = gancolor("sweep", file, "--out", folder / "runs", "--seed=3")
    assert status == 1
    assert out.count("is done: ") == 2 and out.count("python train.py") == 1


def test_changed_options_are_refused(done, gancolor):
    folder, file, _ = done
    status, out, err = gancolor("sweep", file, "--out", folder / "runs", "--seed=4")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "holds another sweep (--seed was 3, is 4)" in err


def test_interrupted_sweep_resumes(gancolor, tmp_path, read):
    file = sweep_file(tmp_path / "s.yaml", arch={"values": ["ugan", "polychromify_v1"]}, epochs={"value": 60})
    sweep = gancolor.start("sweep", file, "--out", tmp_path / "runs")
    record = tmp_path / "runs/ugan/metrics.jsonl"
    sweep.until(lambda: record.is_file() and record.stat().st_size >= 500)
    os.killpg(sweep.pid, signal.SIGINT)  # as Ctrl-C does
    status, out, _ = vars(sweep.wait(60)).values()
    assert status == 130
    assert "the same command resumes it" in out and "[1/2] ugan: interrupted" in out and "[2/2]" not in out
    assert not (tmp_path / "runs/polychromify_v1").exists()


def test_misspelt_option_is_one_line_before_the_first_run(gancolor, tmp_path):
    file = sweep_file(tmp_path / "s.yaml", generator__widht={"value": 4})
    status, out, err = gancolor("sweep", file, "--out", tmp_path / "runs")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gancolor: error: {file}: data.batch_size=2: unknown option --generator.widht=4; did you ")
    assert "--generator.width" in err
    assert not (tmp_path / "runs").exists()


def test_refused_sweep_file_is_one_line(gancolor, tmp_path):
    (tmp_path / "bad.yaml").write_text("method: grid\non: push\nparameters: {arch: {value: ugan}}")
    status, out, err = gancolor("sweep", tmp_path / "bad.yaml")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("gancolor: error: ") and "bad.yaml: a key True: " in err


def test_missing_file_and_invalid_words_are_refused(gancolor, tmp_path):
    status, _, err = gancolor("sweep", tmp_path / "none.yaml")
    assert status == 2 and "none.yaml: no such sweep file" in err
    status, _, err = gancolor("sweep", sweep_file(tmp_path / "s.yaml"), "--seed", "3")
    assert status == 2 and "--NAME=VALUE" in err
    status, _, err = gancolor("sweep", tmp_path / "s.yaml", "--search_seed", "3", "--jobs", "0")
    assert status == 2 and "argument --jobs: 0 is not a whole number >= 1" in err


def test_help_is_quick_and_says_what_it_does(gancolor):
    status, out, _ = gancolor("sweep", "--help", fresh=True)
    usage = "gancolor sweep FILE [--out DIR] [--jobs N] [--trials N] [--search_seed N] [--NAME=VALUE ...]"
    assert status == 0 and usage in " ".join(out.split())
