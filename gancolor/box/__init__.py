"""The generator that comes with gancolor: what it is and how it was made is said in README.md beside it."""

from pathlib import Path

from gancolor.runtimes import has_torch

FOLDER = Path(__file__).parent


def default_generator() -> Path:
    """Its file for what is installed: PyTorch's, or ONNX Runtime's."""
    return FOLDER / ("generator.safetensors" if has_torch() else "generator.onnx")
