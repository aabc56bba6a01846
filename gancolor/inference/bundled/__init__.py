"""The bundled generator. README.md in this folder describes it and how it was trained."""

from pathlib import Path

from gancolor.inference.backends import has_torch

FOLDER = Path(__file__).parent


def default_generator() -> Path:
    """Return the bundled generator's file for the installed backend: PyTorch or ONNX Runtime."""
    return FOLDER / ("generator.safetensors" if has_torch() else "generator.onnx")
