"""Fine-tuning: `--init` starts a run from a finished generator.

The architecture and its options come from the generator's file; parameters are copied by name.
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.config.identity import to_dict
from gancolor.config.networks import GeneratorConfig
from gancolor.config.options import TrainConfig
from gancolor.inference.bundled import BUNDLED, named_checkpoint
from gancolor.models import FREE_OPTIONS, generator_builder, generator_options
from gancolor.models.checkpoint import describe, find_generator, read_tensors
from gancolor.models.layers import RIGHT_VECTOR
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest
from gancolor.utils.metadata import section
from gancolor.utils.run_files import LAST

# Options that may be on where the file's is off: the weights of the new input channels start at zero.
ADDED = {"hints"}
CLASSIFIER = "classifier."  # prefix of parameters that depend on the photographs' classes


@dataclass(frozen=True)
class Start:
    """The generator that a run starts from.

    Attributes:
        name: as given by the user, for messages.
        path: the generator's file.
        about: the file's metadata.
        state: the state file of the generator's run, whose discriminator is copied too; None: there is none.
    """

    name: str
    path: Path
    about: dict[str, Any]
    state: Path | None

    @property
    def arch(self) -> str:
        return self.about["generator"]["arch"]

    @property
    def trained_on(self) -> list[dict[str, Any]]:
        """The photographs that the generator has seen, from its first training on, and how they were split, as far as
        its file says."""
        config, data = section(self.about, "config"), section(self.about, "data")
        last = {
            "source": data.get("source"),
            "held_out": data.get("held_out", False),
            "seed": config.get("seed"),
            "val_fraction": section(config, "data").get("val_fraction"),
        }
        return [*self.about.get("trained_on", []), *([last] if last["source"] else [])]

    def size(self, default: int) -> int:
        """Return the photographs' size that its architecture was built for, which decides the depth of some."""
        return self.about["generator"]["options"].get("size", default)

    def options(self) -> dict[str, Any]:
        """Return the options of this architecture that GeneratorConfig has, as the file's generator was built.

        A depth of None becomes the number of levels for the file's size, so that another --data.size does not change
        it. An option that is newer than the file gets the builder's default, which builds the architecture as it was
        before that option existed.
        """
        built = self.about["generator"]["options"]
        builder = inspect.signature(generator_builder(self.arch)).parameters
        own = generator_options(self.arch)
        options = {
            name: built.get(name, builder[name].default if name in builder else value)
            for name, value in to_dict(GeneratorConfig()).items()
        }
        if "depth" in own and options.get("depth") is None:
            from gancolor.models.unet import plain_depth

            options["depth"] = plain_depth(built["size"])
        return {name: value for name, value in options.items() if name in own}


def find_start(name: str) -> Start:
    """Resolve `--init NAME`: "bundled", an exported generator, or a run's folder.

    Raises:
        InputError: the file is missing, truncated, not a checkpoint, from a newer version, or of an unknown
            architecture.
    """
    given = named_checkpoint(name)
    try:
        path = find_generator(given)
        about = describe(path)
        generator_options(about["generator"]["arch"])
        understood = isinstance(about["generator"]["options"], dict) and isinstance(about["data"], dict)
    except InputError as error:
        raise InputError(f"--init {name}: {error}") from None
    except (KeyError, TypeError):
        understood = False
    if not understood:
        raise InputError(f"--init {name}: {path} does not describe the generator in it")
    state = path if about.get("kind") == "state" else given / LAST
    return Start(name, path, about, state if state.is_file() else None)


def as_flags(start: Start) -> list[str]:
    """Return the architecture, its options and the size of the photographs in training as command-line arguments."""
    words = {"arch": start.arch, **{f"generator.{name}": value for name, value in start.options().items()}}
    if size := start.about["data"].get("size"):
        words["data.size"] = size
    return [f"--{name}={'null' if value is None else value}" for name, value in words.items()]


def check_against_file(config: TrainConfig, start: Start) -> None:
    """Raise InputError, naming the option, if the architecture or a generator option contradicts the file."""
    if config.arch != start.arch:
        raise InputError(f"--arch {config.arch}: {start.name} holds {start.arch}; leave --arch out")
    given = to_dict(config.generator)
    for name, value in start.options().items():
        added = name in ADDED and given[name] and not value
        if name not in FREE_OPTIONS and given[name] != value and not added:
            raise InputError(f"--generator.{name} {given[name]}: {start.name} has {value}; leave it out")


def resolve(config: TrainConfig, start: Start) -> None:
    """Record the file's absolute path and sha256 in the configuration, which identify what the run starts from.

    Raises:
        InputError: the file's sha256 is not that of --init_sha256.
    """
    digest = file_digest(start.path)
    if config.init_sha256 not in (None, digest):
        raise InputError(
            f"--init {start.name}: {start.path} has changed: its sha256 is {digest}, not the expected "
            f"{config.init_sha256} (--init_sha256)"
        )
    config.init_sha256 = digest
    if config.init != BUNDLED:
        config.init = str(Path(str(config.init)).expanduser().resolve())


def initialize(
    start: Start, generator: nn.Module, discriminator: nn.Module, recorded_sha256: str | None = None
) -> list[str]:
    """Copy the file's parameters into the networks.

    Args:
        recorded_sha256: the file's sha256 in the run's configuration, which `resolve` recorded; None: not compared.

    Returns:
        Messages for the user: what the networks start from, and each layer that is not copied in full.

    Raises:
        InputError: the file's layers do not match this architecture, or the file is truncated or has changed.
    """
    try:
        lines = _copy(generator, read_tensors(start.path, "ema"))
    except InputError as error:
        raise InputError(f"--init {start.name}: {error}") from None
    step, digest = start.about.get("step"), file_digest(start.path)
    if recorded_sha256 not in (None, digest):  # decoding the photographs, in between, may take hours
        raise InputError(
            f"--init {start.name}: {start.path} has changed since this command started; give the command again, with "
            "a file that stays the same"
        )
    notes = [f"starts from {start.name} ({start.arch}, step {step}, sha256 {digest[:12]})", *lines]
    if start.state is None:
        return [*notes, "the discriminator starts from random weights: the file contains none"]
    # Copy all of the discriminator or nothing: a partly random one would not help.
    tensors = read_tensors(start.state, "discriminator")
    own = discriminator.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in tensors.items()}:
        return [*notes, f"the discriminator starts from random weights: that of {start.name} has different layers"]
    discriminator.load_state_dict(tensors)
    return [*notes, f"the discriminator starts from {start.state}"]


@torch.no_grad()
def _copy(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Copy tensors whose names and shapes match, and kernels that have fewer input channels in the file.

    The weights of new channels are zero, so that the network starts with exactly the file's output.

    Returns:
        A line for each layer that is not copied in full, and for layers of the file that are not used.

    Raises:
        InputError: the file has layers that the network lacks.
    """
    own = network.state_dict()
    unused = tensors.keys() - own.keys()
    if strange := sorted(name for name in unused if not name.startswith(CLASSIFIER)):
        raise InputError(f"it has a layer {_layer(strange[0])}, which this version's architecture does not have")
    lines = {CLASSIFIER: "  the file's scene classifier is left out: --loss.scene is 0"} if unused else {}
    for name, value in own.items():
        theirs, layer = tensors.get(name), _layer(name)
        if theirs is not None and theirs.shape == value.shape:
            value.copy_(theirs)
        elif theirs is not None and _has_more_inputs(network.get_submodule(layer), name, value, theirs):
            value.zero_()
            value[_corner(theirs)] = theirs
            lines.setdefault(layer, f"  {layer}: the weights of its new input channels start at zero")
        else:
            why = "not in the file" if theirs is None else f"{_size(theirs)} in the file, {_size(value)} here"
            lines.setdefault(layer, f"  {layer} starts from random weights: {why}")
    return list(lines.values())


def _layer(name: str) -> str:
    """Return the layer that a tensor belongs to, even if it is parametrized (spectral norm keeps two vectors)."""
    return re.sub(r"(\.parametrizations\..*|\.[^.]+)$", "", name)


def _has_more_inputs(layer: nn.Module, name: str, own: Tensor, theirs: Tensor) -> bool:
    """Return whether a convolution's tensor differs from the file's only in having more input channels.

    The tensor is a kernel (out, in, height, width), or spectral norm's right singular vector (in * height * width).
    """
    if not isinstance(layer, nn.Conv2d) or layer.groups > 1 or own.dim() != theirs.dim():
        return False
    if name.endswith(RIGHT_VECTOR):
        return len(own) > len(theirs)
    same_otherwise = own.dim() == 4 and own.select(1, 0).shape == theirs.select(1, 0).shape
    return same_otherwise and own.shape[1] > theirs.shape[1]


def _corner(tensor: Tensor) -> tuple[slice, ...]:
    return tuple(slice(size) for size in tensor.shape)


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
