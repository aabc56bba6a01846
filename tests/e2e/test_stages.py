"""Real runs with three stages, class labels, and rarity weights."""

import json
import re
import shlex
import signal

import pytest
from PIL import Image

from gancolor.models.checkpoint import describe

STAGES = shlex.split(
    "--arch polychromify --generator.neurons low --generator.filters low --pretrain_epochs 0.6 --critic_epochs 1 "
    "--epochs 0.6 --loss.gan 1 --loss.gan_mode wgan_gp --loss.r1 1 --loss.feature_matching 1 --loss.color_weighted 10 "
    "--loss.tv 0.1 --discriminator.norm instance --loss.perceptual 1 --loss.perceptual_weights random"
)
PRETRAINED, JUDGED, TOTAL = 15, 40, 55  # steps; 25 per epoch


@pytest.fixture(scope="module")
def straight(commands, tmp_path_factory):
    run = tmp_path_factory.mktemp("stages")
    return run, commands.tiny(run, *STAGES).ok()


def test_critic_stage_trains_only_the_discriminator(straight, read):
    run, result = straight
    assert "15 pretraining, 25 discriminator only, 15 adversarial" in result.out
    lines = read.losses(run)
    stages = [line["stage"] for line in lines]
    assert stages == ["pretrain"] * PRETRAINED + ["critic"] * (JUDGED - PRETRAINED) + ["adversarial"] * (TOTAL - JUDGED)
    always = {"l1", "mse", "color_weighted", "tv", "perceptual", "generator", "grad_norm_g"}
    of_critic = {"discriminator", "r1", "gradient_penalty", "grad_norm_d"}
    of_adversarial = {"gan", "feature_matching"}
    for line in lines:
        wanted = {"pretrain": always, "critic": of_critic, "adversarial": always | of_critic | of_adversarial}[
            line["stage"]
        ]
        assert set(line) & (always | of_critic | of_adversarial) == wanted
    assert [line["step"] for line in read.validations(run)] == [PRETRAINED, TOTAL]


def test_run_interrupted_in_the_critic_stage_resumes(commands, straight, read, tmp_path):
    running = commands.start("train.py", *commands.TINY, *STAGES, "--out", tmp_path)
    record = tmp_path / "metrics.jsonl"
    running.until(lambda: record.exists() and record.read_text().count('"critic"') > 3)
    running.send(signal.SIGTERM)
    assert running.wait().status == 143
    assert describe(tmp_path / "last.safetensors")["stage"] == "critic"
    commands.tiny(tmp_path, *STAGES).ok()
    read.same_run(straight[0], tmp_path)


def test_colours_of_the_training_set_are_counted_once_and_shown(commands, straight, tmp_path):
    run, result = straight
    assert re.search(
        r"^colours: the most frequent bin, a, b = -?\d+, -?\d+, has \d+% of the pixels; .* are [\d.]+ to [\d.]+ \(",
        result.out,
        re.M,
    )
    assert Image.open(run / "prior.png").size[0] > 200
    cache = tmp_path / "cache"  # other tests count colours in the usual one
    short = [*STAGES, "--epochs", "0", "--critic_epochs", "0", "--data.cache", cache]
    commands.tiny(tmp_path / "first", *short).ok()
    (counted,) = cache.glob("prior-*.json")
    assert sum(json.loads(counted.read_text())["pixels"]) == 50 * 16 * 16
    counted.write_text(json.dumps({"pixels": [1] * 313}))  # so that counting again would show
    assert "has 0% of the pixels" in commands.tiny(tmp_path / "again", *short).ok().out


def test_unlabelled_photographs_are_refused_only_with_a_classifier(commands, photographs, tmp_path):
    options = ["--data.source", photographs, "--generator.global_size", "32", "--epochs", "0.2"]
    refused = commands.tiny(tmp_path / "no", "--arch", "ltbc", *options)
    refused.refusal("--loss.scene", "no classes", "subfolder", "ltbc_no_classifier")
    for name, words in {"a": ["ltbc", "--loss.scene", "0"], "b": ["ltbc_no_classifier"]}.items():
        commands.tiny(tmp_path / name, "--arch", *words, *options).ok()
        assert describe(tmp_path / name / "generator.safetensors")["generator"]["options"]["classes"] == 0


def test_classifier_learns_the_folders_classes(commands, draw, read, tmp_path):
    for number, name in enumerate(("forest", "sea", "town")):
        draw(tmp_path / "photographs" / name, 6, seed=number)
    options = ["--data.source", tmp_path / "photographs", "--generator.global_size", "32", "--epochs", "1"]
    commands.tiny(tmp_path / "run", "--arch", "ltbc", *options).ok()
    about = describe(tmp_path / "run/generator.safetensors")
    assert about["data"]["classes"] == ["forest", "sea", "town"] and about["generator"]["options"]["classes"] == 3
    assert all(line["scene"] > 0 for line in read.losses(tmp_path / "run"))


def test_ignored_options_of_other_architectures_are_listed(commands, tmp_path):
    result = commands.tiny(tmp_path, "--arch", "ugan", "--epochs", "0.1", "--generator.neurons", "low").ok()
    assert "ignored, because ugan has no such option: --generator.neurons low" in result.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--arch ugan --loss.scene 1", ["--loss.scene", "ugan has no scene classifier", "ltbc"]),
        ("--arch eccv16 --critic_epochs 1", ["--critic_epochs", "--loss.gan 0"]),
        ("--arch ugan --critic_epochs 1 --epochs 0", ["--critic_epochs without --epochs"]),
        ("--arch ugan --loss.gan 0 --loss.l1 0", ["nothing to learn", "--loss.l1"]),
        ("--loss.perceptual 1 --loss.perceptual_weights none.pth", ["none.pth"]),
        ("--lpips.weights random --data.size 32", ["--lpips.weights random", "auto, off or a file"]),
        ("--loss.soft_bins 314", ["--loss.soft_bins"]),
    ],
)
def test_conflicting_options_give_a_one_line_error(commands, tmp_path, options, named):
    commands.tiny(tmp_path, *shlex.split(options)).refusal(*named)


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ("--arch vgg16_autoencoder", "model.safetensors of timm/vgg16.tv_in1k"),
        ("--arch resnet18_autoencoder", "model.safetensors of timm/resnet18.a1_in1k"),
        ("--arch deoldify --loss.perceptual 0", "model.safetensors of timm/resnet34.a1_in1k"),
        ("--loss.perceptual 1", "model.safetensors of timm/vgg16.tv_in1k"),
        ("--loss.perceptual 1 --loss.perceptual_network lpips --data.size 32", "alexnet-owt-7be5be79.pth"),
    ],
)
def test_unavailable_weights_are_named_with_the_option(commands, tmp_path, options, file):
    option = "--loss.perceptual_weights" if "perceptual 1" in options else "--generator.backbone_weights"
    proxy = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    refused = commands.tiny(tmp_path, *shlex.split(options), **proxy)
    refused.refusal(file, "can't be downloaded", f"{option} FILE", "random")
