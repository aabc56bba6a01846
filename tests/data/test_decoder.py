"""Decoding in every epoch. What a GPU would decode, a CPU does here, by the same call of torchvision."""

import shutil
from functools import partial

import pytest
import torch
from made_shards import write_shards
from PIL import Image

from gancolor.data import decode, decoder
from gancolor.data.decoder import Decoder
from gancolor.data.folders import list_photographs
from gancolor.data.photographs import load_photographs, load_source
from gancolor.data.shards import open_shards
from gancolor.data.sources import find_source
from gancolor.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def folder(photos, tmp_path):
    """Plain JPEG files, and others that not every decoder takes alike."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    with Image.open(folder / "01.jpg") as image:
        image.save(folder / "as_png.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / "turned.jpg", exif=exif)
        image.convert("CMYK").save(folder / "cmyk.jpg")
        image.convert("L").save(folder / "grey.jpg")
    return folder


@pytest.fixture
def by_gpu(monkeypatch):
    """How many files each call was given."""
    counts = []
    real = decode.decode_jpegs
    monkeypatch.setattr(decoder, "decode_jpegs", lambda files, gpu: counts.append(len(files)) or real(files, gpu))
    return counts


def taken(items, gpu):
    return Decoder(items, None, 24, "crop", gpu).take(torch.arange(len(items)))


def test_gpu_decodes_plain_jpeg_files_all_at_once(folder, by_gpu):
    items = list_photographs(folder)
    assert len(items) == 16
    assert torch.equal(taken(items, CPU), torch.stack([item.load(24) for item in items]))
    assert by_gpu == [13]  # not the PNG, the turned one and the one in CMYK
    assert torch.equal(taken(items, None), taken(items, CPU))


def test_what_the_gpu_can_not_decode_threads_do(folder, monkeypatch):
    def refuse(files, gpu):
        raise RuntimeError("nvJPEG: unsupported")

    items = list_photographs(folder)
    monkeypatch.setattr(decoder, "decode_jpegs", refuse)
    assert torch.equal(taken(items, CPU), taken(items, None))


@pytest.mark.parametrize(
    "spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-40])], ids=["gone", "cut"]
)
def test_file_that_can_not_be_decoded_any_more_is_named(folder, spoil):
    items = list_photographs(folder)
    spoil(folder / "03.jpg")
    with pytest.raises(InputError, match=r"^03\.jpg can't be decoded any more \((no such file|truncated)\)"):
        taken(items, CPU)


def test_photographs_of_a_folder_come_by_the_gpu(folder, tmp_path, by_gpu):
    photographs = load_photographs(list_photographs(folder), 24, tmp_path, decode="gpu")
    assert torch.equal(photographs.decoded_by(CPU).take(torch.tensor([2, 0])), photographs.take(torch.tensor([2, 0])))
    assert by_gpu == [2]


def test_photographs_in_shards_come_by_the_gpu(tmp_path, by_gpu):
    opened = partial(open_shards, size=24, cache=tmp_path, decode="gpu")
    source = find_source(str(write_shards(tmp_path / "shards", 2, 8)), opened=opened)
    train, val = load_source(source, 24, tmp_path, "gpu")
    every = torch.arange(len(train))
    assert torch.equal(train.decoded_by(CPU).take(every), train.take(every))
    assert by_gpu == [len(train)] and isinstance(val.pictures, torch.Tensor)


def test_without_torchvisions_decoder_it_is_refused(folder, tmp_path, monkeypatch):
    photographs = load_photographs(list_photographs(folder), 24, tmp_path / "cache", decode="gpu")
    monkeypatch.setattr("gancolor.data.photographs.DECODES_JPEG", False)
    with pytest.raises(InputError, match=r"^--data\.decode gpu: this torchvision has no decoder"):
        photographs.decoded_by(CPU)
