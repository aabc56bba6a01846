"""The training device and how it computes: precision, memory format, determinism."""

import os
import platform
import sys
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from gancolor.choices import Precision
from gancolor.utils.environment import environment_number
from gancolor.utils.errors import InputError
from gancolor.utils.memory import keep_freed_memory

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Hardware:
    """A device and the precision of networks on it."""

    device: torch.device
    precision: Precision

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of networks and pictures: channels_last, which tensor cores use and which was measured to be
        faster on CPUs. mps, where that is untested, keeps the contiguous format."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def autocast(self) -> AbstractContextManager[None]:
        """Return an autocast context for the networks' own arithmetic; losses and colour conversion run outside it."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)

    def place(self, tensor: Tensor) -> Tensor:
        """Move a (B, C, H, W) tensor to the device, in the networks' memory format."""
        return tensor.to(self.device, memory_format=self.memory_format)

    def place_network(self, network: Network) -> Network:
        """Move the network itself to the device, with its kernels in the networks' memory format."""
        return network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def peak_memory(self) -> float:
        """Return the peak memory so far [GiB]: the GPU's on CUDA, else the process's."""
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


def choose_hardware(device: str, precision: str, deterministic: bool = False, keep_memory: bool = True) -> Hardware:
    """Return the hardware for `--device` and `--precision`, and set torch's global switches accordingly.

    Args:
        keep_memory: on a CPU, let the process keep freed memory (`--keep_freed_memory`).

    Raises:
        InputError: the machine lacks this device or precision.
    """
    chosen = torch.device(_choose_device(device))
    if precision == "auto":
        precision = _choose_precision(chosen.type)
    if precision in ("fp16", "tf32") and chosen.type != "cuda":
        raise InputError(f"--precision {precision} needs CUDA; on {chosen.type} use fp32 or bf16")
    if precision == "bf16" and not computes_bf16(chosen.type):
        if chosen.type == "cuda":
            raise InputError("--precision bf16: this GPU does not support it; use fp16")
        warnings.warn(
            "--precision bf16: this CPU is not known to support it natively; fp32 can be many times as fast",
            stacklevel=2,
        )
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if chosen.type == "cpu" and keep_memory:
        keep_freed_memory()
    return Hardware(chosen, precision)  # type: ignore[arg-type]


def computes_bf16(device_type: str) -> bool:
    """Return whether a device is known to have native bf16: NVIDIA's from Ampere on, CPUs with AMX or AVX-512 BF16.
    On a CPU with only AVX2, a convolution was measured to take 26 times as long in bf16 as in float32."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(False)
    return device_type != "cpu" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _choose_precision(device_type: str) -> str:
    """Return bf16 on CUDA and CPUs that support it natively, else fp16 on CUDA and fp32 elsewhere."""
    if device_type in ("cuda", "cpu") and computes_bf16(device_type):
        return "bf16"
    return "fp16" if device_type == "cuda" else "fp32"


def _choose_device(device: str) -> str:
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in has.items() if there)
    if not has[device]:
        raise InputError(f"--device {device}: not available here; available are {', '.join(n for n in has if has[n])}")
    if device != "cuda":
        return device
    number = environment_number("LOCAL_RANK", 0)
    if number >= torch.cuda.device_count():
        raise InputError(f"this machine has {torch.cuda.device_count()} GPU(s): start at most that many processes")
    torch.cuda.set_device(number)
    return f"cuda:{number}"
