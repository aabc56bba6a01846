"""The run's state, and the exported generator. Both are safetensors files: tensors, and JSON about them in the header.
Nothing in them is code, and a file is whole or not there."""

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
    # Copied where they are slices of a larger one, which safetensors refuses.
    tensors = {name: _alone(tensor.detach().cpu()) for name, tensor in tensors.items()}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) + HEADROOM
    if needed > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, f"{path.name} takes {needed / 1e6:.0f} MB", str(path.parent))
    header = {KEY: write_header(about)}
    try:
        write_atomically(path, lambda beside: save_file(tensors, beside, header))
    except SafetensorError as error:  # which is also how it says that the disk is full
        found = re.search(r"os error (\d+)", str(error))
        if not found:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None


def _alone(tensor: Tensor) -> Tensor:
    """Contiguous, with a storage of its own."""
    tensor = tensor.contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _open(path: Path, only_header: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file of ours says of itself, and its tensors.

    Raises:
        InputError: missing, truncated, foreign, or of a newer version.
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
    """Networks' and optimizers' tensors by name (PART.TENSOR): the live ones, not copies."""
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        else:
            for number, state in part.state_dict()["state"].items():
                tensors |= {f"{name}.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def save_state(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Saves a run's state: its tensors, with JSON about them ("step" at least).

    Raises:
        FloatingPointError: a tensor, of a step, holds what is no number; nothing was written.
    """
    if bad := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
        raise FloatingPointError(f"{bad} of step {about['step']}")
    _save(path, tensors, {"kind": "state", **about})


class Saver:
    """Saves states in a thread, while training goes on."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._writing: Future[None] | None = None

    def save(self, path: Path, parts: Mapping[str, Part], about: Mapping[str, Any]) -> None:
        """Copies the state of parts, and returns; `save_state` goes on behind.

        Raises:
            OSError, FloatingPointError: of the state before, if that could not be saved; this one is written anyway.
        """
        try:
            self.wait()
        finally:
            copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state_tensors(parts).items()}
            self._writing = self._writer.submit(save_state, path, copies, about)

    def wait(self) -> None:
        """Until the state is on disk; raises what came in the way."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Until there is nothing left to write, whether it could be written or not."""
        self._writer.shutdown()


def load_state(path: Path, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Puts a saved state into the parts it was saved from, and returns what was said about it.

    Raises:
        InputError: a file that can't be read, or of other networks than these.
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
    """Fills in the state of each parameter, laid out in memory as the parameter is (fused kernels need that)."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        number, name = key.split(".")
        if name not in ("step", "exp_avg", "exp_avg_sq"):
            raise KeyError(key)
        parameter = parameters[int(number)]
        if name == "step":
            # A copy: what was read is mapped from the file, which could then not be replaced everywhere.
            optimizer.state[parameter][name] = value.to(parameter.device, copy=True)
        else:
            optimizer.state[parameter][name] = torch.empty_like(parameter).copy_(value)


def export_generator(path: Path, generator: nn.Module, about: Mapping[str, Any], half: bool = False) -> None:
    """Writes the generator to one file that describes itself.

    Args:
        about: "generator" ({"arch", "options"}: what builds it), and whatever is to be known of it: training data,
            configuration, step, metrics.
        half: store kernels and matrices as float16. Vectors (biases, statistics of norms) are a hundredth of the file
            and stay float32, as does all that is computed.
    """
    tensors = generator.state_dict()
    if half:
        tensors = {
            name: tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor
            for name, tensor in tensors.items()
        }
    _save(path, tensors, generator_header(about))


def generator_header(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of a generator says of itself in every format: `about`, and what it takes to use it."""
    normalisation = {"lightness": f"L / {L_HALF_RANGE:g} - 1", "chroma": f"ab / {AB_RANGE:g}"}
    return {"kind": "generator", "normalisation": normalisation, **about}


def read_tensors(path: Path, network: str) -> dict[str, Tensor]:
    """The tensors of an exported generator; of a run's state those of one network ("ema", "discriminator").

    Raises:
        InputError: missing, truncated, foreign, or of a newer version.
    """
    about, tensors = _open(path)
    if about.get("kind") == "state":
        start = f"{network}."
        tensors = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    return tensors


def describe(path: str | Path) -> dict[str, Any]:
    """What a checkpoint says of itself: architecture, options, training data, metrics, version. Raises InputError."""
    return _open(Path(path), only_header=True)[0]


def load_generator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """The generator of an exported file or a run's folder, or the averaged one of a run's state, ready to use
    (`eval()`). Lightness (B, 1, H, W) in [-1, 1] goes in, a `Prediction` of chroma (B, 2, H, W) in [-1, 1] comes out;
    nothing is executed from the file.

    Raises:
        InputError: no such file, a foreign or truncated one, one of a newer version or an unknown architecture.
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
    """The checkpoint that a path stands for: a file is itself; a run folder is its finished generator, else its best so
    far, else its last state.

    Raises:
        InputError: none there.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in ("generator.safetensors", "best.safetensors", "last.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: no checkpoint in this folder; is it a run's?")
