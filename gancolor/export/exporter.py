"""Export of a checkpoint to another file format: convert it, write it to a temporary file, compare that with the
original, and only then rename it."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gancolor.export.description import public_description
from gancolor.export.formats import EXPORTERS, FileWriter
from gancolor.export.parity import TOLERANCES, Difference, check_parity, compare_outputs
from gancolor.models.checkpoint import describe, load_generator
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest, sync, write_atomically


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        about: its metadata.
        differences: from the checkpoint that it was made from.
        size: in bytes.
        sha256: in hexadecimal.
    """

    path: Path
    format: str
    about: dict[str, Any]
    differences: list[Difference]
    size: int
    sha256: str


def card_of(out: Path) -> Path:
    """Return the path of an exported file's model card."""
    return out.with_name(f"{out.name}.md")


def export(
    checkpoint: Path, out: Path, format_name: str, half: bool = False, card: Callable[[Exported], str] | None = None
) -> Exported:
    """Export a checkpoint's generator to `out`. Nothing is written unless the file is complete and its output matches
    the original's.

    Args:
        checkpoint: an exported generator or a run's state.
        format_name: a key of `formats.EXPORTERS`.
        half: store kernels and matrices as float16; computation stays float32.
        card: returns the text of a model card, for `card_of(out)`. Both files are written, or neither.

    Raises:
        InputError: not a checkpoint of gancolor's, weights that are not finite, an architecture that the format can't
            hold, or a file whose output differs from the original's.
    """
    original = load_generator(checkpoint)
    if damaged := next((name for name, tensor in original.state_dict().items() if not tensor.isfinite().all()), None):
        raise InputError(
            f"{checkpoint} itself is not finite: its weights ({damaged}) are damaged; nothing is written: use another "
            "checkpoint"
        )
    weights = "float16" if half else "float32"
    about = public_description(describe(checkpoint)) | {"weights": weights}
    save = _convert(checkpoint, format_name, half)
    differences: list[Difference] = []
    written: list[Exported] = []

    def write(beside: Path, beside_card: Path | None = None) -> None:
        save(beside, about)
        differences.extend(compare_outputs(original, EXPORTERS[format_name].open(beside)))
        check_parity(differences, weights)
        about["parity"] = {
            "sizes": [difference.to_dict() for difference in differences],
            "tolerance_ab": TOLERANCES[weights],
            "made_with": _versions(format_name),
        }
        save(beside, about)
        written.append(Exported(out, format_name, about, differences, beside.stat().st_size, file_digest(beside)))
        if card and beside_card:
            beside_card.write_text(card(written[0]), encoding="utf-8", errors="backslashreplace")
            sync(beside_card)

    try:
        if card is None:
            write_atomically(out, write)
        else:  # both are complete before either is renamed
            write_atomically(card_of(out), lambda of_card: write_atomically(out, lambda beside: write(beside, of_card)))
    except OSError as error:  # a full disk's error does not name the file
        raise OSError(error.errno, error.strerror, str(out)) from None
    return written[0]


def _convert(checkpoint: Path, format_name: str, half: bool) -> FileWriter:
    arch = describe(checkpoint)["generator"]["arch"]
    try:
        return EXPORTERS[format_name].convert(load_generator(checkpoint), half)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the exporters' exceptions have no common base class
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{arch} can't be exported to {format_name} by torch {torch.__version__} ({reason}); "
            "choose another --format"
        ) from None


def _versions(format_name: str) -> dict[str, str]:
    packages = ("torch", *EXPORTERS[format_name].packages)
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
