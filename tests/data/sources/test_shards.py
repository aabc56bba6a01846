"""Photographs in shards: found, read through once, divided, decoded once or always."""

import io
import itertools
import json
import os
import shutil
import sys
import tarfile

import fsspec
import pytest
import torch
from made_shards import jpeg, shard, tar, write_shards
from PIL import Image, ImageColor

from gancolor.data.cache.photographs import load_source
from gancolor.data.decode import decode_bytes, fit_square
from gancolor.data.loader import Batches
from gancolor.data.sources.find import find_source, open_source
from gancolor.data.sources.shards import expand
from gancolor.data.sources.tars import read_samples
from gancolor.utils.errors import InputError
from gancolor.utils.ignored_files import IgnoredFiles

CPU = torch.device("cpu")


@pytest.fixture
def memory():
    """A file system in memory, as a remote one: a function that puts shards there."""
    fs = fsspec.filesystem("memory")

    def put(name: str, data: bytes) -> None:
        fs.pipe_file(f"/bucket/{name}", data)

    yield put
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def load(source, cache, decode="once", size=24, **options):
    """(training, validation) photographs of shards."""
    found = open_source(find_source(str(source), **options), size, cache, decode=decode)
    return load_source(found, size, cache, decode)


def same(one, other) -> bool:
    """The same photographs, in the same order, bit for bit."""
    every = torch.arange(len(one))
    return (
        one.names == other.names
        and torch.equal(one.take(every), other.take(every))
        and torch.equal(one.labels, other.labels)
        and torch.equal(one.colorfulness, other.colorfulness)
        and one.contents_digest == other.contents_digest
    )


# What is a photograph ---------------------------------------------------------------------------------------------


def samples(files: dict[str, bytes]) -> list[tuple[str, str]]:
    found = read_samples(io.BytesIO(tar(files)), "x.tar", IgnoredFiles())
    return [(sample.member.name, sample.class_name) for sample in found]


def test_files_of_one_key_are_one_photograph_with_its_class():
    files = {
        "0.cls": b"7\n", "0.jpg": b"a", "0.seg.png": b"b",
        "1.png": b"c", "1.json": json.dumps({"cls": 12, "caption": "a cat"}).encode(),
        "2.jpg": b"d", "2.json": json.dumps({"label": "cat"}).encode(),
        "sea/3.jpg": b"e", "4.JPEG": b"f", "4.json": b"[not json", "5.txt": b"g", ".6.jpg": b"h", "7.jpg": b"i",
    }  # fmt: skip
    expected = [("0.jpg", "7"), ("1.png", "12"), ("2.jpg", "cat"), ("sea/3.jpg", "sea"), ("4.JPEG", ""), ("7.jpg", "")]
    assert samples(files) == expected


def test_files_of_other_suffixes_are_counted():
    ignored = IgnoredFiles()
    files = {"0.jpg": b"a", "0.cls": b"7", "0.txt": b"b", "1.CR2": b"c", "d/2.cr2": b"d", "3": b"e", ".4.cr2": b"f"}
    assert len(list(read_samples(io.BytesIO(tar(files)), "x.tar", ignored))) == 1
    assert str(ignored) == "2 .cr2, 1 without a suffix"


def test_links_are_counted():
    ignored, stream = IgnoredFiles(), io.BytesIO(tar({"0.jpg": b"a"}))
    with tarfile.open(fileobj=stream, mode="a") as file:
        for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"{ord(kind)}.jpg")
            info.type, info.linkname = kind, "0.jpg"
            file.addfile(info)
    stream.seek(0)
    assert len(list(read_samples(stream, "x.tar", ignored))) == 1
    assert str(ignored) == "2 .jpg that is no file"


def test_pictures_with_dots_in_their_names_are_all_taken():
    assert samples({"./a.2020.01.jpg": b"a", "./a.2020.02.jpg": b"b"}) == [("a.2020.01.jpg", ""), ("a.2020.02.jpg", "")]


def test_bytes_are_where_the_index_says(tmp_path):
    data = shard(range(5), 2)
    for number, sample in enumerate(read_samples(io.BytesIO(data), "", IgnoredFiles())):
        begin = sample.member.offset
        assert data[begin : begin + len(sample.member.data)] == sample.member.data == jpeg(number)


@pytest.mark.parametrize("cut", [0, 100, 512, 1500, 5120, 9000, 10240])
def test_truncated_shard_is_refused_by_name(cut):
    """Also where it ends between two photographs, which tarfile takes for the end."""
    data = shard(range(6))
    with pytest.raises(InputError, match=r"^bucket/x\.tar: (truncated|no tar file).*make or fetch it again$"):
        list(read_samples(io.BytesIO(data[:cut]), "bucket/x.tar", IgnoredFiles()))


def test_damaged_header_is_refused():
    data = bytearray(shard(range(6)))
    sample = list(read_samples(io.BytesIO(bytes(data)), "", IgnoredFiles()))[3]
    data[sample.member.offset - 512 : sample.member.offset - 500] = b"\xff" * 12
    with pytest.raises(InputError, match=r"x\.tar: truncated or damaged after byte"):
        list(read_samples(io.BytesIO(bytes(data)), "x.tar", IgnoredFiles()))


def test_streams_that_give_little_at_a_time_are_read_whole():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 700))

    assert len(list(read_samples(Slow(shard(range(6))), "x.tar", IgnoredFiles()))) == 6


# Which shards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("a-{9..10}.tar", ["a-9.tar", "a-10.tar"]),
        ("a-{0..10}.tar", [f"a-{number}.tar" for number in range(11)]),
        ("a-{02..0}.tar", ["a-02.tar", "a-01.tar", "a-00.tar"]),
        ("{x,y}-{0..1}.tar", ["x-0.tar", "x-1.tar", "y-0.tar", "y-1.tar"]),
    ],
)
def test_braces_are_expanded_as_by_shells(pattern, names):
    assert expand(pattern) == names


@pytest.mark.parametrize("name", ["set", "set [v1]"])
@pytest.mark.parametrize("pattern", ["", "*.tar", "train-{000..002}.tar", "{train-000,train-001,train-002}.tar"])
def test_folder_and_patterns_find_the_same(tmp_path, name, pattern):
    if "[" in name and "*" in pattern:
        return  # there, brackets are a part of the pattern
    folder = write_shards(tmp_path / name, 3, 4)
    train, val = load(f"{folder}/{pattern}" if pattern else folder, tmp_path / "cache")
    names = [f"train-{index:03d}/{number:04d}.jpg" for index in range(3) for number in range(4 * index, 4 * index + 4)]
    assert sorted([*train.names, *val.names]) == names and len(val) == 1
    assert list(train.names) == sorted(train.names)


def test_names_that_are_not_utf_8_are_read(tmp_path):
    folder = write_shards(tmp_path / os.fsdecode(b"caf\xe9"), 2, 4, name=os.fsdecode(b"caf\xe9"))
    train, val = load(folder, tmp_path / os.fsdecode(b"cach\xe9"))
    assert {*train.names, *val.names} >= {"caf\\xe9-000/0000.jpg", "caf\\xe9-001/0007.jpg"}
    assert all(int(name[-8:-4]) < 8 for name in train.names) and len(train.take(torch.arange(2))) == 2


def test_train_and_val_folders_are_the_split_and_number_classes_alike(tmp_path):
    folder = tmp_path / "set"
    write_shards(folder / "train", 2, 6, classes=3)
    (folder / "val").mkdir()
    (folder / "val" / "0.tar").write_bytes(tar({"x.jpg": jpeg(50), "x.cls": b"2", "y.jpg": jpeg(51), "y.cls": b"10"}))
    found = find_source(str(folder))
    source = open_source(found, 24, tmp_path / "cache")
    assert source.classes == ("0", "1", "2", "10") and not source.held_out
    train, val = load_source(source, 24, tmp_path / "cache")
    assert train.labels.tolist() == [0, 1, 2] * 4 and val.labels.tolist() == [2, 3]
    assert [item.label for item in source.val] == [2, 3]
    alone = open_source(found, 24, tmp_path / "cache", val_only=True)
    assert len(alone.train) == 0 and len(alone.val) == 2


@pytest.mark.parametrize(("train", "val"), [("Train", "VAL"), ("training", "Validation"), ("TRAIN", "testing")])
def test_parts_may_be_in_any_case_and_have_synonyms(tmp_path, train, val, capsys):
    write_shards(tmp_path / train, 1, 4)
    write_shards(tmp_path / val, 1, 2)
    source = find_source(str(tmp_path))
    assert len(source.train.paths) == len(source.val.paths) == 1 and f"/{val}/" in source.val.paths[0]
    assert capsys.readouterr().err == ""


def test_shards_that_look_like_several_parts_are_warned_of(tmp_path, capsys):
    write_shards(tmp_path, 2, 2, name="imagenet-train")
    find_source(str(tmp_path))
    assert capsys.readouterr().err == ""
    write_shards(tmp_path, 1, 2, name="imagenet-val")
    assert find_source(str(tmp_path)).val is None
    warning = capsys.readouterr().err
    assert warning.startswith(f"gancolor: warning: {tmp_path}: imagenet-val-000.tar in it looks like part of a split")
    assert warning.count("\n") == 1


def test_folders_in_shards_are_classes_and_one_without_takes_all(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.tar").write_bytes(tar({"sea/1.jpg": jpeg(1), "forest/2.jpg": jpeg(2), "sea/3.jpg": jpeg(3)}))
    source = open_source(find_source(str(folder)), 24, tmp_path / "cache")
    assert source.classes == ("forest", "sea")
    assert {item.name: item.label for item in [*source.train, *source.val]} == {
        "a/sea/1.jpg": 1, "a/forest/2.jpg": 0, "a/sea/3.jpg": 1,
    }  # fmt: skip
    (folder / "b.tar").write_bytes(tar({"4.jpg": jpeg(4)}))
    source = open_source(find_source(str(folder)), 24, tmp_path / "cache")
    assert source.classes == () and {item.label for item in [*source.train, *source.val]} == {-1}


def test_photographs_beside_shards_win(tmp_path, photos):
    folder = shutil.copytree(photos, tmp_path / "set")
    (folder / "backup.tar").write_bytes(shard(range(3)))
    assert len(find_source(str(folder)).train) + len(find_source(str(folder)).val) == 12


# Read through once ------------------------------------------------------------------------------------------------


def test_photographs_are_those_of_the_shards(tmp_path):
    train, val = load(write_shards(tmp_path / "set", 2, 5, classes=5), tmp_path / "cache")
    for part in (train, val):
        for index, name in enumerate(part.names):
            number = int(name[-8:-4])
            assert torch.equal(part.take(torch.tensor([index]))[0], fit_square(decode_bytes(jpeg(number)), 24))
            assert part.labels[index] == number % 5


def test_later_starts_read_no_shard_unless_one_has_changed(tmp_path, monkeypatch):
    folder, opened = write_shards(tmp_path / "set", 2, 5), []
    open_ = fsspec.implementations.local.LocalFileSystem.open
    monkeypatch.setattr(
        fsspec.implementations.local.LocalFileSystem, "open",
        lambda self, path, *how, **more: opened.append(path) or open_(self, path, *how, **more),
    )  # fmt: skip
    first = load(folder, tmp_path / "cache")
    assert len(opened) == 2
    second = load(folder, tmp_path / "cache")
    assert len(opened) == 2 and all(map(same, first, second))
    (folder / "train-001.tar").write_bytes(shard(range(50, 57)))
    assert len(load(folder, tmp_path / "cache")[0]) == 11 and len(opened) == 4


@pytest.mark.parametrize("decode", ["once", "always"])
def test_damaged_pictures_in_shards_are_skipped_and_listed(tmp_path, decode):
    (tmp_path / "set").mkdir()
    files = {f"{number}.jpg": jpeg(number) for number in range(8)} | {"3.jpg": jpeg(3)[:300], "5.jpg": b"no picture"}
    (tmp_path / "set" / "a.tar").write_bytes(tar(files))
    train, val = load(tmp_path / "set", tmp_path / "cache", decode)
    assert len(train) + len(val) == 6
    assert set(train.skipped) == {"a/3.jpg", "a/5.jpg"} and train.skipped["a/3.jpg"] == "truncated"
    for part in (train, val):
        for name, picture in zip(part.names, part.take(torch.arange(len(part))), strict=True):
            assert torch.equal(picture, fit_square(decode_bytes(files[name.removeprefix("a/")]), 24))


def test_limits_take_photographs_in_the_shards_order(tmp_path):
    folder = write_shards(tmp_path / "set", 2, 10)
    few, _ = load(folder, tmp_path / "cache", limit=5, val_limit=1)
    more, _ = load(folder, tmp_path / "cache", limit=9)
    assert len(few) == 5 and set(few.names) <= set(more.names) and list(few.names) == sorted(few.names)


# Decoded always -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [False, True])
def test_always_is_bit_for_bit_what_once_is(tmp_path, split):
    folder = tmp_path / "set"
    write_shards(folder / "train" if split else folder, 3, 6, classes=4)
    if split:
        write_shards(folder / "val", 1, 4, classes=4, name="val")
    once, always = (load(folder, tmp_path / decode, decode) for decode in ("once", "always"))
    assert all(map(same, once, always))
    train_pictures = [
        path for path in (tmp_path / "always").glob("*/pictures.u8") if path.stat().st_size > 5 * 3 * 24**2
    ]
    assert not train_pictures  # those of validation alone


def test_changed_shard_is_validated_on_as_it_is(tmp_path):
    """Its validation photographs too are decoded anew, though they lie where others did."""
    (tmp_path / "set").mkdir()
    for colour in ("red", "blue"):
        files = {}
        for number in range(4):
            picture = io.BytesIO()
            Image.new("RGB", (24, 24), colour).save(picture, "BMP")
            files[f"{number}.bmp"] = picture.getvalue()
        (tmp_path / "set" / "a.tar").write_bytes(tar(files))
        for part in load(tmp_path / "set", tmp_path / "cache", "always"):
            assert part.take(torch.tensor([0]))[0, :, 0, 0].tolist() == list(ImageColor.getrgb(colour))


def test_remote_shards_are_those_that_local_ones_are(tmp_path, memory):
    local = write_shards(tmp_path / "set", 3, 4)
    for path in local.iterdir():
        memory(path.name, path.read_bytes())
    expected = load(local, tmp_path / "local")
    for decode, source in itertools.product(
        ("once", "always"), ("memory://bucket", "memory://bucket/train-{000..002}.tar")
    ):
        assert all(map(same, load(source, tmp_path / "remote", decode), expected))


def test_remote_shards_are_copied_some_at_a_time(tmp_path, memory, monkeypatch):
    """The batches are those of local ones; no more than two windows lie on the disk; at the end nothing does."""
    from gancolor.data import sampler

    monkeypatch.setattr(sampler.ShardShuffle.__init__, "__defaults__", (2,))
    local = write_shards(tmp_path / "set", 8, 6)
    for path in local.iterdir():
        memory(path.name, path.read_bytes())
    streams = []
    for source in (local, "memory://bucket"):
        train, _ = load(source, tmp_path / "cache", "always", val_fraction=0.05)
        batches = Batches(train, torch.arange(len(train)), 4, seed=3)
        found = []
        for step, pictures, _ in batches.stream(2, 2 * batches.steps_per_epoch, CPU):
            assert len(batches.store._copies) <= (0 if batches.store.local else 4)
            found.append((step, pictures))
        streams.append(found)
        assert not batches.store._copies
    assert len(streams[0]) == len(streams[1]) > 10
    assert all(one[0] == other[0] and torch.equal(one[1], other[1]) for one, other in zip(*streams, strict=True))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_file() and path.suffix != ".lock"]


def test_shard_that_vanishes_is_named(tmp_path):
    folder = write_shards(tmp_path / "set", 2, 6)
    train, _ = load(folder, tmp_path / "cache", "always")
    (folder / "train-001.tar").unlink()
    batches = Batches(train, torch.arange(len(train)), 4, seed=3)
    with pytest.raises(InputError, match=r"train-001\.tar can't be read \(No such file or directory\)"):
        list(batches.stream(0, 4, CPU))


# Refusals -----------------------------------------------------------------------------------------------------------


def refusal(source, cache) -> str:
    with pytest.raises(InputError) as end:
        load(source, cache)
    assert "\n" not in str(end.value)
    return str(end.value)


def test_missing_shard_is_named(tmp_path):
    write_shards(tmp_path, 2, 3)
    assert "train-002.tar is not there" in refusal(f"{tmp_path}/train-{{000..002}}.tar", tmp_path / "cache")


def test_pattern_without_shards_and_address_without_are_refused(tmp_path, memory):
    assert "no shards of that pattern" in refusal(f"{tmp_path}/*.tar", tmp_path / "cache")
    assert "no shards (*.tar) in it" in refusal("memory://bucket/elsewhere", tmp_path / "cache")


def test_shards_without_photographs_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar({"a.txt": b"no"}))
    assert refusal(tmp_path / "a.tar", tmp_path / "cache").startswith("no photographs in the shards")
    (tmp_path / "b.tar").write_bytes(tar({"a.jpg": b"no"}))
    assert "(b/a.jpg: not a picture" in refusal(tmp_path / "b.tar", tmp_path / "cache")


def test_package_that_an_address_takes_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    line = refusal("s3://bucket/train-{000..003}.tar", tmp_path / "cache")
    assert line.startswith("--data.source s3://bucket/") and line.endswith("pip install s3fs")


def test_unknown_protocol_is_one_line(tmp_path):
    assert "Protocol not known: nosuch" in refusal("nosuch://bucket/a.tar", tmp_path / "cache")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_unreadable_shard_is_named(tmp_path):
    write_shards(tmp_path, 2, 3)
    (tmp_path / "train-001.tar").chmod(0)
    assert "train-001.tar can't be read" in refusal(tmp_path, tmp_path / "cache")
