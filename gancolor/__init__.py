"""gancolor: train, compare and use photograph colorization GANs."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load_generator"]

if TYPE_CHECKING:
    from gancolor.checkpoint import load_generator


def __getattr__(name: str) -> object:
    """Brings torch in when it is wanted, not before: `train.py --help` answers at once."""
    if name == "load_generator":
        from gancolor.checkpoint import load_generator

        return load_generator
    raise AttributeError(f"module 'gancolor' has no attribute {name!r}")
