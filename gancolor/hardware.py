"""The device that trains and how it computes: precision, memory format, determinism."""

import os
import platform
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from gancolor.allocator import keep_freed_memory
from gancolor.config import Precision
from gancolor.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Hardware:
    """A device and the precision that networks run in on it."""

    device: torch.device
    precision: Precision

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last is what tensor cores read, and was measured to be the faster on CPUs; mps is untried."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of the networks' own arithmetic; losses and colours leave it."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)

    def place(self, tensor: Tensor) -> Tensor:
        """A (B, C, H, W) tensor on the device, in the networks' memory format."""
        return tensor.to(self.device, memory_format=self.memory_format)

    def place_network(self, network: Network) -> Network:
        """The network itself, on the device, its kernels in the memory format too."""
        return network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def peak_memory(self) -> float:
        """The most memory taken so far [GiB]: the accelerator's, or on a CPU the process's."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        try:
            import resource
        except ImportError:  # Windows
            return float("nan")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**30 if sys.platform == "darwin" else 2**20)

    def __str__(self) -> str:
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"{self.device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
        return f"{name}, {self.precision}"


def choose_hardware(device: str, precision: str, deterministic: bool = False) -> Hardware:
    """The hardware of `--device` and `--precision`, with torch's global switches set to it.

    Raises:
        InputError: a device or precision that this machine lacks.
    """
    chosen = torch.device(_choose_device(device))
    if precision == "auto":
        precision = _choose_precision(chosen.type)
    if precision in ("fp16", "tf32") and chosen.type != "cuda":
        raise InputError(f"--precision {precision} needs CUDA; on {chosen.type} take fp32 or bf16")
    if precision == "bf16" and chosen.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise InputError("--precision bf16: this card has none; take fp16")
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if chosen.type == "cpu":
        keep_freed_memory()
    return Hardware(chosen, precision)  # type: ignore[arg-type]


def _choose_precision(device_type: str) -> str:
    """bf16 where there are matrix units for it: CUDA from Ampere on, CPUs with AMX."""
    if device_type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(False) else "fp16"
    return "bf16" if device_type == "cpu" and torch.cpu._is_amx_tile_supported() else "fp32"


def _choose_device(device: str) -> str:
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in has.items() if there)
    if not has[device]:
        raise InputError(f"--device {device}: this machine has none; it has {', '.join(n for n in has if has[n])}")
    if device != "cuda":
        return device
    number = int(os.environ.get("LOCAL_RANK", 0))
    if number >= torch.cuda.device_count():
        raise InputError(f"this machine has {torch.cuda.device_count()} GPU(s): start no more processes than that")
    torch.cuda.set_device(number)
    return f"cuda:{number}"
