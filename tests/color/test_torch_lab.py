from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from gancolor.color.torch_lab import (
    AB_RANGE,
    L_HALF_RANGE,
    exact,
    grey,
    lab_to_rgb,
    rgb_to_lab,
    to_float,
    to_uint8,
    uint8_to_lab,
)


def reference_lab(picture: torch.Tensor) -> torch.Tensor:
    """scikit-image's Lab of (3, H, W) in [0, 1], in double precision."""
    return torch.from_numpy(rgb2lab(picture.double().permute(1, 2, 0).numpy())).permute(2, 0, 1)


def unnormalized(lightness: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    return torch.cat([(lightness.double() + 1) * L_HALF_RANGE, chroma.double() * AB_RANGE], dim=-3)


@pytest.fixture(scope="module")
def cube():
    """The sRGB cube as a picture (3, 52, 52 * 52), its corners and faces included."""
    axis = torch.linspace(0, 1, 52)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, 52, -1)


def test_lab_agrees_with_scikit_image_on_noise():
    picture = torch.rand(3, 40, 60)
    assert (unnormalized(*rgb_to_lab(picture)) - reference_lab(picture)).abs().max() < 1e-3


def test_lab_agrees_with_scikit_image_on_scenes(scenes):
    for picture in to_float(scenes):
        assert (unnormalized(*rgb_to_lab(picture)) - reference_lab(picture)).abs().max() < 1e-3


def test_lab_agrees_with_scikit_image_on_real_photographs(real_photographs):
    for picture in map(to_float, real_photographs):
        assert (unnormalized(*rgb_to_lab(picture)) - reference_lab(picture)).abs().max() < 1e-3


def test_lab_agrees_with_scikit_image_on_all_greys_and_dark_colours():
    levels = torch.arange(256) / 255
    greys = levels.expand(3, 1, 256)
    dark = torch.cartesian_prod(*[torch.arange(12) / 255] * 3).T.reshape(3, 12, 144)
    for picture in (greys, dark):
        assert (unnormalized(*rgb_to_lab(picture)) - reference_lab(picture)).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("colour", "lab"),  # CIE 1976 of sRGB's primaries under D65, as colour tables give them
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(colour, lab):
    picture = torch.tensor(colour, dtype=torch.float32).reshape(3, 1, 1)
    found = unnormalized(*rgb_to_lab(picture)).flatten()
    assert torch.allclose(found, torch.tensor(lab, dtype=torch.float64), atol=0.02)


def test_lookup_table_agrees_with_conversion_and_scikit_image():
    levels = torch.arange(0, 256, 3, dtype=torch.uint8)
    colours = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij"), dim=1)  # (86, 3, 86, 86)
    found = uint8_to_lab(colours)
    assert found.dtype == torch.float32 and found.shape == colours.shape
    assert (found - unnormalized(*rgb_to_lab(to_float(colours)))).abs().max() < 2e-4
    reference = torch.from_numpy(rgb2lab(colours.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
    assert (found - reference).abs().max() < 2e-4
    greys = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    assert (uint8_to_lab(greys) - unnormalized(*rgb_to_lab(to_float(greys)))).abs().max() < 2e-4


def test_rgb_agrees_with_scikit_image_within_the_gamut(scenes):
    lightness, chroma = rgb_to_lab(to_float(scenes))
    for one, other in zip(lightness, chroma, strict=True):
        reference = lab2rgb(unnormalized(one, other).permute(1, 2, 0).numpy())
        assert np.abs(lab_to_rgb(one, other).permute(1, 2, 0).numpy() - reference).max() < 1e-4


def test_round_trip_over_the_cube(cube):
    assert (lab_to_rgb(*rgb_to_lab(cube)) - cube).abs().max() < 1e-4


def test_every_srgb_colour_is_within_the_normalized_ranges(cube):
    lightness, chroma = rgb_to_lab(cube)
    assert lightness.min() >= -1 - 1e-6 and lightness.max() <= 1 + 1e-6
    assert chroma.abs().max() <= 1
    assert chroma.abs().max() > 0.97  # the constant is as small as possible
    assert lightness.min() < -0.999 and lightness.max() > 0.999


def test_colours_outside_the_gamut_are_clipped():
    lightness = torch.rand(1, 1, 8, 8) * 2 - 1
    rgb = lab_to_rgb(lightness, torch.rand(1, 2, 8, 8).sign() * torch.tensor([[[1.0]], [[-1.0]]]))
    assert rgb.min() >= 0 and rgb.max() <= 1 and rgb.isfinite().all()


def test_colours_outside_the_gamut_are_kept_without_clipping():
    lightness, chroma = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 2, 2, 2), 0.9)
    rgb = lab_to_rgb(lightness, chroma, clip=False)
    assert rgb.max() > 1.1 and rgb.min() < -0.1
    assert torch.equal(rgb.clamp(0, 1), lab_to_rgb(lightness, chroma))


def test_gradients_are_finite_everywhere(cube):
    picture = cube.clone().requires_grad_()
    lightness, chroma = rgb_to_lab(picture)
    (lightness.sum() + chroma.sum()).backward()
    assert picture.grad.isfinite().all()


@pytest.mark.parametrize("level", [0.0, 1e-8, 0.04045, 0.5, 1.0])
def test_gradients_of_flat_greys_are_finite_in_both_directions(level):
    picture = torch.full((1, 3, 4, 4), level, requires_grad=True)
    lab_to_rgb(*rgb_to_lab(picture)).sum().backward()
    assert picture.grad.isfinite().all()


def test_gradients_of_black_chroma_are_finite():
    chroma = torch.zeros(1, 2, 4, 4, requires_grad=True)
    lab_to_rgb(torch.full((1, 1, 4, 4), -1.0), chroma).sum().backward()
    assert chroma.grad.isfinite().all()


def test_arithmetic_is_float32_inside_autocast(scenes):
    picture = to_float(scenes)
    outside = rgb_to_lab(picture)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rgb_to_lab(picture)
        back = lab_to_rgb(*inside)
    for one, other in zip(inside, outside, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)
    assert back.dtype == torch.float32 and torch.equal(back, lab_to_rgb(*outside))


@pytest.fixture
def tf32():
    """Enable both TF32 switches."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield backends
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


@pytest.mark.parametrize("error", [None, KeyError])
def test_exact_disables_and_restores_tf32_and_autocast(tf32, error):
    with suppress(KeyError), exact(torch.device("cuda")):
        assert not any(backend.allow_tf32 for backend in tf32)
        if error:
            raise error
    assert all(backend.allow_tf32 for backend in tf32)
    with suppress(KeyError), torch.autocast("cpu", dtype=torch.bfloat16), exact(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert all(backend.allow_tf32 for backend in tf32)  # the test may be one of several threads
        if error:
            raise error


def test_table_of_levels_is_float32_inside_autocast(scenes):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = uint8_to_lab(scenes)
    assert inside.dtype == torch.float32 and torch.equal(inside, uint8_to_lab(scenes))


def test_half_precision_input_is_raised_to_float32():
    lightness, chroma = rgb_to_lab(torch.rand(3, 4, 4).bfloat16())
    assert lightness.dtype == chroma.dtype == torch.float32
    assert lab_to_rgb(lightness.bfloat16(), chroma.bfloat16()).dtype == torch.float32


def test_grey_keeps_the_lightness_and_has_no_chroma(scenes):
    lightness, _ = rgb_to_lab(to_float(scenes))
    picture = grey(lightness)
    assert picture.shape == (4, 3, 64, 64)
    kept, chroma = rgb_to_lab(picture)
    assert (kept - lightness).abs().max() < 1e-4
    assert (chroma * AB_RANGE).abs().max() < 0.05
    assert (picture.amax(dim=1) - picture.amin(dim=1)).max() < 1e-3  # R = G = B


def test_every_8_bit_value_survives_float_and_back():
    levels = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    assert to_float(levels).dtype == torch.float32
    assert to_float(levels).max() == 1
    assert torch.equal(to_uint8(to_float(levels)), levels)


def test_to_uint8_rounds_and_clips():
    values = torch.tensor([-0.5, 0.0019, 0.0020, 0.5, 0.9985, 1.7])
    assert to_uint8(values).tolist() == [0, 0, 1, 128, 255, 255]


def test_8_bit_round_trip_through_lab_is_exact(scenes):
    assert torch.equal(to_uint8(lab_to_rgb(*rgb_to_lab(to_float(scenes)))), scenes)


@given(
    batch=st.lists(st.integers(1, 3), max_size=2), height=st.integers(1, 9), width=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_round_trip_of_any_shape(batch, height, width, seed):
    picture = torch.rand(*batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    lightness, chroma = rgb_to_lab(picture)
    assert lightness.shape == (*batch, 1, height, width)
    assert chroma.shape == (*batch, 2, height, width)
    assert (lab_to_rgb(lightness, chroma) - picture).abs().max() < 1e-4
    assert grey(lightness).shape == picture.shape


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_any_8_bit_colour_survives_the_round_trip(colour):
    picture = torch.tensor(colour, dtype=torch.uint8).reshape(3, 1, 1)
    lightness, chroma = rgb_to_lab(to_float(picture))
    assert lightness.abs().max() <= 1 + 1e-6 and chroma.abs().max() <= 1
    assert torch.equal(to_uint8(lab_to_rgb(lightness, chroma)), picture)
