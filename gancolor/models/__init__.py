"""Generators and discriminators, built by name. Builders take plain arguments, not a configuration."""

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING

from gancolor.choices import ARCHITECTURES, HINTED
from gancolor.utils.errors import InputError

if TYPE_CHECKING:  # so that importing this package does not import torch
    from torch import nn

    from gancolor.models.patchgan import PatchGAN

# Generators' options that do not change their parameters.
FREE_OPTIONS = {"dropout", "recompute", "freeze_backbone", "global_size", "temperature", "trunk"}


def generator_builder(arch: str) -> "Callable[..., nn.Module]":
    """Return the function that builds a generator, by the architecture's name.

    Raises:
        InputError: no such architecture, or its line in ARCHITECTURES names nothing.
    """
    if arch not in ARCHITECTURES:
        raise InputError(f"no architecture {arch!r}; choose from {', '.join(ARCHITECTURES)}")
    module, function = ARCHITECTURES[arch].rsplit(".", 1)
    name = f"{__name__}.{module}"
    try:
        return getattr(import_module(name), function)
    except (ModuleNotFoundError, AttributeError) as error:
        if error.name not in (name, function):  # a fault within the module
            raise
        raise InputError(
            f"{arch}: ARCHITECTURES in gancolor/choices.py says {ARCHITECTURES[arch]}, but {error}"
        ) from None


def generator_options(arch: str) -> set[str]:
    """Return the names of an architecture's options."""
    return set(signature(generator_builder(arch)).parameters)


def takes_hints(generator: "nn.Module") -> bool:
    """Return whether a generator takes colour hints as a second input."""
    return bool(getattr(generator, "takes_hints", False))


def would_take_hints(arch: str, options: Mapping[str, object]) -> bool:
    """Return whether a generator of these options would take colour hints."""
    return arch in HINTED or ("hints" in generator_options(arch) and bool(options.get("hints")))


def build_generator(arch: str, **options: object) -> "nn.Module":
    """Build a generator, by the architecture's name. Options that only other architectures have are ignored.

    Raises:
        InputError: no such architecture, or values of options that it can't take.
        TypeError: an option that no architecture has.
    """
    builder, own = generator_builder(arch), generator_options(arch)
    if unknown := options.keys() - own - set().union(*map(generator_options, ARCHITECTURES)):
        raise TypeError(f"no generator has the options {sorted(unknown)}")
    return builder(**{name: value for name, value in options.items() if name in own})


def build_discriminator(size: int, layers: int = 3, **options: object) -> "PatchGAN":
    """Build the discriminator for photographs of `size` x `size` pixels.

    Raises:
        InputError: the photographs are too small for this many layers.
    """
    from gancolor.models.patchgan import PatchGAN, least_size

    if size < least_size(layers):
        raise InputError(
            f"--data.size {size} is too small for --discriminator.layers {layers}, which needs {least_size(layers)}; "
            "give fewer layers or larger photographs"
        )
    return PatchGAN(layers, **options)  # type: ignore[arg-type]
