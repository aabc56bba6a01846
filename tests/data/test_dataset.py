"""A run's photographs: which of them are trained and validated on."""

import shutil

import pytest
import torch
from PIL import Image

from gancolor.config.options import DataConfig
from gancolor.data.dataset import Dataset
from gancolor.utils.errors import InputError


def dataset(folder, **options) -> Dataset:
    config = DataConfig(str(folder), size=16, batch_size=2, cache=str(folder.parent / "cache"), **options)
    return Dataset(config, 0, torch.device("cpu"))


@pytest.fixture
def folder(photos, tmp_path):
    """A folder with a split of its own, and a grey photograph in each part."""
    for part in ("train", "val"):
        shutil.copytree(photos, tmp_path / "photos" / part)
        Image.open(photos / "00.jpg").convert("L").save(tmp_path / "photos" / part / "grey.jpg")
    return tmp_path / "photos"


def test_grey_photographs_are_neither_trained_nor_validated_on(folder):
    data = dataset(folder)
    listing = data.listing()
    assert listing["train"]["left_out_as_grey"] == listing["val"]["left_out_as_grey"] == ["grey.jpg"]
    assert (listing["train"]["used"], listing["val"]["used"], len(data.val), data.left_out) == (12, 12, 12, 2)
    assert "grey.jpg" not in list(data.val.names)


@pytest.mark.parametrize(("least", "validated"), [(0.0, 13), (20.0, 12)])
def test_choice_of_vivid_photographs_does_not_change_what_runs_are_compared_on(folder, least, validated):
    data = dataset(folder, min_colorfulness=least)
    assert len(data.val) == validated and len(data.batches.kept) == (
        13 if least == 0 else sum(data.train.colorfulness >= 20)
    )


def test_held_out_grey_photographs_are_part_of_the_listed_split(photos, tmp_path):
    """Training uses all that the split does not name."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    for name in photos.iterdir():
        Image.open(name).convert("L").save(folder / f"grey-{name.name}")
    listing = dataset(folder, val_fraction=0.5).listing()
    grey = listing["val"]["left_out_as_grey"]
    assert grey and len(listing["split"]["val"]) == 12 == listing["val"]["used"] + len(grey)
    assert len(listing["train"]["left_out_as_grey"]) == 12 - len(grey)


def test_grey_validation_is_refused(folder):
    for path in (folder / "val").iterdir():
        Image.open(path).convert("L").save(path)
    with pytest.raises(InputError, match=r"its validation photographs \(13\) are all grey"):
        dataset(folder)
