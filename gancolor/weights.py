"""Published weights: torchvision's cache, its server, or a local file, with their sha256 checked. Nothing is unpickled
but tensors."""

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from gancolor import distributed
from gancolor.errors import InputError
from gancolor.files import file_digest

StateDict = dict[str, Tensor]


def cached_path(url: str) -> Path:
    """Where torchvision keeps the file of `url` (it need not be there)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def load_published(url: str, option: str, download: bool = True) -> StateDict:
    """The weights at `url`, from torchvision's cache or else its server. The start of the file's sha256 stands in its
    name (resnet18-f37072fd.pth), and is checked: torch itself takes a cached file of any contents.

    Args:
        option: the flag that takes a local file, for the error.
        download: False: the cache alone.

    Raises:
        InputError: the file can't be had, or isn't what its name says.
    """
    path = cached_path(url)
    instead = f"put {path.name} there, or give another with {option}"
    if not path.is_file() and not download:
        raise InputError(f"{path.name} is not in {path.parent}; {instead}")
    if not path.is_file():
        with distributed.one_at_a_time(path):
            if not path.is_file():
                _download(url, path, instead)
    if not file_digest(path).startswith(_hash_in_name(path)):
        raise InputError(f"{path} is not what its name says (its sha256 is another): delete it, then {instead}")
    return load_file(path)


def _download(url: str, path: Path, instead: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=_hash_in_name(path))
    except (OSError, RuntimeError) as error:  # RuntimeError: what came has another hash; it is not kept
        reason = getattr(error, "reason", error)
        raise InputError(f"{path.name} is not in {path.parent} and can't be downloaded ({reason}); {instead}") from None


def _hash_in_name(path: Path) -> str:
    """The start of the sha256 that a published file's name ends with; empty if it has none."""
    found = re.search(r"-([0-9a-f]{8,})\.", path.name)
    return found[1] if found else ""


def load_file(path: Path) -> StateDict:
    """The tensors of a .safetensors file, or of a PyTorch file read with weights_only=True.

    Raises:
        InputError: no such file, not weights, or it holds code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of in a foreign file, the error says
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch and safetensors raise a dozen types for the ways in which a file can be foreign
        raise InputError(f"{path} holds no weights that can be read (truncated, foreign, or with code in it)") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no dictionary of tensors")
    return state
