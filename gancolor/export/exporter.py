"""A checkpoint to a file of another format: converted, written, compared with the original, and only then given its
name."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gancolor.checkpoint import describe, load_generator
from gancolor.errors import InputError
from gancolor.export.description import public_description
from gancolor.export.formats import FORMATS, Writer
from gancolor.export.parity import TOLERANCES, Difference, check, compare
from gancolor.files import write_atomically


@dataclass(frozen=True)
class Exported:
    """A written file.

    Attributes:
        about: what it says of itself.
        differences: from the checkpoint it was made of.
    """

    path: Path
    format: str
    about: dict[str, Any]
    differences: list[Difference]


def export(checkpoint: Path, out: Path, format_name: str, half: bool = False) -> Exported:
    """Writes a checkpoint's generator to `out`, whole and like the original, or not at all.

    Args:
        checkpoint: an exported generator or a run's state.
        format_name: a name of FORMATS.
        half: store kernels and matrices as float16; what is computed stays float32.

    Raises:
        InputError: no checkpoint of ours, an architecture that the format can't hold, or a file that says something
            else than the original.
    """
    original = load_generator(checkpoint)
    weights = "float16" if half else "float32"
    about = public_description(describe(checkpoint)) | {"weights": weights}
    save = _convert(checkpoint, format_name, half)
    differences: list[Difference] = []

    def write(beside: Path) -> None:
        save(beside, about)
        differences.extend(compare(original, FORMATS[format_name].open(beside)))
        check(differences, weights)
        about["parity"] = {
            "sizes": [difference.to_dict() for difference in differences],
            "tolerance_ab": TOLERANCES[weights],
            "made_with": _versions(format_name),
        }
        save(beside, about)

    try:
        write_atomically(out, write)
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(out)) from None
    return Exported(out, format_name, about, differences)


def _convert(checkpoint: Path, format_name: str, half: bool) -> Writer:
    arch = describe(checkpoint)["generator"]["arch"]
    try:
        return FORMATS[format_name].convert(load_generator(checkpoint), half)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the exporters' exceptions have no common class
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{arch} can't be exported to {format_name} by torch {torch.__version__} ({reason}); take another --format"
        ) from None


def _versions(format_name: str) -> dict[str, str]:
    packages = ("torch", *FORMATS[format_name].packages)
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
