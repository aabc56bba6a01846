"""User errors give one line that names the cause, and exit status 2, before training starts."""

import json
import os
import shutil
import subprocess

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def words(line):
    return line.split()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--nonsense 3", ["--nonsense"]),
        ("--loss.L1 3", ["--loss.L1", "did you mean --loss.l1"]),
        ("--data.sorce demo", ["--data.sorce", "did you mean --data.source"]),
        ("--arch attention_gan", ["attention_gan", "choose from ugan, attention_ugan", "did you mean attention_ugan"]),
        ("--data.batch_size 0", ["--data.batch_size", "0"]),
        ("--data.batch_size many", ["--data.batch_size", "many"]),
        ("--optim.ema 1.5", ["--optim.ema", "1.5"]),
        ("--optim.lr_g nan", ["--optim.lr_g", "nan"]),
        ("--data.size 8", ["--data.size", "8", "16"]),
        ("--data.flip perhaps", ["--data.flip", "perhaps"]),
        ("--optim.betas 0.5", ["--optim.betas"]),
        ("demo", ["demo"]),
        ("--epochs", ["--epochs"]),
        ("--epochs 0 --pretrain_epochs 0", ["--epochs", "--pretrain_epochs"]),
        ("--data.source no/such/folder", ["no/such/folder"]),
        ("--data.source imagenete", ["imagenete", "did you mean imagenette"]),
        ("--data.batch_size 51", ["51", "50 photographs", "--data.batch_size"]),
        ("--discriminator.layers 4", ["--discriminator.layers 4", "--data.size 16"]),
        ("--generator.depth 9", ["--generator.depth 9", "--data.size"]),
        ("--generator.decoder_widths [3]", ["--generator.decoder_widths [3]", "as many widths"]),
        ("--loss.perceptual 1 --loss.perceptual_weights no/such.pth", ["no/such.pth"]),
        ("--precision fp16 --device cpu", ["--precision fp16"]),
        ("--data.size 32 --eval.best_metric lpips", ["alexnet-owt-7be5be79.pth", "--lpips.weights"]),
        ("--eval.best_metric lpips --lpips.weights off", ["--eval.best_metric lpips", "--lpips.weights"]),
        ("--data.size 32 --lpips.weights no/such.pth", ["no/such.pth"]),
        ("--config no/such.yaml", ["no/such.yaml"]),
    ],
)
def test_bad_options(commands, tmp_path, options, named):
    commands.tiny(tmp_path / "run", *words(options)).refusal(*named)
    assert not (tmp_path / "run").exists()  # no folder remains


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_missing_device(commands, tmp_path):
    commands.tiny(tmp_path, "--device", "cuda").refusal("--device cuda", "cpu")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("loss: {l1: 3", []),
        ("loss: {l2: 3}\n", ["l2", "did you mean loss.l1"]),
        ("epochs: soon\n", ["epochs", "soon"]),
        ("- 1\n- 2\n", []),
        ("\x00\x01", []),
    ],
)
def test_bad_config_files(commands, tmp_path, text, named):
    config = tmp_path / "recipe.yaml"
    config.write_text(text)
    commands.tiny(tmp_path / "run", "--config", config).refusal(*named)


def test_error_in_a_new_process_is_one_line_too(commands, tmp_path):
    commands.tiny(tmp_path, "--data.batch_size", "51", fresh=True).refusal("51")


def test_folder_without_photographs(commands, tmp_path):
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.mkdir()
    text.mkdir()
    commands.tiny(tmp_path / "run", "--data.source", empty).refusal(str(empty), "no photographs", ".jpg")
    for number in range(4):
        (text / f"{number}.jpg").write_text("not a picture")
    commands.tiny(tmp_path / "run", "--data.source", text).refusal(str(text), ".jpg: not a picture")


def test_folder_of_grey_photographs(commands, tmp_path):
    from PIL import Image

    grey = tmp_path / "grey"
    grey.mkdir()
    for number in range(6):
        Image.linear_gradient("L").rotate(90 * number).save(grey / f"{number}.png")
    refused = commands.tiny(tmp_path / "run", "--data.source", grey)
    refused.refusal("its validation photographs (1) are all grey", "--data.min_colorfulness 0")


def test_refused_wandb_mode_leaves_no_run_folder(commands, tmp_path):
    commands.tiny(tmp_path / "run", WANDB_MODE="sometimes").refusal("sometimes", "offline")
    assert not (tmp_path / "run").exists()


def test_out_is_a_file(commands, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    commands.tiny(taken).refusal(str(taken))
    commands.tiny(taken / "run").refusal(str(taken))
    assert taken.read_text() == "mine"


# Weights and checkpoints.


def foreign_weights(path):
    torch.save({"layer.weight": torch.zeros(3)}, path)


def pickled_code(path):
    torch.save({"network": subprocess.Popen}, path)


def not_weights(path):
    path.write_text("<html>404</html>")


PRETRAINED = ["--arch", "pretrained_ugan", "--data.size", "32"]


@pytest.mark.parametrize("make", [foreign_weights, pickled_code, not_weights])
@pytest.mark.parametrize("option", ["--generator.backbone_weights", "--lpips.weights"])
def test_foreign_weights(commands, tmp_path, make, option):
    weights = tmp_path / "weights.pth"
    make(weights)
    more = ["--generator.backbone_weights", "random"] if option == "--lpips.weights" else []
    commands.tiny(tmp_path / "run", *PRETRAINED, *more, option, weights).refusal(str(weights))


def test_published_weights_without_network(commands, tmp_path):
    run = tmp_path / "run"
    refused = commands.tiny(run, *PRETRAINED, "--generator.backbone_weights", "imagenet")
    refused.refusal("model.safetensors of timm/resnet18.a1_in1k", "--generator.backbone_weights FILE")
    assert not run.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--generator.backbone", "resnet19"], ["--generator.backbone", "'resnet19'", "did you mean resnet18"]),
        (["--generator.backbone", "vit_tiny_patch16_224"], ["vit_tiny_patch16_224", "no feature pyramid"]),
        (["--generator.decoder_widths", "[8, 8]"], ["--generator.decoder_widths [8, 8]", "5 blocks"]),
        (["--generator.chroma_stride", "3"], ["--generator.chroma_stride", "1, 2"]),
        (["--optim.backbone_lr", "0"], ["--optim.backbone_lr"]),
    ],
)
def test_invalid_backbones_and_decoders_are_refused(commands, tmp_path, options, named):
    run = tmp_path / "run"
    refused = commands.tiny(run, *PRETRAINED, "--generator.backbone_weights", "random", *options)
    refused.refusal(*named)
    assert "decoding" not in refused.out and not run.exists()


def test_published_weights_with_other_contents(commands, tmp_path):
    """torchvision itself would accept them."""
    cached = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    cached.parent.mkdir(parents=True)
    foreign_weights(cached)
    options = ["--data.size", "32", "--loss.perceptual", "1", "--loss.perceptual_network", "lpips"]
    refused = commands.tiny(tmp_path / "run", *options, TORCH_HOME=str(tmp_path))
    refused.refusal(str(cached), "sha256")


def test_public_data_set_without_network(commands, tmp_path):
    refused = commands.tiny(tmp_path, "--data.source", "imagenette_160")
    said, error = refused.err.splitlines()
    assert refused.status == 2
    assert said.startswith("imagenette_160: from https://")
    assert error.startswith("train.py: error: --data.source imagenette_160 can't be downloaded")


def edited(source, path, **changes):
    """Write a copy of a checkpoint with changed metadata."""
    with safe_open(source, "pt") as file:
        about = json.loads(file.metadata()["gancolor"])
    save_file(load_file(source), path, {"gancolor": json.dumps(about | changes)})


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("missing", ["no such checkpoint"]),
        ("empty folder", ["no checkpoint in this folder"]),
        ("pickle", ["not a gancolor checkpoint"]),
        ("truncated", ["truncated"]),
        ("foreign", ["not one of gancolor's"]),
        ("newer", ["9.9", "upgrade"]),
        ("other weights", ["do not fit"]),
        ("unknown architecture", ["transformer"]),
    ],
)
def test_checkpoints_that_cannot_be_scored(commands, finished, tmp_path, damage, named):
    good, bad = finished[0] / "generator.safetensors", tmp_path / "bad.safetensors"
    if damage == "empty folder":
        bad.mkdir()
    elif damage == "pickle":
        pickled_code(bad)
    elif damage == "truncated":
        bad.write_bytes(good.read_bytes()[:-50])
    elif damage == "foreign":
        save_file({"weight": torch.zeros(2)}, bad)
    elif damage == "newer":
        edited(good, bad, format=99, version="9.9")
    elif damage == "other weights":
        edited(good, bad, generator={"arch": "ugan", "options": {"width": 5, "size": 16}})
    elif damage == "unknown architecture":
        edited(good, bad, generator={"arch": "transformer", "options": {}})
    commands.evaluate(bad).refusal(str(bad), *named)
    commands.evaluate(good, bad).refusal(str(bad), *named)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("", ["nothing to score", "checkpoints", "--predictions NAME=DIR"]),
        ("--jason x RUN", ["--jason", "did you mean --json"]),
        ("--data.size 3 RUN", ["--data.size", "3"]),
        ("--data.source no/such/folder RUN", ["no/such/folder"]),
        ("RUN RUN", ["twice"]),
    ],
)
def test_bad_options_of_evaluate(commands, finished, options, named):
    commands.evaluate(*words(options.replace("RUN", str(finished[0])))).refusal(*named)


def test_unwritable_result_file_is_refused_before_scoring(commands, finished, tmp_path):
    """The error comes before scoring, which may take hours."""
    (tmp_path / "taken").write_text("mine")
    for path, culprit in ((tmp_path / "taken" / "figures.json", tmp_path / "taken"), (tmp_path, tmp_path)):
        refused = commands.evaluate(finished[0], "--lpips.weights", "off", "--json", path)
        refused.refusal("--json", str(culprit))
        assert refused.out == ""


# A full disk.


def test_full_disk_stops_the_run_which_can_be_resumed(commands, finished, read, tmp_path):
    """Files over 50 kB fail, as on a full disk; later there is space again, and the same command resumes."""
    run, _, options = finished
    stopped = tmp_path / "run"
    words = [*options, "--out", stopped, "--tracking.log_every", "1"]
    result = commands.start("train.py", *words, file_limit=50_000).wait()
    line = result.refusal("files already saved are intact")
    assert str(stopped) in line
    read.everything(stopped)
    commands.train(*words).ok()
    read.same_run(run, stopped)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="takes a file system of its own")
@pytest.mark.parametrize("kilobytes", [40, 300, 1700])
def test_full_file_system_stops_the_run_which_can_be_resumed(commands, finished, read, tmp_path, kilobytes):
    run, _, options = finished
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file systems may be mounted here")
    try:
        words = [*options, "--out", disk / "run"]
        commands.train(*words).refusal(str(disk), "files already saved are intact")
        read.everything(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        commands.train(*words).ok()
        read.same_run(run, disk / "run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="takes a file system of its own")
def test_full_file_system_of_the_cache_is_an_error(commands, finished, tmp_path):
    _, _, options = finished
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(disk)], check=False).returncode:
        pytest.skip("no file systems may be mounted here")
    try:
        words = [*options, "--out", tmp_path / "run", "--data.cache", disk]
        commands.train(*words).refusal(str(disk))
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        commands.train(*words).ok()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
