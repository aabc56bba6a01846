"""Fine-tuning: `--init` starts a run from a finished generator.

The architecture and its options come from the generator's file; its parameters are taken over by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.box import FOLDER
from gancolor.checkpoint import describe, find_generator, read_tensors
from gancolor.config import GeneratorConfig, TrainConfig
from gancolor.errors import InputError
from gancolor.files import file_digest
from gancolor.models import generator_options
from gancolor.options import to_dict

BUNDLED = "bundled"
# Generator options that a fine-tuned generator may have otherwise than its file: they change none of its parameters.
FREE = {"dropout", "recompute", "backbone_weights", "freeze_backbone", "global_size", "temperature"}


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        name: as it was given, for messages.
        path: the generator's file.
        about: what the file says of itself.
        state: the state of the run that it is of, whose discriminator is taken over too; None: there is none.
    """

    name: str
    path: Path
    about: dict[str, Any]
    state: Path | None

    @property
    def arch(self) -> str:
        return self.about["generator"]["arch"]

    def options(self) -> dict[str, Any]:
        """Its generator's options that GeneratorConfig has, the depth worked out: it must not follow --data.size."""
        built = self.about["generator"]["options"]
        options = {name: built[name] for name in to_dict(GeneratorConfig()) if name in built}
        own = generator_options(self.arch)
        if "depth" in own and options.get("depth") is None:
            from gancolor.models.unet import plain_depth

            options["depth"] = plain_depth(built["size"])
        return {name: value for name, value in options.items() if name in own}


def find_start(name: str) -> Start:
    """What `--init NAME` stands for: "bundled", an exported generator, or a run's folder.

    Raises:
        InputError: no such file, a foreign or truncated one, one of a newer version or of an unknown architecture.
    """
    given = FOLDER / "generator.safetensors" if name == BUNDLED else Path(name).expanduser()
    try:
        path = find_generator(given)
        about = describe(path)
        generator_options(about["generator"]["arch"])
    except InputError as error:
        raise InputError(f"--init {name}: {error}") from None
    except (KeyError, TypeError):
        raise InputError(f"--init {name}: {path} does not say what generator it holds") from None
    state = given / "last.safetensors"
    return Start(name, path, about, state if given.is_dir() and state.is_file() else None)


def as_flags(start: Start) -> list[str]:
    """The architecture and its options as words of a command line."""
    words = {"arch": start.arch, **{f"generator.{name}": value for name, value in start.options().items()}}
    return [f"--{name}={'null' if value is None else value}" for name, value in words.items()]


def check_options(config: TrainConfig, start: Start) -> None:
    """Refuses options that contradict the file.

    Raises:
        InputError: which.
    """
    if config.arch != start.arch:
        raise InputError(f"--arch {config.arch}: {start.name} holds {start.arch}; leave --arch out")
    given = to_dict(config.generator)
    for name, value in start.options().items():
        if name not in FREE and given[name] != value:
            raise InputError(f"--generator.{name} {given[name]}: {start.name} has {value}; leave it out")


def resolve(config: TrainConfig, start: Start) -> None:
    """Names the file by its absolute path and its contents, by which a run is known.

    Raises:
        InputError: the file is not the one that --init_sha256 names.
    """
    digest = file_digest(start.path)
    if config.init_sha256 not in (None, digest):
        raise InputError(
            f"--init {start.name}: {start.path} has changed: its sha256 is {digest}, and --init_sha256 says "
            f"{config.init_sha256}"
        )
    config.init_sha256 = digest
    if config.init != BUNDLED:
        config.init = str(Path(str(config.init)).expanduser().resolve())


def initialize(start: Start, generator: nn.Module, discriminator: nn.Module) -> list[str]:
    """Takes the parameters over that fit.

    Returns:
        Lines for the user: what the networks start from, and each layer that does not.

    Raises:
        InputError: nothing fits.
    """
    lines, unmatched = _take_over(generator, read_tensors(start.path, "ema"))
    if len(unmatched) == len(generator.state_dict()):
        raise InputError(f"--init {start.name}: nothing in {start.path} fits this {start.arch}")
    step, digest = start.about.get("step"), file_digest(start.path)
    notes = [f"starts from {start.name} ({start.arch}, step {step}, sha256 {digest[:12]})", *lines]
    if start.state is None:
        return [*notes, "the discriminator starts fresh: there is none in the file"]
    # All of it or nothing: half a discriminator is none.
    tensors = read_tensors(start.state, "discriminator")
    own = discriminator.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in tensors.items()}:
        return [*notes, f"the discriminator starts fresh: that of {start.name} has other layers"]
    discriminator.load_state_dict(tensors)
    return [*notes, f"the discriminator starts from {start.state}"]


@torch.no_grad()
def _take_over(network: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Copies the tensors of equal names and shapes, and kernels of fewer input channels, whose new ones start at zero:
    so the network begins exactly where the file's ended.

    Returns:
        A line a layer that does not start from the file; and the tensors' names that do not.
    """
    lines, unmatched = [], []
    for name, own in network.state_dict().items():
        theirs = tensors.get(name)
        layer = re.sub(r"(\.parametrizations)?\.[^.]+$", "", name)
        if theirs is not None and theirs.shape == own.shape:
            own.copy_(theirs)
        elif theirs is not None and _has_more_inputs(own, theirs):
            own[:, : theirs.shape[1]] = theirs
            own[:, theirs.shape[1] :] = 0
            lines.append(f"  {layer}: its {own.shape[1] - theirs.shape[1]} new input channels start at zero")
        else:
            unmatched.append(name)
            why = "not in the file" if theirs is None else f"{_size(theirs)} in the file, {_size(own)} here"
            lines.append(f"  {layer} starts fresh: {why}")
    first_of_layer = {line.split(":")[0]: line for line in reversed(lines)}
    return [line for line in lines if first_of_layer[line.split(":")[0]] is line], unmatched


def _has_more_inputs(own: Tensor, theirs: Tensor) -> bool:
    """Whether kernels (out, in, height, width) differ in their input channels alone, and have more than the file's."""
    same = own.dim() == theirs.dim() == 4 and own.shape[0] == theirs.shape[0] and own.shape[2:] == theirs.shape[2:]
    return same and own.shape[1] > theirs.shape[1]


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
