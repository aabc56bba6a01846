"""Data sets that the package `datasets` reads: loaded whole, and streamed."""

import logging
import time
from pathlib import Path

import pytest
import torch
from made_shards import jpeg

from gancolor.data.cache.photographs import load_source
from gancolor.data.decode import decode_bytes, fit_square
from gancolor.data.sources import huggingface
from gancolor.data.sources.find import find_source, open_source
from gancolor.data.sources.public import absolute_source, parse_hub_name
from gancolor.utils.errors import InputError

datasets = pytest.importorskip("datasets")
LABELS = datasets.ClassLabel(names=["boat", "cat", "tree"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep prepared data sets of the tests apart from the user's, and the bars of `to_parquet` away."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hf")))
    datasets.disable_progress_bars()


def made(numbers, columns=("image",), labels=True):
    """A data set of the scenes of these numbers; None is a row without a picture."""
    cells = [None if number is None else {"bytes": jpeg(number), "path": None} for number in numbers]
    features = {column: datasets.Image() for column in columns} | ({"label": LABELS} if labels else {})
    rows = dict.fromkeys(columns, cells) | ({"label": [n and n % 3 for n in numbers]} if labels else {})
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def parquet(folder: Path, **splits) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in splits.items():
        split.to_parquet(folder / f"{name}.parquet")
    return folder


def load(source: str, cache: Path, decode="once", **options):
    found = open_source(find_source(source, **options), 24, cache, decode=decode)
    return found, load_source(found, 24, cache, decode)


def expected(number: int) -> torch.Tensor:
    return fit_square(decode_bytes(jpeg(number)), 24)


@pytest.mark.parametrize("scheme", ["hf:", "hf-stream:"])
@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_splits_pictures_and_classes(tmp_path, scheme, kind):
    parts = {"train": made([0, 1, None, 3]), "validation": made([4, 5]), "test": made([6])}
    folder = tmp_path / "set"
    if kind == "parquet":
        parquet(folder, **parts)
    else:
        datasets.DatasetDict(parts).save_to_disk(folder)
    source, (train, val) = load(f"{scheme}{folder}", tmp_path / "cache")
    assert source.classes == ("boat", "cat", "tree") and not source.held_out
    assert list(train.names) == ["train/00000000", "train/00000001", "train/00000003"]
    assert train.skipped == {"train/00000002": "no picture in this row"}
    assert list(val.names) == ["validation/00000000", "validation/00000001"]
    assert torch.equal(train.take(torch.tensor([2]))[0], expected(3))
    assert train.labels.tolist() == [0, 1, 0] and val.labels.tolist() == [1, 2]


def test_a_stream_gives_the_same_as_the_whole_and_is_read_once(tmp_path, monkeypatch):
    folder = parquet(tmp_path / "set", train=made(range(10)))
    options = {"seed": 3, "val_fraction": 0.3, "limit": 5}
    _, whole = load(f"hf:{folder}", tmp_path / "one", **options)
    _, again = load(f"hf:{folder}", tmp_path / "two", "always", **options)
    found, streamed = load(f"hf-stream:{folder}", tmp_path / "three", **options)
    assert found.held_out and len(streamed[1]) == 3
    for one, two, three in zip(whole, again, streamed, strict=True):
        assert list(one.names) == list(two.names) and sorted(one.names) == sorted(three.names)
        same = three.subset(list(one.names))
        every = torch.arange(len(one))
        assert torch.equal(one.take(every), two.take(every)) and torch.equal(one.take(every), same.take(every))
        assert one.contents_digest == two.contents_digest == three.contents_digest
    monkeypatch.setattr(huggingface, "_streamed", lambda _: iter([pytest.fail] * 10))  # which are no photographs
    _, later = load(f"hf-stream:{folder}", tmp_path / "three", **options)
    assert later[0].digest == streamed[0].digest
    with pytest.raises(InputError, match=r"a stream is read once.*--data\.decode always; give hf:"):
        load(f"hf-stream:{folder}", tmp_path / "four", "always")


@pytest.mark.parametrize("scheme", ["hf:", "hf-stream:"])
def test_a_changed_data_set_is_read_again(tmp_path, scheme):
    for numbers in ([0, 1, 2], [3, 4, 5]):
        folder = parquet(tmp_path / "set", train=made(numbers, labels=False), valid=made(numbers[:1], labels=False))
        source, (train, _) = load(f"{scheme}{folder}", tmp_path / "cache")
        assert torch.equal(train.take(torch.tensor([0]))[0], expected(numbers[0]))
        assert source.classes == ()


def test_a_file_a_folder_of_pictures_and_a_column(tmp_path):
    folder = parquet(tmp_path / "set", one=made(range(4)), two=made(range(4), ("mask", "photo")))
    assert len(find_source(f"hf:{folder}/one.parquet").train) == 3
    assert len(find_source(f"hf:{folder}/two.parquet#photo").train) == 3
    pictures = tmp_path / "pictures"
    for name in ("train/boat/a", "train/cat/b", "test/cat/c"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / f"{name}.jpg").write_bytes(jpeg(len(name)))
    for scheme in ("hf:", "hf-stream:"):
        source, (train, val) = load(f"{scheme}{pictures}", tmp_path / "cache")
        assert (len(train), len(val), source.classes) == (2, 1, ("boat", "cat"))


def refusal(source: str) -> str:
    with pytest.raises(InputError) as error:
        find_source(source)
    message = str(error.value)
    assert message.startswith(f"--data.source {source}: ") and "\n" not in message
    return message


def test_what_is_not_clear_is_refused_in_one_line(tmp_path):
    text = datasets.Dataset.from_dict({"text": ["a"], "n": [1]})
    folder = parquet(tmp_path / "set", two=made(range(3), ("mask", "photo")), text=text, one=made([1]))
    two = f"hf:{folder}/two.parquet"
    assert refusal(two).endswith(f"several columns of pictures (mask, photo); name one, as in {two}#mask")
    assert refusal(f"{two}#foto").endswith("are mask, photo; did you mean photo?")
    assert refusal(f"hf:{folder}/text.parquet").endswith("no column of pictures in it, but text, n")
    assert refusal(f"hf:{folder}/one.parquet").endswith("1 photograph in it; two or more are needed")
    datasets.DatasetDict(one=text, two=text).save_to_disk(tmp_path / "parts")
    assert refusal(f"hf:{tmp_path}/parts").endswith("no split train in it, but one, two")
    (tmp_path / "empty").mkdir()
    assert "doesn't contain any data files" in refusal(f"hf:{tmp_path}/empty")
    assert refusal("hf:").endswith("write hf:NAME, hf:NAME:CONFIG or hf:./FOLDER")


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path):
    def rows():
        yield {"image": {"bytes": jpeg(0), "path": None}}
        raise OSError("connection\nlost")

    split = huggingface.HubSplit("hf-stream:x", "train", "1", rows(), "image", None, ())
    with pytest.raises(InputError, match=r"^--data\.source hf-stream:x: can't be loaded \(connection lost\)$"):
        huggingface.open_stream(split, 24, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("scheme", ["hf:", "hf-stream:"])
def test_offline_there_is_one_line_at_once(monkeypatch, capfd, scheme):
    huggingface_hub = huggingface.hub_package()

    def unreachable(*_, **__):
        raise huggingface_hub.errors.HTTPError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    start = time.monotonic()
    assert refusal(f"{scheme}nobody/nothing").endswith("the Hugging Face Hub can't be reached")
    assert time.monotonic() - start < 5
    assert capfd.readouterr().err == ""
    assert not datasets.config.HF_HUB_OFFLINE and logging.getLogger("datasets").level != logging.ERROR


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert refusal("hf:beans").endswith("it needs the package datasets: pip install 'gancolor[hf]'")


def test_names_are_parsed_and_paths_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "a#b:c").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_hub_name("hf:owner/name:small#photo") == ("hf:", "owner/name", "small", "photo")
    assert parse_hub_name("hf-stream:./a#b:c") == ("hf-stream:", "./a#b:c", "", "")
    assert parse_hub_name("hf://datasets/o/n/*.tar") is None
    assert absolute_source("hf:a#b:c#photo") == f"hf:{tmp_path}/a#b:c#photo"
    assert absolute_source("hf:owner/name:small") == "hf:owner/name:small"
