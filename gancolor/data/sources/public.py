"""Photographic data sets that can be downloaded by name. Nothing here imports torch."""

import os
from pathlib import Path

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


def absolute_source(source: str) -> str:
    """Make the path of a folder or of local shards absolute.

    Addresses and the names of data sets, which take precedence over folders, are returned unchanged.
    """
    if source.endswith(".tar") and "://" not in source:
        return os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111 - a pattern, not a path
    folder = Path(source).expanduser()
    return str(folder.resolve()) if source not in ("", "demo", *PUBLIC_DATA_SETS) and folder.is_dir() else source
