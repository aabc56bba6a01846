"""A run's state: all that a resumed run needs, in one checkpoint file."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancolor.data.dataset import Dataset
from gancolor.models.checkpoint import open_checkpoint, save_checkpoint
from gancolor.training.gan_step import parameters_of
from gancolor.utils.errors import InputError

Part = nn.Module | torch.optim.Optimizer


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
    save_checkpoint(path, tensors, {"kind": "state", **about})


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
        InputError: the file can't be read, or belongs to different networks.
    """
    about, tensors = open_checkpoint(path)
    if about.get("kind") != "state":
        raise InputError(f"{path} is an exported generator, not a run's state")
    try:
        for name, part in parts.items():
            own = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
            if isinstance(part, nn.Module):
                part.load_state_dict(own)
            else:
                _load_optimizer(part, own)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, KeyError, IndexError, ValueError):
        raise InputError(f"{path} is the state of different networks from this command's") from None
    return about


def check_resumes(
    about: Mapping[str, Any], folder: Path, effective_batch: int, total_steps: int, data: Dataset
) -> None:
    """Raise InputError if a command can't continue from a state with this metadata."""
    if about["effective_batch"] != effective_batch:
        raise InputError(
            f"{folder} was started with an effective batch of {about['effective_batch']}, and now it is "
            f"{effective_batch}; start as many processes as before, or give a different --out"
        )
    if about["step"] > total_steps:
        raise InputError(
            f"{folder} has already been trained for {about['step']} steps, more than the {total_steps} of this "
            "command; give more --epochs, or a different --out"
        )
    if about["data"]["digest"] != data.digest:
        raise InputError(
            f"the photographs of {data.source.name} have changed since {folder} was started; give a different --out to "
            "train on the present ones"
        )


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the state of each parameter in the parameter's memory layout, which fused kernels need."""
    parameters = parameters_of(optimizer)
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
