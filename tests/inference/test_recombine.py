import errno
import subprocess
import sys

import numpy as np
import pytest
import torch
from made_pictures import colourfulness, scene
from skimage.color import rgb2lab

from gancolor.inference.compiled import kept
from gancolor.inference.recombine import recombine, recombine_batch
from gancolor.inference.upsampling import Enlarged


def chroma(height: int, width: int, strength: float = 60, upsampling: str = "guided") -> Enlarged:
    generator = np.random.default_rng(0)
    ab = strength * generator.uniform(-1, 1, (2, 7, 9)).astype(np.float32)
    return Enlarged(ab, generator.uniform(20, 80, (1, 7, 9)).astype(np.float32), height, width, upsampling)


def as_float(pixels: np.ndarray) -> np.ndarray:
    return pixels / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [20, 60, 200])
def test_lightness_is_kept(dtype: str, channels: int, strength: float) -> None:
    dark = (scene(40, 90, "float32")[::-1] / 2 * (1 if dtype == "float32" else np.iinfo(dtype).max)).astype(dtype)
    pixels = np.concatenate([scene(70, 90, dtype), dark])[..., :channels]
    coloured = recombine(pixels, chroma(110, 90, strength))
    assert coloured.dtype == pixels.dtype
    assert colourfulness(coloured) > strength / 4
    rgb = np.repeat(pixels, 3, -1) if channels == 1 else pixels
    assert np.abs(rgb2lab(as_float(coloured))[..., 0] - rgb2lab(as_float(rgb))[..., 0]).max() < 0.5


def test_chroma_is_the_predicted_one_within_the_gamut() -> None:
    grey = np.full((40, 50, 1), 0.5, np.float32)
    enlarged = chroma(40, 50, 15, "bilinear")
    f_of_y = np.full((40, 50), (rgb2lab(np.full((1, 1, 3), 0.5))[0, 0, 0] + 16) / 116, np.float32)
    x, y, z = enlarged.strip(0, 40, f_of_y)
    lab = rgb2lab(recombine(grey, enlarged))
    assert np.abs(lab[..., 1] - 500 * (x - y)).max() < 0.01
    assert np.abs(lab[..., 2] - 200 * (y - z)).max() < 0.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [20, 200])
def test_the_compiled_kernel_computes_the_same(channels: int, strength: float) -> None:
    pixels = np.concatenate([scene(70, 90), scene(40, 90)[::-1] // 16])[..., :channels]
    plain = recombine(pixels, chroma(110, 90, strength)).astype(int)
    compiled = recombine(pixels, chroma(110, 90, strength), compiled=True).astype(int)
    assert np.abs(compiled - plain).max() <= 1
    assert (compiled != plain).mean() < 0.001


def test_the_compiled_kernel_survives_chroma_that_is_no_number() -> None:
    enlarged = chroma(110, 90)
    enlarged.planes[:, 2] = np.nan
    assert recombine(scene(110, 90), enlarged, compiled=True).shape == (110, 90, 3)


def test_the_compiled_kernel_need_not_be_kept_on_disk(monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    doubled = np.zeros(3)

    @kept
    def double(numbers: np.ndarray, result: np.ndarray) -> None:
        result[:] = 2 * numbers

    double(np.arange(3.0), doubled)
    assert doubled.tolist() == [0, 2, 4]


def test_strips_leave_no_seams() -> None:
    """More than one strip, and the last one short."""
    pixels = scene(301, 900)
    whole = recombine(pixels, chroma(301, 900))
    import gancolor.inference.recombine as recombining

    old, recombining.STRIP = recombining.STRIP, 900 * 37
    try:
        assert (recombine(pixels, chroma(301, 900)) == whole).all()
    finally:
        recombining.STRIP = old


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_tensors_is_the_same(channels: int, dtype: str) -> None:
    pixels = scene(50, 60, dtype)[..., :channels]
    generator = np.random.default_rng(0)
    small = [generator.uniform(-80, 80, (2, c, 7, 9)).astype(np.float32) + 80 * (c == 1) for c in (2, 1)]
    batch = torch.from_numpy(np.stack([pixels, pixels[::-1]]).transpose(0, 3, 1, 2).copy())
    coloured = recombine_batch(batch, Enlarged(*map(torch.from_numpy, small), 50, 60, "guided"))
    assert coloured.shape == (2, 3, 50, 60) and coloured.dtype == batch.dtype
    one = recombine(np.ascontiguousarray(pixels[::-1]), Enlarged(small[0][1], small[1][1], 50, 60, "guided"))
    difference = np.abs(coloured[1].numpy().transpose(1, 2, 0) - one.astype(np.float32))
    assert difference.max() <= (1 if dtype == "uint8" else 2e-3)
    assert (difference > (0 if dtype == "uint8" else 1e-4)).mean() < 1e-3


@pytest.mark.parametrize(("height", "width"), [(1, 100_000), (65_535, 1)])
def test_narrow_photographs_take_no_more_memory_than_others(height: int, width: int) -> None:
    """Also if they were enlarged for the generator."""
    code = f"""
import numpy, resource
from gancolor.inference.recombine import recombine
from gancolor.inference.upsampling import Enlarged
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = numpy.random.default_rng(0).uniform(-20, 20, (2, {160 if height == 1 else 1280}, {160 if width == 1 else 1280}))
small = small.astype("float32")
pixels = numpy.full(({height}, {width}, 1), 99, "uint8")
before = peak()
recombine(pixels, Enlarged(small, abs(small[:1]), {height}, {width}, "guided"))
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 100  # megabytes


def test_a_hundred_megapixels_take_little_more_than_themselves() -> None:
    code = """
import numpy, resource
from gancolor.inference.recombine import recombine
from gancolor.inference.upsampling import Enlarged
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small = numpy.random.default_rng(0).uniform(-20, 20, (2, 64, 64)).astype("float32")
pixels = numpy.full((8000, 12500, 1), 99, "uint8")
before = peak()
coloured = recombine(pixels, Enlarged(small, abs(small[:1]), 8000, 12500, "guided"))
print((peak() - before) / coloured.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 1.3
