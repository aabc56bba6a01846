import os
import shutil
import time
from collections import namedtuple
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gancolor.color.colorfulness import colorfulness
from gancolor.color.torch_lab import to_float
from gancolor.data.cache.index import Columns
from gancolor.data.cache.photographs import Photographs, default_cache, load_photographs, load_source
from gancolor.data.catalogue import PhotoFile
from gancolor.data.decode import UnreadableError
from gancolor.data.loader import Batches
from gancolor.data.sources.find import find_source
from gancolor.data.sources.folders import list_photographs
from gancolor.utils import distributed
from gancolor.utils.errors import InputError


@pytest.fixture
def decoded(monkeypatch):
    """The names of the photographs that were decoded, as they are."""
    names = []
    load = PhotoFile.load
    monkeypatch.setattr(PhotoFile, "load", lambda self, *how: names.append(self.name) or load(self, *how))
    return names


@pytest.fixture
def folder(photos, tmp_path):
    """Photographs that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def caches(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if not path.name.endswith(".lock")]


# The cache --------------------------------------------------------------------------------------------------------


def test_photographs_are_what_the_items_load(folder, cache):
    items = list_photographs(folder)
    photographs = load_photographs(items, 24, cache)
    assert photographs.pictures.dtype == torch.uint8 and photographs.pictures.shape == (12, 3, 24, 24)
    assert (len(photographs), photographs.size) == (12, 24)
    assert photographs.names == [item.name for item in items] and photographs.skipped == {}
    for picture, item in zip(photographs.pictures, items, strict=True):
        assert torch.equal(picture, item.load(24))
    expected = colorfulness(to_float(photographs.pictures))
    assert torch.allclose(photographs.colorfulness, expected, atol=1e-3)
    assert photographs.labels.tolist() == [-1] * 12 and photographs.labels.dtype == torch.int64


def test_second_load_decodes_nothing(folder, cache, decoded):
    first = load_photographs(list_photographs(folder), 24, cache)
    assert sorted(decoded) == first.names
    decoded.clear()
    second = load_photographs(list_photographs(folder), 24, cache)
    assert decoded == []
    assert torch.equal(first.pictures, second.pictures) and torch.equal(first.colorfulness, second.colorfulness)
    assert (first.names, first.digest) == (second.names, second.digest)


def rewrite(folder: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(folder / "03.jpg")


def touch(folder: Path) -> None:
    os.utime(folder / "03.jpg", (10**9, 10**9))


def remove(folder: Path) -> None:
    (folder / "03.jpg").unlink()


def add(folder: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(folder / "new.png")


def rename(folder: Path) -> None:
    (folder / "03.jpg").rename(folder / "three.jpg")


@pytest.mark.parametrize("change", [rewrite, touch, remove, add, rename])
def test_changed_folder_is_decoded_anew(folder, cache, decoded, change):
    before = load_photographs(list_photographs(folder), 24, cache)
    decoded.clear()
    change(folder)
    after = load_photographs(list_photographs(folder), 24, cache)
    assert sorted(decoded) == after.names
    assert after.digest != before.digest
    for picture, item in zip(after.pictures, list_photographs(folder), strict=True):
        assert torch.equal(picture, item.load(24))


def test_each_size_has_its_own(folder, cache):
    items = list_photographs(folder)
    one, other = load_photographs(items, 16, cache), load_photographs(items, 24, cache)
    assert (one.size, other.size) == (16, 24) and one.digest != other.digest
    assert len(caches(cache)) == 2
    assert load_photographs(items, 16, cache).size == 16


def test_labels_are_kept_and_tell_caches_apart(folder, cache):
    items = list_photographs(folder)
    load_photographs(items, 16, cache)
    labelled = [replace(item, label=number % 3) for number, item in enumerate(items)]
    assert load_photographs(labelled, 16, cache).labels.tolist() == [0, 1, 2] * 4


def test_order_is_the_items(folder, cache):
    items = list_photographs(folder)[::-1]
    assert load_photographs(items, 16, cache).names == [item.name for item in items]


def test_default_is_in_the_users_cache(folder, home, monkeypatch):
    load_photographs(list_photographs(folder), 16)
    assert len(caches(home / "cache" / "gancolor")) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == home / ".cache" / "gancolor"


def test_home_of_a_given_cache_is_expanded(folder, home):
    load_photographs(list_photographs(folder), 16, "~/mine")
    assert len(caches(home / "mine")) == 1


def test_pictures_are_memory_mapped(folder, cache):
    """Not read into memory, and a change of the tensor does not get into the file."""
    photographs = load_photographs(list_photographs(folder), 16, cache)
    (file,) = cache.glob("*/pictures.u8")
    assert file.stat().st_size == 12 * 3 * 16 * 16
    before = file.read_bytes()
    if Path("/proc/self/maps").exists():
        assert str(file) in Path("/proc/self/maps").read_text()
    photographs.pictures.zero_()
    assert file.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), RuntimeError("killed")])
def test_build_that_is_stopped_leaves_nothing(folder, cache, monkeypatch, error):
    load, items = PhotoFile.load, list_photographs(folder)

    def stop(self, *how):
        if self.name == "07.jpg":
            raise error
        return load(self, *how)

    with monkeypatch.context() as patch:
        patch.setattr(PhotoFile, "load", stop)
        with pytest.raises(type(error)):
            load_photographs(items, 16, cache)
    assert caches(cache) == []
    assert len(load_photographs(items, 16, cache)) == 12


def test_remains_of_a_killed_build_are_no_cache_and_are_cleared_away(folder, cache):
    items = list_photographs(folder)
    load_photographs(items, 16, cache)
    (whole,) = caches(cache)
    remains = whole.with_name(whole.name + ".abc123")
    whole.rename(remains)
    (remains / "names.utf8").unlink()
    assert len(load_photographs(items, 16, cache)) == 12
    assert caches(cache) == [whole]


def test_full_disk_is_noticed_before_decoding(folder, cache, monkeypatch, decoded):
    usage = namedtuple("usage", "total used free")(10**6, 10**6 - 5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"photographs takes .* --data\.decode always keeps none"):
        load_photographs(list_photographs(folder), 16, cache)
    assert decoded == [] and caches(cache) == []


def test_undecodable_photographs_are_skipped_and_listed(folder, cache):
    whole = (folder / "02.jpg").read_bytes()
    (folder / "02.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "05.jpg").write_bytes(b"not a picture")
    (folder / "empty.png").touch()
    (folder / os.fsdecode(b"\xff.jpg")).touch()
    (folder / r"\xff.jpg").touch()  # printed like the one before
    for _ in range(2):  # decoded, and from the cache
        photographs = load_photographs(list_photographs(folder), 16, cache)
        assert set(photographs.skipped) == {"02.jpg", "05.jpg", "empty.png", r"\xff.jpg"}
        assert photographs.skipped["empty.png"] == "empty"
        assert photographs.skipped["02.jpg"] == "truncated"
        assert photographs.names == [f"{n:02d}.jpg" for n in range(12) if n not in (2, 5)]
        assert len(photographs.pictures) == len(photographs.labels) == len(photographs.colorfulness) == 10
        kept = {item.name: item for item in list_photographs(folder)}
        for picture, name in zip(photographs.pictures, photographs.names, strict=True):
            assert torch.equal(picture, kept[name].load(16))


def refuse(patch, name):
    """Let a photograph be unreadable while the patch lasts."""
    load = PhotoFile.load

    def refusing(self, *how):
        if self.name == name:
            raise UnreadableError("permission denied")
        return load(self, *how)

    patch.setattr(PhotoFile, "load", refusing)


def test_photograph_that_becomes_readable_is_read(folder, cache, monkeypatch):
    """Its length and modification time stay the same, such as when its permissions change."""
    (folder / "05.jpg").write_bytes(b"not a picture")
    items = list_photographs(folder)
    with monkeypatch.context() as patch:
        refuse(patch, "07.jpg")
        for _ in range(2):
            before = load_photographs(items, 16, cache)
            assert before.skipped == {"05.jpg": "not a picture, or of an unknown format", "07.jpg": "permission denied"}
            (whole,) = caches(cache)
            inode = whole.stat().st_ino
    after = load_photographs(items, 16, cache)
    assert list(after.skipped) == ["05.jpg"] and "07.jpg" in after.names
    (again,) = caches(cache)
    assert again == whole and again.stat().st_ino != inode
    assert len(before.pictures) == 10  # still mapped


def test_outdated_cache_stays_until_another_is_complete(folder, cache, monkeypatch):
    items = list_photographs(folder)
    with monkeypatch.context() as patch:
        refuse(patch, "07.jpg")
        load_photographs(items, 16, cache)
    (before,) = caches(cache)
    with monkeypatch.context() as patch:
        usage = namedtuple("usage", "total used free")(10**6, 10**6 - 5, 5)
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OSError, match="photographs takes"):
            load_photographs(items, 16, cache)
    assert caches(cache) == [before]
    assert "07.jpg" in load_photographs(items, 16, cache).names
    assert caches(cache) == [before]


def test_folder_without_one_good_photograph(tmp_path, cache):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no")
    photographs = load_photographs(list_photographs(tmp_path / "bad"), 16, cache)
    assert (
        len(photographs) == 0
        and photographs.pictures.shape == (0, 3, 16, 16)
        and list(photographs.skipped) == ["a.jpg"]
    )


# Decoded in every epoch -------------------------------------------------------------------------------------------


def test_always_gives_the_batches_that_once_does_and_keeps_no_pictures(folder, cache, tmp_path):
    (folder / "05.jpg").write_bytes(b"not a picture")
    source = find_source(str(folder), seed=1, val_fraction=0.3)
    (once, val), (always, val_again) = (
        load_source(source, 16, tmp_path / decode, decode) for decode in ("once", "always")
    )
    assert once.names == always.names == [item.name for item in source.train if item.name != "05.jpg"]
    assert once.skipped == always.skipped and {*once.skipped, *val.skipped} == {"05.jpg"}
    for index, name in enumerate(once.names):
        assert torch.equal(once.take(torch.tensor([index]))[0], PhotoFile(folder / name, name).load(16))
    assert once.contents_digest == always.contents_digest and torch.equal(once.colorfulness, always.colorfulness)
    assert val.names == val_again.names and torch.equal(val.take(torch.arange(3)), val_again.take(torch.arange(3)))
    both = [Batches(part, torch.arange(len(part)), 3, 5) for part in (once, always)]
    streams = [batches.stream(1, 7, torch.device("cpu")) for batches in both]
    for one, other in zip(*streams, strict=True):
        assert one[0] == other[0] and torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])
    sizes = [path.stat().st_size for path in (tmp_path / "always").glob("*/pictures.u8")]
    assert sizes == [len(val) * 3 * 16 * 16]


def test_always_takes_the_index_of_a_cache_that_is_there(folder, cache, decoded):
    items = list_photographs(folder)
    load_photographs(items, 16, cache)
    decoded.clear()
    photographs = load_photographs(items, 16, cache, decode="always")
    assert decoded == [] and len(caches(cache)) == 1
    photographs.take(torch.tensor([3, 1]))
    assert sorted(decoded) == ["01.jpg", "03.jpg"]


def test_photograph_that_can_not_be_decoded_any_more_is_named(folder, cache):
    photographs = load_photographs(list_photographs(folder), 16, cache, decode="always")
    (folder / "03.jpg").write_bytes(b"no picture")
    batches = Batches(photographs, torch.arange(12), 6, 0)
    with pytest.raises(InputError, match=r"^03\.jpg can't be decoded any more \(not a picture.*without it$"):
        list(batches.stream(0, 2, torch.device("cpu")))


def test_batches_are_decoded_while_the_step_before_works(folder, cache, decoded):
    photographs = load_photographs(list_photographs(folder), 16, cache, decode="always")
    decoded.clear()
    stream = Batches(photographs, torch.arange(12), 3, 0).stream(0, 4, torch.device("cpu"))
    next(stream)
    end = time.monotonic() + 10
    while len(decoded) < 9 and time.monotonic() < end:
        time.sleep(0.005)
    assert len(decoded) == 9  # this one and two more, and no others
    stream.close()


def test_grey_photographs_are_found(tmp_path, cache, scenes):
    folder = tmp_path / "mixed"
    folder.mkdir()
    sepia = np.clip(np.linspace(0, 200, 40)[:, None, None] * np.array([1.04, 1.0, 0.96]), 0, 255)
    Image.fromarray(scenes[0].permute(1, 2, 0).numpy()).save(folder / "a colour.png")
    Image.fromarray(scenes[0].permute(1, 2, 0).numpy()).convert("L").save(folder / "b grey.png")
    Image.fromarray(scenes[0].permute(1, 2, 0).numpy()).convert("L").convert("RGB").save(folder / "c grey.jpg")
    Image.fromarray(np.broadcast_to(sepia, (40, 40, 3)).astype(np.uint8)).save(folder / "d nearly.png")
    photographs = load_photographs(list_photographs(folder), 32, cache)
    found = photographs.colorfulness
    assert found[0] > 10 and found[1] == 0 and found[2] < 1 and 1 < found[3] < 15
    assert photographs.colourful(4.0).tolist()[0] == 0
    assert photographs.colourful(15.0).tolist() == ([0] if found[0] >= 15 else [])
    assert photographs.colourful(0.0).tolist() == [0, 1, 2, 3]
    assert 1 not in photographs.colourful(1e-3).tolist()


def test_take_gives_the_photographs_in_the_order_asked(folder, cache):
    photographs = load_photographs(list_photographs(folder), 16, cache)
    assert torch.equal(photographs.take(torch.tensor([5, 0, 5])), photographs.pictures[[5, 0, 5]])


@pytest.mark.parametrize("where", ["auto", "always", "never"])
def test_on_a_cpu_photographs_stay_where_they_are(folder, cache, where):
    photographs = load_photographs(list_photographs(folder), 16, cache)
    pointer = photographs.pictures.data_ptr()
    assert photographs.to(torch.device("cpu"), where).pictures.data_ptr() == pointer


def test_moved_photographs_are_new_ones(folder, cache):
    some = load_photographs(list_photographs(folder), 16, cache).subset(["05.jpg", "01.jpg"])
    moved = some.to(torch.device("meta"), "always")
    assert moved.pictures.device.type == "meta" and moved.pictures.shape == (2, 3, 16, 16) and moved.rows is None
    assert some.pictures.device.type == "cpu" and len(some.pictures) == 12 and some.rows.tolist() == [5, 1]
    assert moved.names == some.names == ["05.jpg", "01.jpg"] and torch.equal(moved.colorfulness, some.colorfulness)
    assert moved.contents_digest == some.contents_digest
    with pytest.raises(FrozenInstanceError):
        some.rows = None


# Batches ----------------------------------------------------------------------------------------------------------


def numbered(count: int) -> Photographs:
    """Photographs that show their own number."""
    numbers = torch.arange(count, dtype=torch.uint8)
    names = [str(number) for number in range(count)]
    return Photographs(numbers.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), Columns.of(names, numbers % 5, np.ones(count)))


def make(count: int, batch_size: int, seed: int = 0) -> Batches:
    return Batches(numbered(count), torch.arange(count), batch_size, seed)


def order(batches: Batches, steps: range) -> list[int]:
    return [index for step in steps for index in batches.indices(step).tolist()]


@settings(max_examples=30)
@given(
    count=st.integers(1, 60), batch_size=st.integers(1, 20), epoch=st.integers(0, 50), seed=st.integers(0, 2**31 - 1)
)
def test_an_epoch_sees_each_photograph_at_most_once(count, batch_size, epoch, seed):
    batches = make(count, batch_size, seed)
    steps = batches.steps_per_epoch
    assert steps == count // batch_size
    seen = order(batches, range(epoch * steps, (epoch + 1) * steps)) if steps else []
    assert len(seen) == len(set(seen)) == steps * batch_size > count - batch_size
    assert set(seen) <= set(range(count))


def test_all_photographs_come_up_over_epochs():
    """Though the incomplete batch is left out, it is not always the same photographs'."""
    assert set(order(make(11, 4), range(20))) == set(range(11))


def test_order_is_a_function_of_seed_and_epoch():
    assert order(make(20, 4, 1), range(10)) == order(make(20, 4, 1), range(10))
    assert order(make(20, 4, 1), range(5)) != order(make(20, 4, 2), range(5))
    batches = make(20, 4)
    epochs = [order(batches, range(5 * e, 5 * e + 5)) for e in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epochs[0] != sorted(epochs[0])


def test_order_has_nothing_to_do_with_other_random_numbers():
    batches = make(20, 4)
    torch.manual_seed(1)
    before = order(batches, range(10))
    torch.manual_seed(2)
    torch.rand(9)
    assert order(make(20, 4), range(10)) == before
    state = torch.get_rng_state()
    order(batches, range(10, 30))
    assert torch.equal(torch.get_rng_state(), state)


def test_steps_can_be_asked_for_in_any_order():
    forwards = [make(20, 4).indices(step).tolist() for step in range(12)]
    batches = make(20, 4)
    assert [batches.indices(step).tolist() for step in reversed(range(12))] == forwards[::-1]


def streamed(batches: Batches, first: int, last: int) -> list[tuple[int, list[int], list[int]]]:
    found = []
    for step, pictures, labels in batches.stream(first, last, torch.device("cpu")):
        assert pictures.dtype == torch.uint8 and pictures.shape[1:] == (3, 2, 2)
        found.append((step, pictures[:, 0, 0, 0].tolist(), labels.tolist()))
    return found


@pytest.mark.parametrize("first", [0, 1, 4, 5, 6, 13, 16, 17])
def test_stream_from_a_step_is_the_tail_of_the_whole(first):
    """A run that is resumed sees what the run that was not interrupted sees."""
    whole = streamed(make(22, 4), 0, 17)
    assert streamed(make(22, 4), first, 17) == whole[first:]
    assert [step for step, _, _ in whole] == list(range(17))


def test_stream_is_of_the_steps_indices_with_their_labels():
    batches = make(22, 4)
    for step, pictures, labels in streamed(batches, 0, 12):
        assert pictures == batches.indices(step).tolist()
        assert labels == [number % 5 for number in pictures]


def test_empty_stream():
    assert streamed(make(8, 4), 3, 3) == []


def test_only_kept_photographs_are_drawn():
    kept = torch.tensor([3, 5, 7, 11, 13, 17])
    batches = Batches(numbered(20), kept, 3, 0)
    assert batches.steps_per_epoch == 2
    assert sorted(order(batches, range(2))) == kept.tolist()


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_out_the_effective_batch(monkeypatch, ranks):
    """Together they see what one process with the effective batch sees, none twice."""
    alone = make(26, 4 * ranks)
    expected = [alone.indices(step).tolist() for step in range(7)]
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    shares = []
    for rank in range(ranks):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        batches = make(26, 4)
        assert batches.effective_batch == 4 * ranks == alone.effective_batch
        assert batches.steps_per_epoch == alone.steps_per_epoch == 26 // (4 * ranks)
        shares.append([batches.indices(step) for step in range(7)])
        assert all(share.shape == (4,) for share in shares[-1])
    for step in range(7):
        together = torch.stack([share[step] for share in shares], dim=1).flatten()
        assert together.tolist() == expected[step]
        assert len(together.unique()) == 4 * ranks


def test_split_of_another_seed_finds_its_photographs_decoded(photos, tmp_path):
    splits = []
    for seed in (0, 1):
        source = find_source(str(photos), seed=seed, val_fraction=0.3)
        train, val = load_source(source, 16, tmp_path)
        assert train.names == [item.name for item in source.train]
        assert val.names == [item.name for item in source.val]
        splits.append((train, val))
    assert len(list(tmp_path.glob("*/pictures.u8"))) == 1
    (train, _), (other, _) = splits
    assert train.names != other.names and train.digest != other.digest
    everything = load_photographs(list_photographs(photos), 16, tmp_path)
    for part in (*splits[0], *splits[1]):
        for number, name in enumerate(part.names):
            where = everything.names.index(name)
            assert part.take(torch.tensor([number])).equal(everything.take(torch.tensor([where])))
            assert part.labels[number] == everything.labels[where]
            assert part.colorfulness[number] == everything.colorfulness[where]
