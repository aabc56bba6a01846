"""Checkpoint files: a run's state, and the exported generator.

Both are safetensors files with JSON metadata in the header. They contain no code, and are written atomically.
"""

import errno
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gancolor.errors import InputError
from gancolor.files import write_atomically
from gancolor.hardware import Hardware
from gancolor.header import KEY, read_header, write_header
from gancolor.lab import AB_RANGE, L_HALF_RANGE
from gancolor.models import build_generator

HEADROOM = 2**20  # bytes

Part = nn.Module | torch.optim.Optimizer


def _save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    # safetensors rejects slices of larger tensors, so copy those.
    tensors = {name: _alone(tensor.detach().cpu()) for name, tensor in tensors.items()}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) + HEADROOM
    if needed > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, f"{path.name} takes {needed / 1e6:.0f} MB", str(path.parent))
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


def _open(path: Path, only_header: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
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
        raise InputError(f"{path} is no gancolor checkpoint, or a truncated one") from None


def state_tensors(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Return the tensors of networks and optimizers by name (PART.TENSOR), without copying them."""
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        else:
            for number, state in part.state_dict()["state"].items():
                tensors |= {f"{name}.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def save_state(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Save a run's state: tensors, and JSON metadata (at least "step").

    Raises:
        FloatingPointError: a tensor is not finite; the message gives its name and the step, and nothing was written.
    """
    if bad := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
        raise FloatingPointError(f"{bad} of step {about['step']}")
    _save(path, tensors, {"kind": "state", **about})


class Saver:
    """Background thread that saves states while training continues."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._writing: Future[None] | None = None

    def save(self, path: Path, parts: Mapping[str, Part], about: Mapping[str, Any]) -> None:
        """Copy the state of `parts` and return; `save_state` continues in the background.

        Raises:
            OSError, FloatingPointError: the previous state could not be saved; this one is written anyway.
        """
        try:
            self.wait()
        finally:
            copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state_tensors(parts).items()}
            self._writing = self._writer.submit(save_state, path, copies, about)

    def wait(self) -> None:
        """Wait until the state is on disk, and raise any error from saving it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Wait for pending writes, without raising their errors."""
        self._writer.shutdown()


def load_state(path: Path, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Load a saved state into the parts it was saved from, and return its metadata.

    Raises:
        InputError: the file can't be read, or belongs to other networks.
    """
    about, tensors = _open(path)
    if about.get("kind") != "state":
        raise InputError(f"{path} is an exported generator, not a run's state")
    try:
        for name, part in parts.items():
            own = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
            if isinstance(part, nn.Module):
                part.load_state_dict(own)
            else:
                _load_optimizer(part, own)
    except (RuntimeError, KeyError, IndexError, ValueError):
        raise InputError(f"{path} is the state of other networks than this command's") from None
    return about


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the state of each parameter in the parameter's memory layout, which fused kernels need."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        number, name = key.split(".")
        if name not in ("step", "exp_avg", "exp_avg_sq"):
            raise KeyError(key)
        parameter = parameters[int(number)]
        if name == "step":
            # Copy: the loaded tensor is memory-mapped, and some systems can't replace a mapped file.
            optimizer.state[parameter][name] = value.to(parameter.device, copy=True)
        else:
            optimizer.state[parameter][name] = torch.empty_like(parameter).copy_(value)


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
    _save(path, tensors, generator_header(about))


def generator_header(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a generator's metadata, the same in every file format: `about`, and how to normalise input and output."""
    normalisation = {"lightness": f"L / {L_HALF_RANGE:g} - 1", "chroma": f"ab / {AB_RANGE:g}"}
    return {"kind": "generator", "normalisation": normalisation, **about}


def read_tensors(path: Path, network: str) -> dict[str, Tensor]:
    """Return the tensors of an exported generator, or of one network in a run's state ("ema", "discriminator").

    Raises:
        InputError: the file is missing, truncated, not a checkpoint, or from a newer version.
    """
    about, tensors = _open(path)
    if about.get("kind") == "state":
        start = f"{network}."
        tensors = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    return tensors


def describe(path: str | Path) -> dict[str, Any]:
    """Return a checkpoint's metadata: architecture, options, training data, metrics, version. Raises InputError."""
    return _open(Path(path), only_header=True)[0]


def load_generator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Load the generator of an exported file or a run's folder, or the EMA generator of a run's state, in eval mode.

    It maps lightness (B, 1, H, W) in [-1, 1] to a `Prediction` with chroma (B, 2, H, W) in [-1, 1]. Loading executes no
    code from the file.

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
        raise InputError(f"{path}: what it says of itself does not fit the weights in it") from None
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
    for name in ("generator.safetensors", "best.safetensors", "last.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: no checkpoint in this folder; is it a run's?")
