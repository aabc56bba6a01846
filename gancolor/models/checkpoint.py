"""Checkpoint files, and the exported generator.

Checkpoints are safetensors files with JSON metadata in the header. They contain no code, and are written atomically. A
run's saved state is also a checkpoint; training/run_state.py reads and writes it.
"""

import errno
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.models import build_generator
from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically
from gancolor.utils.hardware import Hardware
from gancolor.utils.metadata import KEY, read_header, write_header
from gancolor.utils.run_files import BEST, GENERATOR, LAST

HEADROOM = 2**20  # bytes


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and their metadata to a checkpoint file.

    Raises:
        OSError: the file can't be written, or the disk has not enough space.
    """
    # safetensors rejects slices of larger tensors, so copy those.
    tensors = {name: _alone(tensor.detach().cpu()) for name, tensor in tensors.items()}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) + HEADROOM
    if needed > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, f"{path.name} needs {needed / 1e6:.0f} MB", str(path.parent))
    header = {KEY: write_header(about)}
    try:
        write_atomically(path, lambda beside: save_file(tensors, beside, header))
    except SafetensorError as error:  # also raised when the disk is full
        found = re.search(r"os error (\d+)", str(error))
        if not found:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None


def _alone(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor with its own storage."""
    tensor = tensor.contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def open_checkpoint(path: Path, only_header: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a checkpoint's metadata and tensors.

    Raises:
        InputError: the file is missing, truncated, not a checkpoint, or from a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, "pt") as file:
            about = read_header(path, (file.metadata() or {}).get(KEY))
            names = [] if only_header else file.keys()
            return about, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError):
        if path.suffix.lower() in (".onnx", ".pt2"):
            raise InputError(
                f"{path} is not a gancolor checkpoint: such exports are only for colouring; give the run's folder, or "
                "export it again (gancolor export RUN -o generator.safetensors)"
            ) from None
        raise InputError(f"{path} is not a gancolor checkpoint, or is truncated") from None


def export_generator(path: Path, generator: nn.Module, about: Mapping[str, Any], half: bool = False) -> None:
    """Write the generator and its metadata to one file.

    Args:
        about: metadata: "generator" ({"arch", "options"}, which build it), and anything else, such as training data,
            configuration, step and metrics.
        half: store kernels and matrices as float16. Vectors (biases, normalization statistics) are 1 % of the file and
            stay float32, as does all computation.
    """
    tensors = generator.state_dict()
    if half:
        tensors = {
            name: tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor
            for name, tensor in tensors.items()
        }
    save_checkpoint(path, tensors, generator_header(about))


def generator_header(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a generator's metadata, the same in every file format: `about`, and how to normalize input and output."""
    normalization = {"lightness": f"L / {L_HALF_RANGE:g} - 1", "chroma": f"ab / {AB_RANGE:g}"}
    return {"kind": "generator", "normalization": normalization, **about}


def read_tensors(path: Path, network: str) -> dict[str, Tensor]:
    """Return the tensors of an exported generator, or of one network in a run's state ("ema", "discriminator").

    Raises:
        InputError: the file is missing, truncated, not a checkpoint, or from a newer version.
    """
    about, tensors = open_checkpoint(path)
    if about.get("kind") == "state":
        start = f"{network}."
        tensors = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    return tensors


def describe(path: str | Path) -> dict[str, Any]:
    """Return a checkpoint's metadata: architecture, options, training data, metrics, version. Raises InputError."""
    return open_checkpoint(Path(path), only_header=True)[0]


def load_generator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Load the generator of an exported file or a run's folder, or the EMA generator of a run's state, in eval mode.

    It maps lightness (B, 1, H, W) in [-1, 1] to a `GeneratorOutput` with chroma (B, 2, H, W) in [-1, 1]. Code in the
    file is never executed.

    Raises:
        InputError: the file is missing, truncated, not a checkpoint, from a newer version, or of an unknown
            architecture.
    """
    path = find_generator(path)
    about, tensors = describe(path), read_tensors(path, "ema")
    try:
        built = about["generator"]
        generator = build_generator(built["arch"], **{**built["options"], "backbone_weights": "random"})
        generator.load_state_dict(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError):
        raise InputError(f"{path}: its metadata do not fit its weights") from None
    return Hardware(torch.device(device), "fp32").place_network(generator.eval())


def find_generator(path: str | Path) -> Path:
    """Return the checkpoint for a path: a file itself, or a run folder's finished generator, else its best so far, else
    its last state.

    Raises:
        InputError: the folder has no checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in (GENERATOR, BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: no checkpoint in this folder; is it a run folder?")
