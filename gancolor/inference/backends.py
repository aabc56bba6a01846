"""Inference backends for generators: PyTorch, and ONNX Runtime, which needs no PyTorch."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gancolor.color.arrays import Array
from gancolor.utils.errors import InputError
from gancolor.utils.metadata import KEY, read_header
from gancolor.utils.signals import delayed_ctrl_c

TRAINING = "pip install 'gancolor[train]'"
UNNAMED = ("generator", "best", "last")  # generic file stems: the folder's name says more


class Backend(Protocol):
    """Backend with a loaded generator.

    Attributes:
        about: metadata of the generator's file: architecture, training data, configuration, metrics.
        takes_hints: whether the generator takes colour hints.
        has_distribution: whether `distribution` gives probabilities of colours.
    """

    about: dict[str, Any]
    takes_hints: bool
    has_distribution: bool

    def distribution(self, lightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (B, Q, h, w) of colour bins, and the bins' centres (Q, 2) in [-1, 1]."""

    def __call__(self, lightness: Array, hints: Array | None = None) -> Array:
        """Predict chroma (B, 2, H, W) from lightness (B, 1, H, W), both in [-1, 1], and from hints (B, 3, H, W) if the
        generator takes them; all are arrays of the same library.

        Raises:
            MemoryError: the device's memory is full.
        """


class TorchBackend:
    """PyTorch backend: float32 on a CPU, half precision on CUDA."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        import torch

        from gancolor.models import takes_hints
        from gancolor.models.checkpoint import describe, find_generator, load_generator

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        path = find_generator(path)
        self.about = describe(path)
        self.torch = torch
        try:
            self.device = torch.device(device)
            self.network = load_generator(path, self.device)
            self.takes_hints = takes_hints(self.network)
            self.has_distribution = hasattr(self.network, "to_bins")
        except (RuntimeError, AssertionError) as error:
            why = str(error).splitlines()[0]
            if why.startswith("Expected one of"):  # followed by all that PyTorch could be built for
                why = "choose auto, cpu, cuda, cuda:1 or mps"
            raise InputError(f"device {device}: not available here ({why})") from None

    def __call__(self, lightness: Array, hints: Array | None = None) -> Array:
        chroma = self._run(lightness, hints).chroma.float()
        return chroma.cpu().numpy() if isinstance(lightness, np.ndarray) else chroma.to(lightness.device)

    def _run(self, lightness: Array, hints: Array | None = None) -> Any:
        """Return the network's `GeneratorOutput`. Raises MemoryError."""
        torch = self.torch
        given = [lightness] if hints is None else [lightness, hints]
        given = [torch.from_numpy(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in given]
        half = torch.bfloat16 if self.device.type == "cuda" and torch.cuda.is_bf16_supported(False) else torch.float16
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, half, enabled=self.device.type == "cuda"):
                return self.network(*(tensor.to(self.device) for tensor in given))
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            raise MemoryError(str(error).splitlines()[0]) from None

    def distribution(self, lightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (B, Q, h, w) of the colour bins and the bins' centres (Q, 2), chroma in [-1, 1]."""
        from gancolor.color.bins import bin_centres

        logits = self._run(lightness).bin_logits
        return logits.float().softmax(dim=1).cpu().numpy(), bin_centres(logits.shape[1]).numpy()


class OnnxBackend:
    """ONNX Runtime backend, on the CPU or another device that the installation supports."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # on by default in Linux builds, too: onnxruntime PR 27379
        try:
            with delayed_ctrl_c():
                import onnxruntime
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime"
            why = "is not installed: pip install 'gancolor[onnx]'" if missing else f"can't be imported ({error})"
            raise InputError(f"{path}: ONNX Runtime {why}") from None
        onnxruntime.set_default_logger_severity(3)
        providers = _providers(onnxruntime.get_available_providers(), device)
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=providers)
        except Exception as error:  # its exceptions have no common base class
            raise InputError(f"{path} {_not_opened(path, error)}") from None
        self.about = read_header(path, self.session.get_modelmeta().custom_metadata_map.get(KEY))
        self.takes_hints = "hints" in [given.name for given in self.session.get_inputs()]
        self.has_distribution = False  # exported files return chroma only

    def __call__(self, lightness: Array, hints: Array | None = None) -> Array:
        given = {"lightness": lightness} if hints is None else {"lightness": lightness, "hints": hints}
        if self.takes_hints and hints is None:
            batch, _, height, width = lightness.shape
            given["hints"] = np.zeros((batch, 3, height, width), np.float32)
        arrays = {name: a if isinstance(a, np.ndarray) else a.detach().cpu().numpy() for name, a in given.items()}
        try:
            (chroma,) = self.session.run(
                ["chroma"], {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}
            )
        except Exception as error:
            if not memory_is_full(error):
                raise
            raise MemoryError(str(error).splitlines()[0]) from None
        if isinstance(lightness, np.ndarray):
            return chroma
        import torch

        return torch.from_numpy(chroma).to(lightness.device)

    def distribution(self, lightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


def open_backend(path: Path, device: str = "auto") -> Backend:
    """Open the generator of an exported file (.safetensors, .onnx) or a run's folder.

    Raises:
        InputError: the file is missing, foreign, pickled (its code is never run) or of a newer version, or its backend
            is not installed.
    """
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint")
    if path.suffix.lower() == ".onnx":
        return OnnxBackend(path, device)
    if path.is_file() and path.suffix.lower() != ".safetensors":
        raise InputError(
            f"{path}: only .safetensors and .onnx are opened, since other kinds can hold code; export the generator "
            "again (gancolor export RUN -o generator.safetensors)"
        )
    if not has_torch():
        raise InputError(
            f"{path} needs PyTorch, fastai, kornia and timm: {TRAINING}, or export it to ONNX (gancolor export)"
        )
    return TorchBackend(path, device)


def trained_size(about: Mapping[str, Any]) -> int:
    """Return the side of the photographs that a generator was trained on [pixels]; 256 if its file does not say.

    Args:
        about: metadata of the generator's file.
    """
    return int((about.get("data") or {}).get("size", 256))


def generator_name(path: Path) -> str:
    """Return the name of a checkpoint: a run folder's own name, or a file's stem, or its folder's name if the stem is
    generic."""
    path = path.resolve()
    if not path.is_dir() and path.stem not in UNNAMED:
        return path.stem
    folder = path if path.is_dir() else path.parent
    return folder.name or path.stem


def has_torch() -> bool:
    """Return whether PyTorch can run generators: it and the packages that they are built with are installed."""
    from importlib.util import find_spec

    return all(find_spec(package) is not None for package in ("torch", "fastai", "kornia", "safetensors", "timm"))


def _providers(available: list[str], device: str) -> list[Any]:
    """Return ONNX Runtime's providers for a device, with their options."""
    wanted = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}
    if device == "auto":
        return [name for name in wanted.values() if name in available]
    kind, _, number = device.partition(":")
    if wanted.get(kind) not in available:
        raise InputError(f"device {device}: not available in this ONNX Runtime; available are {', '.join(available)}")
    if kind == "cuda" and number:
        return [(wanted[kind], {"device_id": number}), wanted["cpu"]]
    return list(dict.fromkeys([wanted[kind], wanted["cpu"]]))


def _not_opened(path: Path, error: Exception) -> str:
    """Return why ONNX Runtime could not open a file, to put after the file's name."""
    if memory_is_full(error):
        return "is too large for this machine's memory"
    weights = _file_of_weights(path.read_bytes() if path.is_file() else b"")
    if weights and not path.with_name(weights).is_file():
        return f"needs {weights} beside it, which has its weights: copy both"
    if type(error).__name__ in ("InvalidProtobuf", "InvalidArgument"):
        return "is not an ONNX model, or is truncated"
    if weights:
        return f"can't be opened: {weights} beside it, which has its weights, is truncated or another one's"
    return f"can't be opened by this ONNX Runtime ({str(error).splitlines()[0].rpartition(') ')[2]})"


def _file_of_weights(model: bytes) -> str:
    """Return the name of the file that has an ONNX model's weights, or an empty string if the model itself has them."""
    found = re.search(rb"\n\x08location\x12(.)", model, re.DOTALL)  # protobuf: a key, then its value's length
    return model[found.end() :][: found[1][0]].decode(errors="replace") if found else ""


def memory_is_full(error: Exception) -> bool:
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or any(
        words in text
        for words in (
            "out of memory",
            "not enough memory",
            "can't allocate memory",
            "failed to allocate",
            "bad_alloc",
            "bad allocation",
        )
    )
