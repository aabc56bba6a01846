"""Weights & Biases."""

import json
import shlex
import subprocess
import sys

import pytest


def records(folder, env):
    """Return the records that wandb wrote, read by wandb itself."""
    command = "from wandb.cli.cli import cli; cli()"
    read = [sys.executable, "-c", command, "leet", "inspect", "--json", str(folder)]
    out = subprocess.run(read, capture_output=True, text=True, check=False, timeout=60, env=env)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines()]


def of_type(read, name):
    return [record[name] for record in read if record["type"] == name]


def test_offline_run_has_losses_figures_options_and_pictures(commands, read, tmp_path):
    pytest.importorskip("wandb")
    options = shlex.split("--tracking.wandb offline --tracking.project p --epochs 0.2 --loss.l1 50 --tracking.group g")
    result = commands.tiny(tmp_path, *options, fresh=True).ok()
    (line,) = [line for line in result.out.splitlines() if "Weights & Biases" in line]
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert f"wandb sync {folder}" in line
    kept = records(folder, commands.env)
    history = [entry["item"] for entry in of_type(kept, "history")]
    lines = read.metrics(tmp_path)
    for name in ("l1", "gan", "discriminator", "lr_g", "lr_d", "val/psnr", "val/ssim", "val/gain"):
        recorded = [(entry["step"], entry[name]) for entry in history if name in entry]
        assert recorded == [(line["step"], pytest.approx(line[name])) for line in lines if name in line] and recorded
    assert any(entry.get("samples._type") == "image-file" for entry in history)
    (run,) = of_type(kept, "run")
    config = run["config"]["update"]
    assert config["loss"]["l1"] == 50 and config["data"]["size"] == 16 and config["effective_batch"] == 2
    assert (run["project"], run["run_group"], run["display_name"]) == ("p", "g", tmp_path.name)
    assert [record["exit_code"] for record in of_type(kept, "exit")] == [0]


def test_disabled_needs_no_wandb(commands, tmp_path):
    (tmp_path / "wandb.py").write_text("raise ImportError('not wanted')")
    options = "--tracking.wandb", "disabled", "--epochs", "0.1"
    result = commands.tiny(tmp_path / "run", *options, fresh=True, PYTHONPATH=str(tmp_path)).ok()
    assert "Weights & Biases" not in result.out


def test_default_without_account_prints_one_line(finished):
    (line,) = [line for line in finished[1].out.splitlines() if "Weights & Biases" in line]
    assert "not logged in" in line and "wandb login" in line


def test_command_line_of_a_sweep(commands, read, tmp_path):
    sweep = "--loss.l1=50 --compile=False --data.flip=True --optim.lr_g=0.0003 --epochs=0.1 --generator.norm=instance"
    commands.tiny(tmp_path, *sweep.split(), WANDB_MODE="disabled").ok()
    first = read.losses(tmp_path)[0]
    assert first["generator"] == pytest.approx(50 * first["l1"] + first["gan"], rel=1e-4)
