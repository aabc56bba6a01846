"""Interrupted runs: the same command resumes them, with the same result as without interruption."""

import os
import random
import shlex
import shutil
import signal
import time

import pytest
from safetensors import safe_open

from gancolor.models.checkpoint import describe

OPTIONS = shlex.split(
    "--arch attention_ugan --pretrain_epochs 1 --epochs 1.6 --data.crop_scale 0.7 --data.flip true "
    "--generator.dropout 0.5 --optim.ema 0.99 --optim.lr_pretrain 0.002 --optim.schedule cosine "
    "--generator.hints true --hints.absent 0.3 --eval.hints 2"
)
EPOCH, TOTAL = 25, 65  # steps


@pytest.fixture(scope="module")
def straight(commands, tmp_path_factory):
    """Run without interruption."""
    run = tmp_path_factory.mktemp("straight")
    commands.tiny(run, *OPTIONS).ok()
    return run


@pytest.fixture
def start(commands):
    def start(run, *options, **how):
        return commands.start("train.py", *commands.TINY, "--out", run, *OPTIONS, *options, **how)

    return start


def steps_recorded(run):
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b'"l1"') if path.exists() else 0


@pytest.mark.parametrize(
    ("number", "stage", "first", "status"),
    [(signal.SIGTERM, "pretrain", 4, 143), (signal.SIGINT, "adversarial", EPOCH + 4, 130)],
)
def test_interrupted_run_resumes_bit_for_bit(start, straight, read, tmp_path, number, stage, first, status):
    running = start(tmp_path)
    running.until(lambda: steps_recorded(tmp_path) >= first)
    running.send(number)
    result = running.wait()
    assert result.status == status and result.err == ""
    about = describe(tmp_path / "last.safetensors")
    assert about["stage"] == stage and about["step"] % EPOCH
    stopped = f"stopped at step {about['step']} of {TOTAL}, and saved; the same command resumes it"
    assert result.out.splitlines()[-1] == stopped
    assert not (tmp_path / "generator.safetensors").exists()

    resumed = start(tmp_path).wait().ok()
    assert f"run folder {tmp_path}, resumed at step {about['step']}" in resumed.out
    read.same_run(straight, tmp_path)
    assert [entry["step"] for entry in read.json(tmp_path / "environment.json")] == [0, about["step"]]


def test_run_with_tone_and_real_saturation_resumes_bit_for_bit(start, straight, read, tmp_path):
    """Random damage depends only on the step; the options do change the run."""
    options = ["--data.tone", 1, "--data.real_saturation", 1.2, "--optim.frozen_norm", "adversarial"]
    start(tmp_path / "whole", *options).wait().ok()
    run = tmp_path / "run"
    running = start(run, *options)
    running.until(lambda: steps_recorded(run) >= EPOCH + 4)
    running.send(signal.SIGTERM)
    assert running.wait().status == 143
    assert "resumed at step" in start(run, *options).wait().ok().out
    read.same_run(tmp_path / "whole", run)
    plain, toned = read.losses(straight), read.losses(run)
    assert plain[0]["l1"] != toned[0]["l1"]
    assert "--data.tone was 1.0" in start(run).wait().refusal("--data.real_saturation was 1.2")


def test_repeatedly_killed_run_ends_the_same(start, straight, read, tmp_path):
    """After kill -9 at any moment, all files are complete, and the final result is the same."""
    chance, kills = random.Random(5), 0
    for attempt in range(60):
        running = start(tmp_path, "--checkpoint_every", "3")
        end = time.monotonic() + chance.uniform(0.2, 0.8) * (1 + attempt)
        while time.monotonic() < end and running.running():
            time.sleep(0.005)
        if running.running():
            running.send(signal.SIGKILL)
        result = running.wait()
        read.everything(tmp_path)
        if result.status == 0:
            break
        assert result.status == -signal.SIGKILL, result
        kills += 1
    result.ok()
    assert kills
    read.same_run(straight, tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    seen = [(line["step"], "l1" in line) for line in read.metrics(tmp_path)]
    assert len(seen) == len(set(seen))
    assert [line["step"] for line in read.losses(tmp_path)] == list(range(1, TOTAL + 1))


def test_kill_while_decoding_leaves_no_files_behind(commands, tmp_path):
    cache = tmp_path / "cache"
    options = f"--data.demo_photos 200 --data.size 48 --epochs 0.01 --data.cache {cache} --out {tmp_path / 'run'}"
    running = commands.start("train.py", *commands.TINY, *options.split())
    running.until(lambda: any(path.stat().st_size for path in cache.glob("*/pictures.u8")))
    running.send(signal.SIGKILL)
    assert running.wait().status == -signal.SIGKILL
    commands.train(*commands.TINY, *options.split()).ok()
    assert sorted(path.name.endswith("-48") for path in cache.iterdir() if path.is_dir()) == [True, True]


def test_unfinished_files_and_lines_of_a_killed_run_are_removed(commands, read, copied):
    run, options = copied
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "l1"')
    leavings = [run / "last.safetensors.part", run / "samples" / "step_0000009.png.part", run / "best.safetensors.part"]
    for path in leavings:
        path.write_bytes(b"half")
    commands.train(*options).ok()
    read.everything(run)
    assert [line["step"] for line in read.losses(run)] == list(range(1, 15))
    assert not [path for path in leavings if path.exists()]


def test_state_contains_only_tensors_and_json(straight):
    with safe_open(straight / "last.safetensors", "pt") as file:
        names = {name.split(".")[0] for name in file.keys()}  # noqa: SIM118 - no iterator
    assert names == {"generator", "ema", "discriminator", "optim_g", "optim_d"}


# A run that is done, or is someone else's.


@pytest.fixture
def copied(finished, tmp_path):
    """Copy of a finished run that tests may change, and the command that made it."""
    run, _, options = finished
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(".lock"))
    return folder, [*options, "--out", folder]


def test_finished_run_is_not_trained_again(commands, read, copied, finished):
    run, options = copied
    result = commands.train(*options).ok()
    assert result.out.splitlines()[-1] == f"generator  {run / 'generator.safetensors'}"
    read.same_run(finished[0], run)
    assert len(read.losses(run)) == 14


def test_more_epochs_continue_a_finished_run(commands, read, copied):
    run, options = copied
    result = commands.train(*options, "--epochs", "2").ok()
    assert "resumed at step 14" in result.out
    assert "trains for 18 steps instead of 14; the learning rates follow the new length: the" in result.out
    assert describe(run / "generator.safetensors")["step"] == 18
    assert [line["step"] for line in read.losses(run)] == list(range(1, 19))
    assert [line["step"] for line in read.validations(run)] == [4, 11, 14, 18]


def test_fewer_epochs_are_refused_and_change_nothing(commands, read, copied, finished):
    run, options = copied
    refused = commands.train(*options, "--epochs", "1")
    refused.refusal("been trained for 14 steps, more than the 11")
    read.same_tensors(run / "last.safetensors", finished[0] / "last.safetensors")


def test_different_options_in_a_runs_folder_are_refused(commands, read, copied, finished):
    run, options = copied
    before = (run / "config.yaml").read_bytes()
    refused = commands.train(*options, "--loss.l1", "50", "--data.flip", "false")
    refused.refusal(str(run), "--loss.l1 was 100.0, is 50.0", "--data.flip was True, is False", "a different --out")
    assert (run / "config.yaml").read_bytes() == before
    read.same_run(finished[0], run)


def test_a_refused_start_changes_nothing(commands, read, copied, finished):
    run, options = copied
    before = (run / "config.yaml").read_bytes()
    commands.train(*options, "--epochs", "3", WANDB_MODE="sometimes").refusal("sometimes")
    commands.train(*options, "--epochs", "0.5").refusal("has already been trained for")
    assert (run / "config.yaml").read_bytes() == before
    read.same_run(finished[0], run)


def test_every_step_is_in_one_logged_mean(commands, read, copied, finished):
    """Evaluations do not fall on multiples of log_every."""
    run, options = copied
    shutil.rmtree(run)
    commands.train(*options, "--tracking.log_every", "5").ok()
    every = [line["l1"] for line in read.losses(finished[0])]
    before, lines = 0, read.losses(run)
    assert len(lines) > len(every) // 5
    for line in lines:
        assert line["l1"] == pytest.approx(sum(every[before : line["step"]]) / (line["step"] - before), rel=1e-5)
        before = line["step"]
    assert before == len(every)


def test_options_that_do_not_affect_training_may_change(commands, read, copied):
    run, options = copied
    changed = "--tracking.log_every 3 --eval.every 0.5 --eval.samples 2 --checkpoint_every 2 --tracking.name other"
    commands.train(*options, *changed.split(), "--epochs", "2").ok()
    assert [line["step"] for line in read.losses(run)][-3:] == [15, 16, 18]
    assert describe(run / "last.safetensors")["config"]["checkpoint_every"] == 2


def test_changed_photographs_are_refused(commands, draw, tmp_path):
    photographs = draw(tmp_path / "photographs", 8)
    options = ["--data.source", photographs, "--epochs", "0.5"]
    commands.tiny(tmp_path / "run", *options).ok()
    draw(photographs, 1, seed=8)
    refused = commands.tiny(tmp_path / "run", *options)
    refused.refusal(str(photographs), "have changed", "a different --out")


def test_copied_photographs_with_other_times_are_the_same(commands, draw, read, tmp_path):
    """A run resumes although the files have other modification times."""
    photographs = draw(tmp_path / "photographs", 8)
    options = ["--data.source", photographs, "--epochs", "0.5"]
    commands.tiny(tmp_path / "run", *options).ok()
    for path in photographs.iterdir():
        os.utime(path, (1, 1))
    assert "resumed at step" in commands.tiny(tmp_path / "run", *options).ok().out


def test_two_trainings_in_one_folder_are_refused(start, tmp_path):
    running = start(tmp_path, "--epochs", "100")
    running.until(lambda: steps_recorded(tmp_path) >= 2)
    start(tmp_path, "--epochs", "100").wait().refusal(str(tmp_path), "another process")
    running.send(signal.SIGTERM)
    result = running.wait()
    assert result.status == 143 and result.err == ""


def test_refused_start_does_not_fix_the_folders_options(commands, tmp_path):
    """A corrected command must not be compared with the refused one."""
    commands.tiny(tmp_path, "--data.batch_size", "1000").refusal("--data.batch_size")
    commands.tiny(tmp_path, "--data.batch_size", "4", "--epochs", "0.1").ok()


def test_relative_source_is_resolved_to_the_same_folder(commands, photographs, copied):
    _, options = copied
    words = [photographs.name if word == photographs else word for word in options]
    commands.train(*words, cwd=photographs.parent).ok()


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_damaged_state_is_refused(commands, copied, damage):
    run, options = copied
    last = run / "last.safetensors"
    content = last.read_bytes()
    last.write_bytes({"truncated": content[:-100], "empty": b"", "foreign": b"PK\x03\x04" + content[4:]}[damage])
    commands.train(*options).refusal(str(last), "truncated")
