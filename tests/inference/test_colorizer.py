import warnings
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_generators import made_generator
from made_pictures import SRGB_PROFILE, colourfulness, pil, scene
from PIL import Image
from skimage.color import rgb2lab
from torchvision import tv_tensors

from gancolor import Colorizer
from gancolor.inference.image_files import Picture, read_picture
from gancolor.inference.working_size import working_size
from gancolor.utils.errors import InputError


@pytest.fixture(scope="module")
def colorizer(tmp_path_factory) -> Colorizer:
    return Colorizer.load(made_generator(tmp_path_factory.mktemp("generator") / "generator.safetensors"), size=48)


@pytest.fixture(scope="module")
def expected(colorizer) -> np.ndarray:
    """Return scene() as coloured by the colorizer."""
    return colorizer(scene())


def test_result_keeps_the_photographs_lightness(expected: np.ndarray) -> None:
    assert expected.shape == (60, 90, 3)
    assert expected.dtype == np.uint8
    assert colourfulness(expected) > 20
    assert np.abs(rgb2lab(expected)[..., 0] - rgb2lab(scene())[..., 0]).max() < 0.5


def test_chroma_equals_the_generators_output(tmp_path: Path) -> None:
    """At the photograph's own size nothing is upsampled, so the output must equal the network's."""
    path = made_generator(tmp_path / "g.safetensors")
    from gancolor import load_generator
    from gancolor.color.torch_lab import rgb_to_lab, to_float

    pixels = scene(64, 96)
    chroma = load_generator(path)(rgb_to_lab(to_float(torch.from_numpy(pixels).permute(2, 0, 1)[None]))[0]).chroma
    found = rgb2lab(Colorizer.load(path, size=64, strength=0.2)(pixels.astype(np.float32) / 255))[..., 1:]
    expected = 0.2 * 110 * chroma[0].permute(1, 2, 0).detach().numpy()
    assert np.quantile(np.abs(found - expected), 0.98) < 0.1  # the others are outside the gamut


def test_every_input_type_gives_the_same_result(colorizer: Colorizer, expected: np.ndarray, tmp_path: Path) -> None:
    Picture(scene()).save(tmp_path / "x.png")
    tensor = torch.from_numpy(scene()).permute(2, 0, 1)
    from_path = colorizer(tmp_path / "x.png")
    assert isinstance(from_path, Picture)
    assert isinstance(colorizer(pil()), Image.Image)
    results = {
        "path": from_path.pixels,
        "text": colorizer(str(tmp_path / "x.png")).pixels,
        "picture": colorizer(read_picture(tmp_path / "x.png")).pixels,
        "pillow": np.asarray(colorizer(pil())),
        "float": np.round(colorizer(scene().astype(np.float64) / 255) * 255),
        "batch": colorizer(np.stack([scene(), scene()]))[1],
        "16 bit": np.round(colorizer(scene().astype(np.uint16) * 257) / 257),
    }
    for name, result in results.items():
        assert np.abs(result.astype(int) - expected.astype(int)).mean() < 0.6, name
    batch = colorizer(torch.stack([tensor, tensor.flip(-1)]))
    for result in (colorizer(tensor), batch[0], colorizer(tensor / 255.0) * 255):
        assert result.shape == (3, 60, 90)
        difference = np.abs(result.permute(1, 2, 0).numpy().astype(float) - expected)
        assert difference.mean() < 1  # torch and libvips resize differently
    assert batch.dtype == torch.uint8


def test_list_is_returned_in_order_and_types(colorizer: Colorizer, expected: np.ndarray) -> None:
    given = [scene(), pil(40, 90), torch.from_numpy(scene(30, 50)).permute(2, 0, 1), Picture(scene(90, 60)), scene()]
    results = colorizer(given)
    assert [type(one).__name__ for one in results] == ["ndarray", "Image", "Tensor", "Picture", "ndarray"]
    assert [results[1].size, results[2].shape, results[3].size] == [(90, 40), (3, 30, 50), (90, 60)]
    assert np.abs(results[0].astype(int) - expected).max() <= 1
    assert colorizer([]) == []


@pytest.mark.parametrize("shape", [(60, 90), (60, 90, 1)])
def test_grey_becomes_colour(colorizer: Colorizer, shape: tuple[int, ...]) -> None:
    grey = scene()[..., 1].reshape(shape)
    assert colorizer(grey).shape == (60, 90, 3)
    assert colourfulness(colorizer(grey)) > 20
    assert colorizer(torch.from_numpy(scene()[..., 1])[None]).shape == (3, 60, 90)


def test_alpha_is_kept_as_it_was(colorizer: Colorizer, expected: np.ndarray) -> None:
    alpha = scene()[..., 2:]
    rgba = np.concatenate([scene(), alpha], -1)
    for result in (colorizer(rgba), np.asarray(colorizer(Image.fromarray(rgba))),
                   colorizer(torch.from_numpy(rgba).permute(2, 0, 1)).permute(1, 2, 0).numpy()):  # fmt: skip
        assert result.shape == (60, 90, 4)
        assert (result[..., 3:] == alpha).all()
        assert np.abs(result[..., :3].astype(int) - expected).mean() < 1
    assert colorizer(pil(mode="LA")).mode == "RGBA"


def test_original_colours_are_ignored(colorizer: Colorizer) -> None:
    from gancolor.color.torch_lab import grey, rgb_to_lab, to_float, to_uint8

    tensor = to_float(torch.from_numpy(scene()).permute(2, 0, 1))[None]
    left_grey = to_uint8(grey(rgb_to_lab(tensor)[0]))[0].permute(1, 2, 0).numpy()
    assert np.abs(colorizer(left_grey).astype(int) - colorizer(scene())).mean() < 1.5


def test_pillow_images_keep_their_metadata(colorizer: Colorizer) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a boat", 6
    image = pil()
    image.info |= {"exif": exif.tobytes(), "dpi": (300, 300), "icc_profile": SRGB_PROFILE}
    result = colorizer(image)
    assert result.size == (60, 90)  # rotated upright
    assert result.info["dpi"] == (300, 300)
    assert result.getexif()[0x010E] == "a boat"
    assert result.getexif().get(0x0112, 1) == 1


def test_input_is_not_modified(colorizer: Colorizer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = pil()
    image.info["exif"] = exif.tobytes()
    assert colorizer(image).size == colorizer(image).size == (60, 90)
    assert image.getexif()[0x0112] == 6


def test_tensors_on_a_device(colorizer: Colorizer) -> None:
    """The path for accelerators, run on the CPU, gives the same result as arrays."""
    batch = torch.stack([torch.from_numpy(scene()).permute(2, 0, 1)] * 5)
    batch[1] = batch[1].flip(-1)
    expected = torch.stack(list(colorizer(batch)))
    for one in (batch, batch / 255.0, torch.cat([batch, batch[:, :1]], dim=1)):
        result = colorizer._on_device(one)
        assert result.dtype == one.dtype
        assert result.shape == one.shape
        scale = 255 if one.is_floating_point() else 1
        assert (result[:, :3] * scale - expected.float()).abs().mean() < 1
    assert (result[:, 3:] == batch[:, :1]).all()
    with torch.autocast("cpu", torch.bfloat16):  # as in training
        lightness = rgb2lab(colorizer._on_device(batch)[0].permute(1, 2, 0).numpy())[..., 0]
        assert np.abs(lightness - rgb2lab(scene())[..., 0]).max() < 0.5
    memory = Small(colorizer.backend, 48 * 80)  # for one
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (replace(colorizer, backend=memory)._on_device(batch).float() - expected.float()).abs().mean() < 1
    with pytest.warns(UserWarning, match="half the working size"):
        replace(colorizer, backend=Small(colorizer.backend, 24 * 40))._on_device(batch)


def test_tensors_of_other_types(colorizer: Colorizer) -> None:
    tensor = torch.from_numpy(scene()).permute(2, 0, 1)
    asking = (tensor / 255).requires_grad_()
    assert not colorizer(asking).requires_grad
    assert colorizer((tensor / 255).to(torch.bfloat16)).dtype == torch.bfloat16
    assert colorizer(tensor[None][:0]).shape == (0, 3, 60, 90)
    assert isinstance(colorizer(tv_tensors.Image(tensor)), torch.Tensor)
    for kind in (torch.int16, torch.int64, torch.bool):
        with pytest.raises(InputError, match="a tensor of"):
            colorizer(tensor.to(kind))


def test_arrays_of_other_types(colorizer: Colorizer, expected: np.ndarray) -> None:
    deep = scene(dtype="uint16")
    assert np.abs(colorizer(deep.astype(">u2")).astype(int) - colorizer(deep)).max() <= 1
    with pytest.warns(PendingDeprecationWarning):
        assert colorizer(np.matrix(scene()[..., 0])).shape == (60, 90, 3)
    backwards = colorizer(scene()[::-1, ::-1])
    assert backwards.shape == expected.shape


def test_damaged_weights_are_reported(colorizer: Colorizer) -> None:
    class Damaged:
        about: ClassVar = {}

        def __call__(self, lightness):
            return np.full((len(lightness), 2, *lightness.shape[2:]), np.nan)

    with pytest.raises(InputError, match="its weights are damaged"):
        replace(colorizer, backend=Damaged())(scene())


def test_strength(colorizer: Colorizer) -> None:
    amounts = [colourfulness(replace(colorizer, strength=share)(scene())) for share in (0, 0.25, 0.5, 1, 1.5)]
    assert amounts[0] < 0.5
    assert amounts == sorted(amounts)
    assert amounts[1] < 0.5 * amounts[3]


def test_flips_give_a_mirrored_photograph_mirrored_colours(colorizer: Colorizer) -> None:
    both, one = replace(colorizer, flips=True, size=60), replace(colorizer, size=60)
    mirror = lambda picture: np.ascontiguousarray(picture[:, ::-1])  # noqa: E731
    assert np.abs(mirror(both(mirror(scene()))).astype(int) - both(scene())).mean() < 2
    assert np.abs(mirror(one(mirror(scene()))).astype(int) - one(scene())).mean() > 5


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(16, 512), st.integers(16, 512))
def test_working_sizes(height: int, width: int, size: int, trained: int) -> None:
    small = working_size((height, width), size, trained)
    if size <= trained or size <= min(height, width):
        assert min(small) == size
    else:
        assert min(small) == max(trained, min(height, width))
    assert max(small) <= 8 * min(small) + 8
    assert (small[0] <= small[1]) == (height <= width) or small[0] == small[1]
    if max(height, width) <= 8 * min(height, width):
        scale = min(small) / min(height, width)
        assert abs(max(small) - scale * max(height, width)) <= 8 + 1e-6 or small[0] == small[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5), (300, 2), (17, 16)])
def test_odd_shapes(colorizer: Colorizer, size: tuple[int, int]) -> None:
    assert colorizer(scene(*size)).shape == (*size, 3)
    assert colorizer(torch.rand(1, *size)).shape == (3, *size)


class Small:
    """Backend with memory for only `pixels` pixels at a time."""

    def __init__(self, backend, pixels: int) -> None:
        self.backend, self.pixels, self.about = backend, pixels, backend.about
        self.takes_hints = False

    def __call__(self, lightness):
        if lightness.shape[0] * lightness.shape[-1] * lightness.shape[-2] > self.pixels:
            raise MemoryError
        return self.backend(lightness)


def test_out_of_memory_splits_the_batch_then_halves_the_size_with_a_warning(colorizer: Colorizer) -> None:
    plain = colorizer([scene()] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fewer = replace(colorizer, backend=Small(colorizer.backend, 48 * 80))([scene()] * 3)
    assert all(np.abs(one.astype(int) - two).max() <= 1 for one, two in zip(plain, fewer, strict=True))
    small = replace(colorizer, backend=Small(colorizer.backend, 24 * 40))
    for picture in (scene(), torch.from_numpy(scene()).permute(2, 0, 1)):
        with pytest.warns(UserWarning, match="memory is full: predicting colour at 32 x 24, half the working size"):
            result = small(picture)
        assert colourfulness(np.asarray(result) if result.shape[-1] == 3 else result.permute(1, 2, 0).numpy()) > 10
    none = replace(colorizer, backend=Small(colorizer.backend, 0))
    with pytest.warns(UserWarning, match="half"), pytest.raises(MemoryError, match="even at the smallest working size"):
        none(scene())


def test_inputs_that_are_not_pictures_are_refused(colorizer: Colorizer, tmp_path: Path) -> None:
    cases = [
        (3, "a int is not a picture"), (np.zeros((4, 4, 7), np.uint8), r"shape \(4, 4, 7\) is not that of a picture"),
        (np.zeros((0, 4, 3), np.uint8), "is not that of a picture"), (np.zeros((4, 4), np.int64), "array of int64"),
        (np.full((4, 4), 255.0), "floats from 255 to 255"), (np.full((4, 4), np.nan), "floats from nan"),
        (torch.zeros(4, 4), "is not that of a picture"), (torch.full((3, 4, 4), -1.0), "floats from -1"),
        (tmp_path / "none.jpg", "no such file"), ("a" * 300, "no such file"), (np.zeros(4), "is not that of a picture"),
    ]  # fmt: skip
    for case, words in cases:
        with pytest.raises(InputError, match=words):
            colorizer(case)


@pytest.mark.parametrize(
    ("option", "value"),
    [("strength", 2.1), ("strength", "a"), ("size", 8), ("size", 10**5), ("size", 100.5), ("upsampling", "cubic")],
)
def test_options_out_of_range(colorizer: Colorizer, option: str, value: object) -> None:
    with pytest.raises(InputError, match=str(value)):
        replace(colorizer, **{option: value})


def test_numbers_of_numpy_are_numbers(colorizer: Colorizer) -> None:
    assert replace(colorizer, size=np.int64(64), strength=np.float32(0.5)).size == 64


def test_hints_that_are_none_at_all_are_refused(colorizer: Colorizer) -> None:
    for hints in (None, 3, [(1, 2, "red")]):
        with pytest.raises(InputError, match="hints: give a list"):
            colorizer(scene(), hints)


def test_from_pretrained_accepts_what_load_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_generator(tmp_path / "g.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Colorizer.from_pretrained(path).size == Colorizer.from_pretrained("~/g.safetensors").size == 32
    assert Colorizer.from_pretrained("bundled").name == "bundled"
