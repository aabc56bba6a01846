"""gancolor: train, compare and use photograph colorization GANs."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Colorizer", "Hint", "InputError", "__version__", "load_generator"]

if TYPE_CHECKING:
    from gancolor.inference.colorizer import Colorizer
    from gancolor.inference.hints import Hint
    from gancolor.models.checkpoint import load_generator
    from gancolor.utils.errors import InputError

_PLACES = {
    "Colorizer": "gancolor.inference.colorizer",
    "Hint": "gancolor.inference.hints",
    "InputError": "gancolor.utils.errors",
    "load_generator": "gancolor.models.checkpoint",
}


def __getattr__(name: str) -> object:
    """Import an attribute when it is first used, so that `train.py --help` is fast and colouring needs no PyTorch."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'gancolor' has no attribute {name!r}")
