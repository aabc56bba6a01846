"""Checks for options that contradict each other, or that the device does not support, before training starts."""

import json
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from gancolor.choices import ARCHITECTURES
from gancolor.config.identity import to_dict
from gancolor.config.options import TrainConfig
from gancolor.losses.objective import ADVERSARIAL_TERMS, PENALTIES, TERMS, Objective
from gancolor.models import build_discriminator, build_generator, generator_options, would_take_hints
from gancolor.models.output import GeneratorOutput
from gancolor.training.initialization import find_start
from gancolor.training.tensorboard import check_tensorboard
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware

CHECKED = (75, 131)  # height and width of the lightness that generators are tried with: no multiple of any stride


def check_options(config: TrainConfig) -> None:
    """Reject conflicting options before any photograph is decoded.

    Raises:
        InputError: which options conflict, and what to do.
    """
    check_files(config)
    _check_losses(config)
    _check_stages(config)
    _check_hints(config)
    if config.data.batch_size % config.optim.accumulate:
        raise InputError(
            f"--optim.accumulate {config.optim.accumulate}: a batch of {config.data.batch_size} can't be split into "
            "that many equal micro-batches; give a divisor of --data.batch_size"
        )
    if config.compile and config.generator.recompute:
        raise InputError("--compile does not work with --generator.recompute: leave out one")
    if config.cuda_graphs and not config.compile:
        raise InputError("--cuda_graphs records compiled networks: give --compile too")
    measured = {"lpips": config.lpips.weights, "lpips_vgg": config.lpips.vgg_weights}
    if measured.get(config.eval.best_metric) == "off":
        option = "--lpips.weights" if config.eval.best_metric == "lpips" else "--lpips.vgg_weights"
        raise InputError(f"--eval.best_metric {config.eval.best_metric} needs {option} auto or FILE")
    if config.tracking.tensorboard:
        check_tensorboard()
    loads_weights = "backbone" in generator_options(config.arch) and config.generator.backbone_weights != "random"
    if loads_weights and not config.init:
        _check_weights(config.arch, json.dumps(to_dict(config.generator)))
    check_networks(config)


def _check_losses(config: TrainConfig) -> None:
    """Reject losses that the architecture or the discriminator has no use for, and too few to learn from."""
    classifiers = [arch for arch in ARCHITECTURES if "classes" in generator_options(arch)]
    if config.loss.scene and config.arch not in classifiers:
        raise InputError(f"--loss.scene: {config.arch} has no scene classifier; use --arch {' or '.join(classifiers)}")
    objective = Objective(config.loss)
    adversarial = objective.is_adversarial
    if config.epochs and adversarial and objective.penalizes and config.discriminator.norm == "batch":
        penalty = f"--loss.r1 {config.loss.r1:g}" if config.loss.r1 else "--loss.gan_mode wgan_gp"
        raise InputError(
            f"{penalty} penalizes the discriminator's gradient for each photograph, and BatchNorm mixes photographs: "
            "give --discriminator.norm instance (or none) too"
        )
    loss = to_dict(config.loss)
    no_target = {*PENALTIES, *ADVERSARIAL_TERMS, "scene"}
    reason = "no loss says which colours are right"
    if config.arch == "siggraph17":  # its bins and its chroma have separate heads
        no_target, reason = {*no_target, "bins"}, "no loss trains siggraph17's chroma, which --loss.bins does not reach"
    learns = any(loss[name] for name in TERMS if name not in no_target)
    advice = "give one that does a weight, such as --loss.l1 100"
    if config.pretrain_epochs and not learns:
        raise InputError(f"nothing to learn in pretraining: {reason}; {advice}")
    if config.epochs and not learns and not adversarial:
        raise InputError(f"nothing to learn: {reason}; {advice}")
    if config.arch == "siggraph17" and not config.loss.bins:
        raise InputError("--loss.bins 0: siggraph17's distribution would not be trained; give it a weight, such as 1")


def _check_stages(config: TrainConfig) -> None:
    """Reject a stage of the critic without use."""
    if config.critic_epochs and not Objective(config.loss).is_adversarial:
        raise InputError("--critic_epochs trains a discriminator, which --loss.gan 0 does not use: leave out one")
    if config.critic_epochs and not config.epochs:
        raise InputError("--critic_epochs without --epochs: the trained discriminator would not be used")


def _check_hints(config: TrainConfig) -> None:
    """Reject shares of hints that exceed all photographs, and hints that the generator can't take or learn from."""
    if config.hints.absent + config.hints.complete > 1:
        raise InputError("--hints.absent and --hints.complete are shares of the photographs: their sum is above 1")
    hints = would_take_hints(config.arch, to_dict(config.generator))
    if hints and config.generator.freeze_backbone and "backbone" in generator_options(config.arch):
        raise InputError(
            "--generator.hints with --generator.freeze_backbone: a frozen encoder ignores hints; train it, too"
        )
    if config.eval.hints and not hints:
        raise InputError("--eval.hints: the generator takes no hints; give --generator.hints true too")


@lru_cache  # most runs of a sweep have the same weights
def _check_weights(arch: str, generator: str) -> None:
    """Report missing backbone weights now, not after decoding; the generator's options are given as JSON."""
    build_generator(arch, **json.loads(generator))


def check_files(config: TrainConfig) -> None:
    """Reject files of weights that don't exist, before any photograph is decoded.

    Raises:
        InputError: which file is missing.
    """
    given = [
        ("lpips.weights", config.lpips.weights, ("auto", "off")),
        ("lpips.vgg_weights", config.lpips.vgg_weights, ("auto", "off")),
    ]
    if config.loss.perceptual:
        given.append(("loss.perceptual_weights", config.loss.perceptual_weights, ("imagenet", "random")))
    if "backbone" in generator_options(config.arch) and not config.init:
        given.append(("generator.backbone_weights", config.generator.backbone_weights, ("imagenet", "random")))
    for option, weights, words in given:
        if weights not in (*words, "random") and not Path(weights).is_file():  # LPIPS says itself why not random ones
            raise InputError(f"--{option} {weights}: no such file of weights; give {', '.join(words)} or a file")


def check_hardware(config: TrainConfig, hardware: Hardware) -> None:
    """Raise InputError for an option that the device does not support."""
    if config.cuda_graphs and hardware.device.type != "cuda":
        raise InputError(f"--cuda_graphs needs CUDA, and this run is on {hardware.device.type}: leave it out")


def check_networks(config: TrainConfig) -> None:
    """Reject networks that can't be built, and generators of another output than the trainer takes, without their
    weights: on torch's meta device, in milliseconds.

    Raises:
        InputError: which option is wrong, and what to do.
    """
    size = find_start(config.init).size(config.data.size) if config.init else config.data.size
    options = to_dict(config.generator) | {"size": size, "classes": 2 if config.loss.scene else 0}
    generator = json.dumps(options | {"backbone_weights": "random"})
    _check_networks(config.arch, generator, config.data.size, json.dumps(to_dict(config.discriminator)))


@lru_cache  # most runs of a sweep have the same networks
def _check_networks(arch: str, generator: str, size: int, discriminator: str) -> None:
    """See `check_networks`; the options of both networks are given as JSON."""
    with torch.device("meta"):
        network = "generator"
        try:
            built = build_generator(arch, **json.loads(generator))
            network = "discriminator"
            build_discriminator(size, **json.loads(discriminator))
        except RuntimeError as error:  # such as a kernel of more bytes than an address has
            reason = str(error).splitlines()[0]
            raise InputError(
                f"the {network} of these options can't be built: {reason}; give a lower --{network}.width"
            ) from None
        check_output(arch, built)


def check_output(arch: str, generator: nn.Module) -> None:
    """Raise InputError if a generator on the meta device does not return chroma of the lightness's size."""
    place = f"{arch} (gancolor/models/{ARCHITECTURES[arch].rsplit('.', 1)[0]}.py)"
    if not isinstance(generator, nn.Module):
        raise InputError(f"{place} returns {type(generator).__name__}, and not the network")
    lightness = torch.empty(2, 1, *CHECKED, device="meta")
    try:
        with torch.no_grad():
            output = generator.eval()(lightness)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{place} does not take lightness of shape {tuple(lightness.shape)}: {reason}") from None
    if not isinstance(output, GeneratorOutput):
        raise InputError(f"{place} returns {type(output).__name__}; it must return a GeneratorOutput")
    if output.chroma.shape != (2, 2, *CHECKED):
        raise InputError(
            f"{place} returns chroma of shape {tuple(output.chroma.shape)} for lightness of shape "
            f"{tuple(lightness.shape)}; it must be {(2, 2, *CHECKED)}"
        )
