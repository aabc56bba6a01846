"""gancolor sweep."""

import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

COMMAND = "from gancolor.cli import main; import sys; sys.argv[0] = 'gancolor'; main()"
FIXED = {
    "data.size": 16, "data.batch_size": 2, "generator.width": 4, "discriminator.width": 4, "discriminator.layers": 1,
    "data.demo_photos": 20, "tracking.log_every": 1, "epochs": 0.3, "data.val_limit": 2,
}  # fmt: skip


def sweep_file(path, method="grid", program="train.py", **parameters):
    specs = {name: {"value": value} for name, value in FIXED.items()}
    specs |= {name.replace("__", "."): spec for name, spec in parameters.items()}
    path.write_text(yaml.safe_dump({"program": program, "method": method, "parameters": specs}))
    return path


@pytest.fixture(scope="module")
def gancolor(commands):
    def start(*words, **how):
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, words)], cwd=commands.root, env=commands.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how,
        )  # fmt: skip

    def run(*words):
        process = start(*words)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    run.start = start
    return run


@pytest.fixture(scope="module")
def done(gancolor, tmp_path_factory):
    """A grid of two by two, one of which can't be trained."""
    folder = tmp_path_factory.mktemp("sweep")
    file = sweep_file(
        folder / "mine.yaml", arch={"values": ["ugan", "polychromify_v0"]}, data__batch_size={"values": [2, 500]}
    )
    return folder, file, gancolor("sweep", file, "--out", folder / "runs", "--seed=3")


def test_grid_is_run_and_a_failed_run_does_not_cost_the_others(done, read):
    folder, _, (status, out, err) = done
    assert status == 1
    names = [f"{arch}, data.batch_size={batch}" for arch in ("ugan", "polychromify_v0") for batch in (2, 500)]
    assert re.findall(r"^\[\d/4\] (.*)$", out, re.MULTILINE) == names
    assert f"failed: {names[1]} (status 2); {names[3]} (status 2)" in err
    for arch in ("ugan", "polychromify_v0"):
        config = yaml.safe_load((folder / "runs" / f"{arch},data.batch_size=2" / "config.yaml").read_text())
        assert (config["arch"], config["data"]["size"], config["seed"]) == (arch, 16, 3)


def test_table_has_costs_and_figures_between_grey_and_truth(done, read):
    folder, _, (_, out, _) = done
    table = (folder / "runs/table.md").read_text()
    assert table in out
    heading, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert heading[:5] == ["", "parameters", "MACs at 256", "photographs/s", "PSNR [dB]"]
    names = [f"{arch}, data.batch_size=2" for arch in ("ugan", "polychromify_v0")]
    assert [row[0] for row in rows] == ["grey", *names, "truth"]
    of_ugan = read.json(folder / "runs" / "ugan,data.batch_size=2" / "results.json")["ugan"]
    assert f"{of_ugan['psnr']['mean']:.2f} ± " in rows[1][4]
    assert rows[2][1:3] == ["21 k", "1.37 G"]  # 21,056 weights at each of 65,536 pixels
    assert float(rows[1][3]) > 0


def test_same_command_again_runs_only_what_is_not_done(done, gancolor):
    folder, file, _ = done
    status, out, _ = gancolor("sweep", file, "--out", folder / "runs", "--seed=3")
    assert status == 1
    assert out.count("is done: ") == 2 and out.count("python train.py") == 2


def test_options_that_have_changed_are_not_taken_for_done(done, gancolor):
    folder, file, _ = done
    status, out, err = gancolor("sweep", file, "--out", folder / "runs", "--seed=4")
    assert status == 1 and "is done" not in out
    assert "holds a run of other options (--seed was 3, is 4)" in err


def test_interrupted_sweep_goes_on(gancolor, tmp_path, read):
    file = sweep_file(tmp_path / "s.yaml", arch={"values": ["ugan", "polychromify_v1"]}, epochs={"value": 60})
    process = gancolor.start("sweep", file, "--out", tmp_path / "runs", start_new_session=True)
    record = tmp_path / "runs/ugan/metrics.jsonl"
    while not record.is_file() or record.stat().st_size < 500:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in out and "polychromify_v1]" not in out
    assert not (tmp_path / "runs/polychromify_v1").exists()


def test_everything_is_checked_before_the_first_run(gancolor, tmp_path):
    file = sweep_file(tmp_path / "s.yaml", arch={"values": ["ugan", "unet3000"]})
    status, out, err = gancolor("sweep", file, "--out", tmp_path / "runs")
    assert status == 2 and "unet3000" in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists() and "train.py --arch" not in out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("method: bayes\nparameters: {arch: {values: [ugan]}}", ["bayes", "wandb sweep"]),
        ("method: grid\nparameters: {loss.l1: {min: 1, max: 100}}", ["loss.l1", "values"]),
        ("method: grid\nparameters: {loss.l1: {values: []}}", ["loss.l1"]),
        ("method: grid\nparameters: {}", ["parameters"]),
        ("method: grid\nparameters: {arch: {value: ugan}}\nearly_terminate: {type: hyperband}", ["early_terminate"]),
        ("method: grid\nprogram: run.py\nparameters: {arch: {value: ugan}}", ["run.py"]),
        ("method: grid\non: push\nparameters: {arch: {value: ugan}}", ["True"]),
        ("method: grid\nparameters: {arch: {value: ugan}}\ncommand: [python, train.py]", ["command", "${args}"]),
        ("- a list", ["method"]),
        ("a: [", ["can't be read"]),
    ],
)
def test_refused_sweep_file_is_one_line(gancolor, tmp_path, text, named):
    (tmp_path / "bad.yaml").write_text(text)
    status, out, err = gancolor("sweep", tmp_path / "bad.yaml")
    assert status == 2 and out == "" and err.count("\n") == 1
    for part in ["gancolor: error: ", "bad.yaml", *named]:
        assert part in err


def test_missing_file_and_words_that_are_no_options(gancolor, tmp_path):
    status, _, err = gancolor("sweep", tmp_path / "none.yaml")
    assert status == 2 and "none.yaml: no such sweep file" in err
    status, _, err = gancolor("sweep", sweep_file(tmp_path / "s.yaml"), "--seed", "3")
    assert status == 2 and "--NAME=VALUE" in err


def test_help_is_quick_and_says_what_it_does(gancolor):
    status, out, _ = gancolor("sweep", "--help")
    assert status == 0 and "gancolor sweep FILE [--out DIR] [--NAME=VALUE ...]" in out


SLOW = """
import signal, sys, time, pathlib
here = pathlib.Path(__file__).parent
def save(*_):
    time.sleep(1.5)
    (here / "saved").write_text("whole")
    sys.exit(143)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, save)
(here / "started").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_that_is_slow_to_save_is_waited_for(gancolor, tmp_path, number):
    (tmp_path / "slow.py").write_text(SLOW)
    file = sweep_file(tmp_path / "s.yaml", program=str(tmp_path / "slow.py"), arch={"values": ["ugan", "ltbc"]})
    process = gancolor.start("sweep", file, "--out", tmp_path / "runs", start_new_session=True)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal tells all
    else:
        process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert (tmp_path / "saved").read_text() == "whole" and "[2/2]" not in out


def test_null_and_lists_can_be_swept(gancolor, tmp_path):
    file = sweep_file(tmp_path / "s.yaml", generator__depth={"values": [None, 3]}, optim__betas={"value": [0.5, 0.9]})
    status, out, err = gancolor("sweep", file, "--out", tmp_path / "runs")
    assert status == 0, err
    assert "--generator.depth=null" in out and "'--optim.betas=[0.5, 0.9]'" in out


def test_runs_of_other_validation_photographs_make_a_table_each(gancolor, tmp_path):
    file = sweep_file(tmp_path / "s.yaml", data__size={"values": [16, 32]})
    status, _, err = gancolor("sweep", file, "--out", tmp_path / "runs")
    assert status == 0, err
    assert (tmp_path / "runs/table.md").read_text().count("| grey ") == 2
