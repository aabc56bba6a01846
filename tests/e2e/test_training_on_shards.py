"""Photographs in shards, decoded in every epoch: training, resuming, several processes, scoring."""

import shlex
import shutil
import signal

import pytest
from made_shards import tar, write_shards

from gancolor.models.checkpoint import describe

ALWAYS = shlex.split("--data.decode always --arch ugan --pretrain_epochs 1 --epochs 1 --data.val_fraction 0.1")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards") / "set", 5, 10, classes=3)


@pytest.fixture(scope="module")
def straight(commands, shards, tmp_path_factory):
    run = tmp_path_factory.mktemp("straight")
    commands.tiny(run, "--data.source", shards, *ALWAYS).ok()
    return run


def test_run_on_shards_is_resumed_bit_for_bit(commands, shards, straight, read, tmp_path):
    options = *commands.TINY, "--data.source", shards, *ALWAYS, "--out", tmp_path
    running, metrics = commands.start("train.py", *options), tmp_path / "metrics.jsonl"
    running.until(lambda: metrics.exists() and metrics.read_bytes().count(b'"l1"') > 3)
    running.send(signal.SIGTERM)
    assert running.wait().status == 143
    total = describe(straight / "last.safetensors")["step"]
    assert 3 < describe(tmp_path / "last.safetensors")["step"] < total
    commands.train(*options).ok()
    read.same_run(straight, tmp_path)


def test_run_on_shards_prints_its_data_and_can_be_scored(commands, shards, straight, read, tmp_path):
    listing = read.json(straight / "photographs.json")
    assert listing["classes"] == ["0", "1", "2"]
    assert listing["train"]["used"] == 45 and len(listing["split"]["val"]) == listing["val"]["used"] == 5
    scores = tmp_path / "scores.json"
    commands.evaluate(straight, "--lpips.weights", "off", "--json", scores).ok()
    assert sorted(read.json(scores)["names"]) == sorted(listing["split"]["val"])
    assert read.json(scores)["files"] == read.json(straight / "results.json")["files"]


def test_two_processes_train_on_different_shards(commands, shards, read, tmp_path):
    ranks = commands.ranks(*commands.TINY, *ALWAYS, "--data.source", shards, "--out", tmp_path)
    results = [rank.wait().ok() for rank in ranks]
    assert "effective batch 4 (2 x 2), 8 steps per epoch" in results[0].out and len(read.losses(tmp_path)) == 16


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "train-001.tar").write_bytes(tar({"a.jpg": b"x" * 3000})[:2048]),
            "train-001.tar: trunc",
        ),
        (
            lambda folder: [path.write_bytes(tar({"a.txt": b""})) for path in folder.iterdir()],
            "no photographs in the shar",
        ),
    ],
)
def test_unusable_shards_give_a_one_line_error(commands, shards, tmp_path, damage, said):
    folder = shutil.copytree(shards, tmp_path / "set")
    damage(folder)
    commands.tiny(tmp_path / "run", "--data.source", folder).refusal(said)


def test_contradicting_options_give_a_one_line_error(commands, shards, tmp_path):
    options = "--data.source", shards, "--data.decode", "always", "--data.on_device", "always"
    commands.tiny(tmp_path, *options).refusal("--data.decode always", "--data.on_device always")
