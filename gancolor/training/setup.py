"""Construction of networks, objective and colour prior from a configuration."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.color.bins import GAMUT, rebalancing
from gancolor.config.identity import to_dict
from gancolor.config.networks import GeneratorConfig
from gancolor.config.options import TrainConfig
from gancolor.data.dataset import Dataset
from gancolor.data.prior import color_prior
from gancolor.losses.objective import Objective
from gancolor.metrics.image import PictureDistance
from gancolor.models import build_discriminator, build_generator, generator_options
from gancolor.training.gan_step import GANStep
from gancolor.training.initialization import find_start, initialize
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware


@dataclass
class Setup:
    """Networks, objective and metadata of a run.

    Attributes:
        options: arguments that rebuild the generator: build_generator(arch, **options).
        prior: the training set's colour distribution over the bins (Q,), if the objective weights by it.
        rarity: the bins' weights derived from it (Q,).
        notes: messages for the user.
        trained_on: the photographs that the generator of `--init` has seen (`Start.trained_on`).
    """

    gan_step: GANStep
    options: dict[str, Any]
    prior: Tensor | None
    rarity: Tensor | None
    notes: list[str]
    trained_on: list[dict[str, Any]]


def set_up(config: TrainConfig, data: Dataset, hardware: Hardware) -> Setup:
    """Build networks and objective from options that `check_options` has accepted. The seed determines random weights.

    Raises:
        InputError: the photographs do not suit the options, or weights are unavailable.
    """
    options = {**to_dict(config.generator), "size": config.data.size, "classes": _classes(config, data)}
    torch.manual_seed(config.seed)
    start = find_start(config.init) if config.init else None
    if start:
        options["size"] = start.size(config.data.size)
    # In fine-tuning, the generator's file includes the backbone's weights.
    generator = build_generator(config.arch, **(options | {"backbone_weights": "random"} if start else options))
    discriminator = build_discriminator(config.data.size, **to_dict(config.discriminator))
    notes = initialize(start, generator, discriminator, config.init_sha256) if start else []
    trained_on = start.trained_on if start else []
    notes += _split_note(config, trained_on)
    if (hardware.device.type, hardware.precision) == ("cpu", "bf16"):
        _check_single_pixels(generator, config.data.size)
    if config.data.batch_size == config.optim.accumulate and config.optim.frozen_norm != "always":
        _try_one_photograph(generator, config.data.size)
    prior, rarity = None, None
    if config.loss.color_weighted or config.loss.bins:
        bins = getattr(generator, "bins", GAMUT)
        prior = color_prior(data.train, data.batches.kept, config.data.cache, bins)
        rarity = rebalancing(prior, config.loss.uniform)
    on_device = None if rarity is None else rarity.to(hardware.device)
    objective = Objective(config.loss, on_device, _perceptual(config, hardware), config.data.real_saturation)
    gan_step = GANStep(generator, discriminator, objective, config.optim, hardware, config.compile, config.cuda_graphs)
    return Setup(gan_step, options, prior, rarity, notes + _notes(config), trained_on)


def _split_note(config: TrainConfig, trained_on: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say if the generator that the run starts from has seen the run's validation photographs."""
    split = (config.seed, config.data.val_fraction)
    for seen in trained_on:
        if seen["source"] == config.data.source and seen["held_out"] and (seen["seed"], seen["val_fraction"]) != split:
            return [
                f"its training held out other photographs of {seen['source']} (--seed {seen['seed']}, "
                f"--data.val_fraction {seen['val_fraction']:g}), so it has seen most of this run's held-out ones"
            ]
    return []


def _classes(config: TrainConfig, data: Dataset) -> int:
    """Return the number of scene classes for the generator to classify: 0 without `--loss.scene`."""
    if not config.loss.scene:
        return 0
    classes = len(data.source.classes)
    if classes < 2:
        raise InputError(
            f"--loss.scene: the photographs of {data.source.name} have no classes to learn; put each class into a "
            "subfolder, or train without the classifier: --loss.scene 0, or --arch ltbc_no_classifier"
        )
    return classes


def _try_one_photograph(generator: nn.Module, size: int) -> None:
    """Raise InputError if one photograph leaves BatchNorm a single value per channel."""
    try:
        with torch.no_grad():
            copy.deepcopy(generator)(torch.zeros(1, 1, size, size))
    except ValueError:
        raise InputError(
            f"a batch of one photograph of {size} x {size} (or a micro-batch of one) leaves BatchNorm a single value: "
            "give a larger --data.batch_size, or a lower --optim.accumulate"
        ) from None


@torch.no_grad()
def _check_single_pixels(generator: nn.Module, size: int) -> None:
    """Raise InputError if a strided 3 x 3 convolution sees a single pixel.

    In bf16 on a CPU, oneDNN (torch 2.15) leaves the gradient of such a kernel (stride 2) unwritten. A similar bug of
    convolutions with an output of width 1: https://github.com/pytorch/pytorch/issues/169688
    """
    bad = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv2d)
        if layer.stride != (1, 1) and layer.kernel_size == (3, 3) and inputs[0].shape[-2:].numel() == 1:
            bad.append(layer)

    layers = [layer for layer in generator.modules() if isinstance(layer, nn.Conv2d)]
    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    training = generator.training
    generator.eval()(torch.zeros(1, 1, size, size))
    generator.train(training)
    for handle in handles:
        handle.remove()
    if bad:
        raise InputError(
            f"photographs of {size} x {size} shrink to a single pixel, for which the gradients of a convolution are "
            "wrong on a CPU in bf16: give --precision fp32, or a larger --data.size (or --generator.global_size)"
        )


def _perceptual(config: TrainConfig, hardware: Hardware) -> PictureDistance | None:
    if not config.loss.perceptual:
        return None
    from gancolor.losses.perceptual import perceptual_distance

    loss = config.loss
    return perceptual_distance(loss.perceptual_network, loss.perceptual_weights, hardware.device, config.data.size)


def _notes(config: TrainConfig) -> list[str]:
    """Return notes on non-default options that the architecture lacks, and on a random backbone that is frozen."""
    own = generator_options(config.arch)
    given = [
        f"--generator.{field.name} {getattr(config.generator, field.name)}"
        for field in fields(GeneratorConfig)
        if field.name not in own and getattr(config.generator, field.name) != field.default
    ]
    notes = [f"ignored, because {config.arch} has no such option: {', '.join(given)}"] if given else []
    frozen = "freeze_backbone" in own and config.generator.freeze_backbone
    if frozen and config.generator.backbone_weights == "random" and not config.init:
        notes.append("the backbone is random and frozen, so it never learns: give --generator.freeze_backbone false")
    return notes
