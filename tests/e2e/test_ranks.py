"""Several processes train as one: torchrun once, and elsewhere its variables alone, which saves the start of Python."""

import shlex
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from gancolor.models.checkpoint import describe

# Nothing that chance gives each rank for itself: no dropout, no flips.
SAME = shlex.split(
    "--arch attention_ugan --generator.dropout 0 --data.flip false --generator.norm none --discriminator.norm none "
    "--pretrain_epochs 0.5 --epochs 0.5 --optim.ema 0 --optim.lr_pretrain 0.0005 --optim.schedule cosine"
)


@pytest.fixture(scope="module")
def joint(commands, tmp_path_factory):
    """Runs with two ranks and batches of 4, and with one rank and batches of 8: the same photographs per step."""
    folder = tmp_path_factory.mktemp("ranks")
    options = [*commands.TINY, *SAME, "--data.batch_size", "4", "--out", folder / "two"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "train.py"]
    pipe = subprocess.PIPE
    two = subprocess.Popen([*torchrun, *options], cwd=commands.root, env=commands.env, stdout=pipe, stderr=pipe)
    one = commands.tiny(folder / "one", *SAME, "--data.batch_size", 8).ok()
    out, err = (text.decode() for text in two.communicate(timeout=120))
    assert two.returncode == 0, err
    return folder / "one", folder / "two", one.out, out


def test_two_ranks_train_as_one_with_the_joint_batch(joint, read):
    one, two, _, _ = joint
    assert describe(one / "last.safetensors")["step"] == describe(two / "last.safetensors")["step"] == 6
    first, second = (load_file(run / "last.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=2e-5, msg=name)
    for mine, theirs in zip(read.losses(one), read.losses(two), strict=True):
        assert mine["step"] == theirs["step"] and mine["lr_g"] == theirs["lr_g"]
        for name in ("l1", "generator", "grad_norm_g"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3), (mine["step"], name)


def test_two_ranks_with_micro_batches_train_as_one(commands, joint, read, tmp_path):
    """Gradients accumulate over the micro-batches before the ranks average them. Only one rank has a photograph to
    score."""
    one, _, _, _ = joint
    options = [*commands.TINY, *SAME, "--data.batch_size", 4, "--optim.accumulate", 2, "--data.val_limit", 1]
    for rank in commands.ranks(*options, "--out", tmp_path / "parts"):
        rank.wait().ok()
    first, second = (load_file(run / "last.safetensors") for run in (one, tmp_path / "parts"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=2e-5, msg=name)


def test_only_one_of_two_ranks_prints_and_writes(joint, read):
    one, two, out_one, out_two = joint
    assert out_two.count("run folder") == out_two.count("generator  ") == 1
    assert "effective batch 8 (4 x 2), 6 steps per epoch" in out_two
    assert "effective batch 8 (8 x 1), 6 steps per epoch" in out_one
    assert [line["step"] for line in read.losses(two)] == list(range(1, 7))
    assert [line["step"] for line in read.validations(two)] == [3, 6]
    files = [sorted(path.relative_to(run).as_posix() for path in run.rglob("*")) for run in (one, two)]
    assert files[0] == files[1]
    (start,) = read.json(two / "environment.json")
    assert start["processes"] == 2


def test_two_ranks_resume_where_they_were_stopped(commands, read, tmp_path):
    """With BatchNorm, dropout and EMA; the scores are those of the exported generator."""
    options = [*commands.TINY, "--pretrain_epochs", "1", "--epochs", "5", "--data.val_limit", "7"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    second = commands.ranks(*options, "--out", stopped)
    metrics = stopped / "metrics.jsonl"
    second[0].until(lambda: metrics.exists() and metrics.read_text().count('"l1"') > 5)
    for rank in second:
        rank.send(signal.SIGTERM)  # as torchrun does when it gets one
    results = [rank.wait() for rank in second]
    assert [result.status for result in results] == [143, 143]
    about = describe(stopped / "last.safetensors")
    assert 5 <= about["step"] < 72
    assert f"stopped at step {about['step']} of 72" in results[0].out

    first = commands.ranks(*options, "--out", straight)
    results = [rank.wait().ok() for rank in commands.ranks(*options, "--out", stopped)]
    assert f"resumed at step {about['step']}" in results[0].out
    for rank in first:
        rank.wait().ok()
    read.same_tensors(straight / "last.safetensors", stopped / "last.safetensors")
    assert read.validations(straight) == read.validations(stopped)

    figures = tmp_path / "figures.json"
    commands.evaluate(straight, "--json", figures, "--lpips.weights", "off", "--data.val_limit", 7).ok()
    scored, results = read.json(figures), read.json(straight / "results.json")
    assert scored["files"] == results["files"] and set(scored["names"]) == set(results["names"])
    order = [scored["names"].index(name) for name in results["names"]]
    for system, scores in results["scores"].items():
        for metric, values in scores.items():
            again = [scored["scores"][system][metric][number] for number in order]
            assert again == pytest.approx(values, rel=1e-4, abs=1e-4), (system, metric)


def test_every_rank_prints_its_error_in_one_line(commands, tmp_path):
    for rank in commands.ranks(*commands.TINY, "--data.batch_size", 1000, "--out", tmp_path):
        rank.wait().refusal("the batch (2000) is larger than the training set (50 photographs")
