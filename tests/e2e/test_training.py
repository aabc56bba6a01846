"""Training runs from start to finish."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from hashlib import sha256

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import gancolor
from gancolor.choices import ARCHITECTURES


def test_prints_training_data_and_result_path(finished, photographs):
    run, result, _ = finished
    lines = result.out.splitlines()
    assert lines[0].startswith("decoding 20 photographs, once, into ")
    assert lines[1].startswith("training ugan (")
    assert lines[2].startswith(f"on 14 photographs of {photographs}, validating on 6, 16 x 16")
    assert f"run folder {run}" in lines
    assert lines[-2:] == [
        f"pictures   {run / 'samples' / 'step_0000014.png'}",
        f"generator  {run / 'generator.safetensors'}",
    ]
    assert re.search(r"^grey +\d+\.\d\d ± ", result.out, re.MULTILINE)


def test_no_bar_and_no_escape_codes_in_a_log_file(finished):
    _, result, _ = finished
    assert result.err == ""
    assert "\x1b" not in result.out and "\r" not in result.out


def test_run_folder_holds_the_record(finished, read):
    run, _, _ = finished
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names - {".lock"} == {
        "config.yaml", "environment.json", "photographs.json", "metrics.jsonl", "results.json",
        "last.safetensors", "best.safetensors", "generator.safetensors",
        "samples/step_0000004.png", "samples/step_0000011.png", "samples/step_0000014.png",
    }  # fmt: skip
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["arch"] == "ugan" and config["data"]["size"] == 16 and config["loss"]["gan_mode"] == "vanilla"
    (start,) = read.json(run / "environment.json")
    assert start["command"].startswith("train.py --data.size 16") and start["step"] == 0
    assert start["gancolor"] == gancolor.__version__ and torch.__version__.startswith(start["torch"])
    results = read.json(run / "results.json")
    assert list(results["means"]) == list(results["scores"]) == ["grey", "ugan", "truth"]
    metrics = {"psnr", "gain", "ssim", "mse", "ciede2000", "auc", "in_gamut"}
    metrics |= {"colorfulness", "colorfulness_difference", "colorfulness_ddcolor"}
    assert set(results["means"]["ugan"]) == set(results["scores"]["ugan"]) == metrics
    about = results["about"]["ugan"]
    assert about["sha256"] == sha256((run / "generator.safetensors").read_bytes()).hexdigest()
    assert (about["step"], about["stage"], about["parameters"] > 0) == (14, "adversarial", True)
    assert about["seconds"] > 0 and [step for step, _ in about["curves"]["psnr"]] == [4, 11, 14]
    split = read.json(run / "photographs.json")["split"]
    assert len(split["val"]) == len(set(split["val"])) == 6 and list(split) == ["val"]


def test_metrics_file_has_losses_rates_and_scores(finished, read):
    run, _, _ = finished
    losses, validations = read.losses(run), read.validations(run)
    assert [line["step"] for line in losses] == list(range(1, 15))
    assert [line["step"] for line in validations] == [4, 11, 14]
    assert [line["stage"] for line in losses] == ["pretrain"] * 4 + ["adversarial"] * 10
    pretrain, adversarial = losses[0], losses[-1]
    assert {"l1", "generator", "grad_norm_g", "lr_g", "lr_d", "ema", "epoch"} <= set(pretrain)
    assert not {"gan", "discriminator"} & set(pretrain)
    assert {"l1", "gan", "discriminator", "d_accuracy", "grad_norm_d", "lr_g", "lr_d"} <= set(adversarial)
    assert all(0 <= line["d_accuracy"] <= 1 for line in losses[4:])
    assert adversarial["generator"] == pytest.approx(100 * adversarial["l1"] + adversarial["gan"], rel=1e-4)
    assert {"val/psnr", "val/ssim", "val/gain", "val/colorfulness"} <= set(validations[0])
    means = read.json(run / "results.json")["means"]["ugan"]
    assert {name: validations[-1][f"val/{name}"] for name in means} == {
        name: figure["mean"] for name, figure in means.items()
    }


def test_warnings_are_logged_at_every_evaluation_and_printed_once_per_stage(commands, read, tmp_path):
    """The generator has not learned to colour yet."""
    stages = "--pretrain_epochs 0.4 --epochs 0.4 --eval.every 0.2"
    result = commands.tiny(tmp_path, "--arch", "ugan", *stages.split(), "--optim.lr_d", "1e-20").ok()
    lines = result.out.splitlines()
    said = [number for number, line in enumerate(lines) if line.startswith("  colour collapse: ")]
    assert len(said) == 2 and all("% of the truth's colourfulness" in lines[number] for number in said)
    assert ["(pretrain," in lines[said[0] - 1], "(adversarial," in lines[said[1] - 1]] == [True, True]
    logged = [line["val/guard"] for line in read.validations(tmp_path)]
    assert len(logged) == 4 and all("colour collapse" in guard for guard in logged)
    accuracies = [line["d_accuracy"] for line in read.losses(tmp_path) if line["step"] in (15, 20)]
    names = [
        ", discriminator too strong" * (share > 0.99) for share in accuracies
    ]  # no warning of a weak discriminator in its first 100 steps
    assert logged == ["colour collapse"] * 2 + ["colour collapse" + name for name in names]


def test_sample_grid_shows_grey_predicted_and_truth(finished):
    """The three rows are stacked vertically."""
    with Image.open(finished[0] / "samples" / "step_0000014.png") as grid:
        assert grid.format == "PNG"
        picture = np.asarray(grid.convert("RGB")).astype(int)
    height, width, _ = picture.shape
    assert height >= 3 * 128 and width >= 6 * 128
    chroma = picture.max(axis=2) - picture.min(axis=2)
    assert chroma[: height // 3 - 10].max() <= 1 and chroma[2 * height // 3 + 10 :].max() > 50


def test_finished_generator_colours_any_size(finished):
    generator = gancolor.load_generator(finished[0] / "generator.safetensors")
    assert not generator.training
    with torch.inference_mode():
        chroma = generator(torch.zeros(2, 1, 37, 50)).chroma
    assert chroma.shape == (2, 2, 37, 50) and chroma.abs().max() <= 1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_each_architecture_trains_by_its_recipe(commands, read, tmp_path, arch):
    size = "--data.size 32 --discriminator.layers 2 --discriminator.width 4 --data.batch_size 2 --data.limit 4"
    small = "--data.demo_photos 20 --data.val_limit 2 --generator.width 4 --generator.global_size 32"
    small += " --generator.backbone_weights random --loss.perceptual_weights random"
    if arch != "vgg16_autoencoder":  # its decoder has VGG-16's widths
        small += " --generator.backbone test_resnet"  # timm's smallest
    steps = "--pretrain_epochs 0.5 --epochs 0.5 --tracking.log_every 1"
    fresh = arch == "pretrained_attention_ugan"  # its imports print the most
    result = commands.train(
        "--arch", arch, *size.split(), *small.split(), *steps.split(), "--out", tmp_path, fresh=fresh
    ).ok()
    assert result.out.splitlines()[-1] == f"generator  {tmp_path / 'generator.safetensors'}"
    stages = [line["stage"] for line in read.losses(tmp_path)]
    assert stages == ["pretrain", *["critic"] * stages.count("critic"), "adversarial"]
    assert ("critic" in stages) == (arch == "deoldify")
    assert list(read.json(tmp_path / "results.json")["means"])[1] == arch
    generator = gancolor.load_generator(tmp_path / "generator.safetensors")
    with torch.inference_mode():
        assert generator(torch.zeros(1, 1, 32, 32)).chroma.abs().max() <= 1


def test_scores_of_a_single_photograph_are_valid_json(commands, read, tmp_path):
    commands.tiny(tmp_path, "--epochs", "0.1", "--data.val_limit", "1").ok()
    read.everything(tmp_path)
    figure = read.json(tmp_path / "results.json")["means"]["grey"]["psnr"]
    assert figure["mean"] > 5 and figure["low"] is figure["high"] is None


def test_same_command_gives_the_same_run_in_any_folder(commands, read, finished, tmp_path):
    run, _, options = finished
    commands.train(*options, "--out", tmp_path / "again").ok()
    read.same_run(run, tmp_path / "again")


def test_other_seed_gives_another_run(commands, read, finished, tmp_path):
    run, _, options = finished
    commands.train(*options, "--out", tmp_path, "--seed", "1").ok()
    assert read.losses(run)[0]["l1"] != read.losses(tmp_path)[0]["l1"]
    splits = [read.json(folder / "photographs.json")["split"]["val"] for folder in (run, tmp_path)]
    assert splits[0] != splits[1]


def test_default_folder_is_named_after_the_run(commands, tmp_path):
    commands.train(*commands.TINY, "--epochs", "0.05", cwd=tmp_path).ok()
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"attention_ugan-demo-16-[0-9a-f]{6}", run.name)
    assert (run / "generator.safetensors").is_file()


def test_full_size_starts_within_a_minute_and_stops(commands, tmp_path):
    """Default networks on a few demo photographs at 256 pixels."""
    few = "--data.demo_photos", "10", "--data.batch_size", "1"
    running = commands.start("train.py", "--arch", "attention_ugan", *few, "--out", tmp_path)
    running.until(lambda: "run folder" in running.out(), seconds=60)
    assert re.search(r"on 10 photographs of the demo .*yours: --data.source DIR", running.out())
    running.send(signal.SIGTERM)
    result = running.wait()
    assert result.status == 143 and result.err == ""
    last = tmp_path / "last.safetensors"
    if last.exists():
        assert "the same command resumes it" in result.out
        assert gancolor.load_generator(last)


def test_help_needs_no_torch_and_names_every_option(commands, tmp_path):
    """`import torch` fails here."""
    (tmp_path / "torch.py").write_text("raise ImportError('not wanted')")
    result = commands.train("--help", fresh=True, PYTHONPATH=str(tmp_path)).ok()
    for option in ("--arch", "--data.source", "--loss.l1", "--optim.ema", "--tracking.wandb", "--config"):
        assert option in result.out


def test_terminal_shows_a_progress_bar_with_losses(commands, tmp_path):
    """The command runs on a pseudo-terminal."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "train.py", *commands.TINY, "--out", str(tmp_path), "--epochs", "2"],
        stdin=side, stdout=side, stderr=side, env=commands.env | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(side)
    shown = b""
    try:
        while block := os.read(main, 4096):
            shown += block
    except OSError:  # the other side is closed
        pass
    os.close(main)
    text = shown.decode()
    assert process.wait(60) == 0, text
    (*_, bar) = re.findall(r"attention_ugan: +\d+%\|[^\r]*", text)
    assert re.search(r"l1=[\d.]+, gan=[\d.]+", bar)
    assert re.search(r"step 50 \(adversarial, epoch 2.0\): PSNR", text)
    assert "generator  " in text.splitlines()[-1]
