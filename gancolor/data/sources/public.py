"""Photographic data sets that can be downloaded by name. Nothing here imports torch."""

import os
from pathlib import Path
from typing import NamedTuple

# Name -> (name in fastai's URLs, folder of the photographs in the unpacked archive)
PUBLIC_DATA_SETS = {
    "birds": ("CUB_200_2011", "CUB_200_2011/images"),
    "caltech_101": ("CALTECH_101", ""),
    "cars": ("CARS", ""),
    "coco_sample": ("COCO_SAMPLE", "train_sample"),
    "coco_tiny": ("COCO_TINY", "train"),
    "dogs_cats": ("DOGS", ""),
    "flowers": ("FLOWERS", "jpg"),
    "food": ("FOOD", "images"),
    "imagenette": ("IMAGENETTE", ""),
    "imagenette_160": ("IMAGENETTE_160", ""),
    "imagenette_320": ("IMAGENETTE_320", ""),
    "imagewoof": ("IMAGEWOOF", ""),
    "imagewoof_160": ("IMAGEWOOF_160", ""),
    "imagewoof_320": ("IMAGEWOOF_320", ""),
    "lsun_bedrooms": ("LSUN_BEDROOMS", ""),
    "pascal_2012": ("PASCAL_2012", ""),
    "pets": ("PETS", "images"),
}


HUB, HUB_STREAM = "hf:", "hf-stream:"  # before the name of a data set that Hugging Face's package `datasets` reads


class HubName(NamedTuple):
    """The parts of `hf:NAME:CONFIG#COLUMN`; NAME may be a local path, and `config` and `column` may be empty."""

    scheme: str
    name: str
    config: str
    column: str

    @property
    def local(self) -> bool:
        return bool(self.name) and Path(self.name).expanduser().exists()


def parse_hub_name(source: str) -> HubName | None:
    """Parse a source; None if it is of another kind."""
    scheme = next((scheme for scheme in (HUB, HUB_STREAM) if source.startswith(scheme)), None)
    if scheme is None or "://" in source:  # hf:// is an address of shards
        return None
    rest = source.removeprefix(scheme)
    before, _, after = rest.rpartition("#")
    name, column = (before, after) if before and not Path(rest).expanduser().exists() else (rest, "")
    if Path(name).expanduser().exists():
        return HubName(scheme, name, "", column)
    name, _, config = name.partition(":")
    return HubName(scheme, name, config, column)


def absolute_source(source: str) -> str:
    """Make the path of a folder or of local shards absolute.

    Addresses and the names of data sets, which take precedence over folders, are returned unchanged.
    """
    if source.endswith(".tar") and "://" not in source:
        return os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111 - a pattern, not a path
    if (hub := parse_hub_name(source)) and hub.local:
        return f"{hub.scheme}{Path(hub.name).expanduser().resolve()}{'#' * bool(hub.column)}{hub.column}"
    folder = Path(source).expanduser()
    return str(folder.resolve()) if source not in ("", "demo", *PUBLIC_DATA_SETS) and folder.is_dir() else source
