import errno
import json
import multiprocessing
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from gancolor.color.bins import GAMUT, GRID, bin_centres, smoothed
from gancolor.color.colorfulness import colorfulness
from gancolor.color.torch_lab import AB_RANGE, to_float
from gancolor.data import prior
from gancolor.data.cache.index import Columns
from gancolor.data.cache.photographs import Photographs, load_photographs
from gancolor.data.prior import color_prior, count_bins
from gancolor.data.sources.folders import list_photographs


def of_pictures(pictures: torch.Tensor, digest: str = "digest") -> Photographs:
    count = len(pictures)
    names = [str(number) for number in range(count)]
    return Photographs(pictures, Columns.of(names, [-1] * count, colorfulness(to_float(pictures))), digest)


def brute_force(pictures: np.ndarray) -> np.ndarray:
    """Of uint8 (N, H, W, 3), by scikit-image's Lab and every distance: how many pixels each bin is the nearest of."""
    centres = bin_centres().double().numpy() * AB_RANGE
    colours = rgb2lab(pictures)[..., 1:].reshape(-1, 2)
    nearest = np.square(colours[:, None] - centres).sum(axis=-1).argmin(axis=1)
    return np.bincount(nearest, minlength=len(centres))


@pytest.fixture
def real(real_photographs):
    """The photographs that scikit-image carries, squares of 48."""
    return of_pictures(torch.stack([photograph[:, 20:260:5, 100:340:5] for photograph in real_photographs]))


@pytest.fixture
def counted(monkeypatch):
    """How many photographs were looked at, of each count."""
    counts = []
    count = prior.count_bins
    monkeypatch.setattr(
        prior, "count_bins", lambda photos, kept, bins: counts.append(len(kept)) or count(photos, kept, bins)
    )
    return counts


# Counting ---------------------------------------------------------------------------------------------------------


def test_counts_are_those_of_brute_force_on_real_photographs(real):
    found = count_bins(real, torch.arange(4))
    expected = brute_force(real.pictures.permute(0, 2, 3, 1).numpy())
    assert found.sum() == expected.sum() == 4 * 48 * 48
    # gancolor's Lab and scikit-image's differ in the fifth digit: a pixel in thousands lies that near to an edge.
    assert np.abs(found.numpy() - expected).sum() <= 8
    assert (expected > 0).sum() >= 30


def test_only_what_is_trained_on_is_counted(real):
    some = count_bins(real, torch.tensor([2, 0]))
    assert torch.equal(some, sum(count_bins(of_pictures(real.pictures[[index]]), torch.arange(1)) for index in (0, 2)))


def test_rows_of_a_subset_are_followed(real):
    """A run's photographs are some of those in the cache."""
    subset = real.subset(["3", "1"])
    assert torch.equal(count_bins(subset, torch.arange(2)), count_bins(real, torch.tensor([3, 1])))


def test_large_photographs_are_looked_at_every_so_many_pixels():
    picture = torch.randint(0, 256, (1, 3, 150, 150)).byte()
    found = count_bins(of_pictures(picture), torch.arange(1))
    assert torch.equal(found, count_bins(of_pictures(picture[..., ::3, ::3].contiguous()), torch.arange(1)))
    assert found.sum() == 50 * 50


def test_of_very_many_photographs_a_drawn_part_is_counted(monkeypatch):
    """Always the same, and of all over."""
    monkeypatch.setattr(prior, "MOST_PHOTOS", 8)
    photographs = of_pictures(torch.randint(0, 256, (40, 3, 16, 16)).byte())
    asked = []
    take = Photographs.take
    monkeypatch.setattr(
        Photographs, "take", lambda self, indices: asked.extend(indices.tolist()) or take(self, indices)
    )
    found = count_bins(photographs, torch.arange(40))
    assert found.sum() == 8 * 16 * 16
    assert len(set(asked)) == 8 and max(asked) >= 20
    assert torch.equal(found, count_bins(photographs, torch.arange(40))) and asked[:8] == asked[8:]


def test_counting_in_parts_is_counting_the_whole(real, monkeypatch):
    whole = count_bins(real, torch.arange(4))
    monkeypatch.setattr(prior, "AT_ONCE", 3)
    assert torch.equal(count_bins(real, torch.arange(4)), whole)


# The prior --------------------------------------------------------------------------------------------------------


def test_prior_is_the_smoothed_share_of_pixels(real, tmp_path):
    counts = count_bins(real, torch.arange(4))
    found = color_prior(real, torch.arange(4), tmp_path)
    assert found.shape == (313,) and found.dtype == torch.float32
    assert found.double().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(found, smoothed(counts / counts.sum()), atol=1e-6)


def test_the_bins_of_the_whole_plane_are_counted_too(real, tmp_path):
    """The 529 of siggraph17: photographs have none of the colours that lie far outside sRGB."""
    found = count_bins(real, torch.arange(4), GRID)
    assert found.shape == (GRID,) and found.sum() == count_bins(real, torch.arange(4)).sum()
    assert found.view(23, 23)[[0, -1], [0, 0]].tolist() == [0, 0]
    one, other = (color_prior(real, torch.arange(4), tmp_path, bins) for bins in (GAMUT, GRID))
    assert (len(one), len(other)) == (GAMUT, GRID) and len(list(tmp_path.glob("prior-*.json"))) == 2


def test_second_call_reads_the_file_and_does_not_count(real, tmp_path, counted):
    first = color_prior(real, torch.arange(4), tmp_path)
    assert counted == [4]
    second = color_prior(real, torch.arange(4), tmp_path)
    assert counted == [4] and torch.equal(first, second)
    (file,) = tmp_path.glob("prior-*.json")
    assert sum(json.loads(file.read_text())["pixels"]) == 4 * 48 * 48
    file.write_text(json.dumps({"pixels": [1] * 313}))  # whatever it says
    assert torch.allclose(
        color_prior(real, torch.arange(4), tmp_path), smoothed(torch.full((313,), 1 / 313)), atol=1e-6
    )
    assert counted == [4]


def test_without_a_folder_the_users_cache_keeps_it(real, home, counted):
    for _ in range(2):
        color_prior(real, torch.arange(4))
    assert counted == [4] and len(list((home / "cache" / "gancolor").glob("prior-*.json"))) == 1


@pytest.mark.parametrize("kept", [[0, 1, 2], [0, 1, 3], [0]])
def test_other_photographs_kept_are_counted_anew(real, tmp_path, counted, kept):
    whole = color_prior(real, torch.arange(4), tmp_path)
    some = color_prior(real, torch.tensor(kept), tmp_path)
    assert counted == [4, len(kept)] and not torch.equal(some, whole)


def test_changed_photographs_are_counted_anew(photos, tmp_path, counted):
    folder, cache = Path(shutil.copytree(photos, tmp_path / "photos")), tmp_path / "cache"

    def found() -> torch.Tensor:
        return color_prior(load_photographs(list_photographs(folder), 16, cache), torch.arange(12), cache)

    before = found()
    assert torch.equal(found(), before) and counted == [12]
    Image.new("RGB", (40, 40), "red").save(folder / "03.jpg")
    assert not torch.equal(found(), before) and counted == [12, 12]


def test_cache_that_can_only_be_read_serves(real, tmp_path, monkeypatch):
    """To lock is to write."""
    first = color_prior(real, torch.arange(4), tmp_path)
    monkeypatch.setattr(prior.distributed, "one_at_a_time", lambda _: pytest.fail("a lock in a folder of others"))
    assert torch.equal(color_prior(real, torch.arange(4), tmp_path), first)


def work_out(pictures: torch.Tensor, cache: str, queue) -> None:
    counts = []
    count = prior.count_bins

    def slowly(photographs: Photographs, kept: torch.Tensor, bins: int) -> torch.Tensor:
        counts.append(len(kept))
        time.sleep(0.5)  # until the others wait for it
        return count(photographs, kept, bins)

    prior.count_bins = slowly
    queue.put((color_prior(of_pictures(pictures), torch.arange(4), cache).tolist(), len(counts)))


@pytest.mark.skipif(sys.platform == "win32", reason="starts processes by forking")
def test_every_process_has_the_same_and_one_counts(real, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=work_out, args=(real.pictures, str(tmp_path), queue)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [prior_ for prior_, _ in answers] == [answers[0][0]] * 3
    assert sum(counts for _, counts in answers) == 1


@pytest.mark.parametrize(("number", "counted"), [(errno.EACCES, True), (errno.EROFS, True), (errno.ENOSPC, False)])
def test_a_cache_that_is_read_only_is_not_needed(scenes, tmp_path, monkeypatch, number, counted):
    photographs, kept = of_pictures(scenes), torch.arange(4)
    expected = color_prior(photographs, kept, tmp_path / "writable")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(prior, "write_json", refuse)
    if counted:
        assert torch.equal(color_prior(photographs, kept, tmp_path / "cache"), expected)
    else:
        with pytest.raises(OSError, match="No space"):
            color_prior(photographs, kept, tmp_path / "cache")
