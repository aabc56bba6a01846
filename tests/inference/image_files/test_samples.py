"""Floats and 32-bit integers: one value doesn't decide the range, and what is clipped or ignored is said."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_pictures import scene
from PIL import Image

from gancolor.inference.conversions import as_picture
from gancolor.inference.image_files import from_pil, read_picture
from gancolor.utils.errors import InputError

torch = pytest.importorskip("torch")
GREY = scene(dtype="float32")[..., 0]


def read_all(values: np.ndarray, tmp_path: Path) -> list[np.ndarray]:
    """Return what is read of the values in a TIFF in grey and in RGB, and of Pillow's mode F or I."""
    rgb = io.BytesIO()
    tifffile.imwrite(rgb, np.repeat(values[..., None], 3, -1), photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", values)
    pictures = [read_picture(rgb.getvalue()), read_picture(tmp_path / "grey.tif")]
    if values.dtype in (np.float32, np.int32):
        pictures.append(from_pil(Image.fromarray(values)))
    return [picture.pixels[..., 0] for picture in pictures]


@pytest.mark.parametrize("most", [1, 255, 65535])
@pytest.mark.parametrize("odd", [1.0001, 1.6, 1e9, np.inf, -np.inf, np.nan, -0.2])
def test_odd_samples_do_not_decide_the_range(tmp_path: Path, most: int, odd: float) -> None:
    values = GREY * np.float32(most)
    values[:3, :5] = odd * most
    with pytest.warns(UserWarning, match=rf"read as samples of 0 to {most}; .*(clipped|black or white)"):
        found = read_all(values, tmp_path)
    for pixels in found:
        assert np.abs(pixels / 65535 - GREY)[3:].max() < 1e-3
        assert (pixels[:3, :5] == (65535 if odd > 0 else 0)).all()


@pytest.mark.parametrize(
    ("dtype", "most"), [("float16", 1), ("uint32", 255), ("uint32", 2**32 - 1), ("int32", 255), ("int16", 2**15 - 1)]
)
def test_other_types_of_samples(tmp_path: Path, dtype: str, most: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pixels in read_all((GREY.astype(float) * most).astype(dtype), tmp_path):
            assert np.abs(pixels / 65535 - GREY).max() < 1.1 / 255


@pytest.mark.parametrize("level", [0, 0.5, 1, 128, 255, 65535])
def test_constant_pictures(tmp_path: Path, level: float) -> None:
    most = next(most for most in (1, 255, 65535) if level <= most)
    for pixels in read_all(np.full((20, 30), level, np.float32), tmp_path):
        assert np.abs(pixels.astype(float) - level * 65535 / most).max() <= 1


def test_a_black_or_white_picture_is_never_silent(tmp_path: Path) -> None:
    """High dynamic range, values of 10 bits, values of -1 to 1, and none at all."""
    cases = [(GREY * 8, "nearly black"), (GREY * 1023, "nearly black"), (GREY * np.nan, "not finite"),
             (GREY * 2 - 1, "0.46 of the samples lie outside, and are clipped")]  # fmt: skip
    for values, words in cases:
        with pytest.warns(UserWarning, match=words):
            read_all(values, tmp_path)


@pytest.mark.parametrize("tensor", [False, True])
def test_arrays_are_clipped_with_a_word_or_refused(tensor: bool) -> None:
    from gancolor.inference.conversions import clipped

    floats = scene(dtype="float32")
    floats[0, 0], floats[1, 1], floats[2, 2], floats[3, 3] = 1.0001, np.inf, np.nan, -3
    given = torch.from_numpy(floats) if tensor else floats
    with pytest.warns(UserWarning, match="12 samples outside 0 to 1, or not finite, clipped"):
        found = np.asarray(clipped(given))
    assert (found[[0, 1, 2, 3], [0, 1, 2, 3]] == np.array([1, 1, 0, 0])[:, None]).all()
    assert (found[4:] == floats[4:]).all()
    for wrong in (given * 255, given * 2 - 1, given * np.nan):
        with pytest.raises(InputError, match=r"floats from .* are out of range"):
            clipped(wrong)
    with pytest.warns(UserWarning, match="12 samples"):
        assert as_picture(floats).pixels.max() == 1
