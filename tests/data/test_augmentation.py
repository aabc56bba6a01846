import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gancolor.color import rgb_to_lab, to_float
from gancolor.data.augmentation import augment, make_augmentation


def run(augmentation, pictures, seed):
    torch.manual_seed(seed)
    return augment(augmentation, pictures)


def test_flip_mirrors_half_of_the_photographs(scenes):
    """Each by its own chance, and nothing else is done to them."""
    pictures = to_float(scenes[:1]).expand(1000, -1, -1, -1)[..., :8, :8]
    out = run(make_augmentation(8, flip=True, crop_scale=1.0), pictures, 0)
    mirrored = (out == pictures.flip(-1)).flatten(1).all(dim=1)
    same = (out == pictures).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 440 < mirrored.sum() < 560


def test_nothing_is_done_where_nothing_is_wanted(scenes):
    pictures = to_float(scenes)
    assert torch.equal(run(make_augmentation(64, flip=False, crop_scale=1.0), pictures, 0), pictures)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31), flip=st.booleans(), scale=st.floats(0.05, 1), batch=st.integers(1, 4),
    size=st.sampled_from([16, 17, 32]),
)  # fmt: skip
def test_shape_range_and_type_stay(seed, flip, scale, batch, size):
    pictures = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))
    out = run(make_augmentation(size, flip, scale), pictures, seed)
    assert (out.shape, out.dtype) == (pictures.shape, torch.float32)
    assert out.min() >= 0 and out.max() <= 1 and out.isfinite().all()
    assert not out.requires_grad


@pytest.mark.parametrize("crop_scale", [1.0, 0.4])
def test_chance_comes_from_torchs_seed_alone(scenes, crop_scale):
    augmentation, pictures = make_augmentation(64, True, crop_scale), to_float(scenes).repeat(4, 1, 1, 1)
    once = run(augmentation, pictures, 5)
    run(augmentation, pictures, 6)  # whatever was done before
    assert torch.equal(run(augmentation, pictures, 5), once)
    assert torch.equal(run(make_augmentation(64, True, crop_scale), pictures, 5), once)
    assert not torch.equal(run(augmentation, pictures, 6), once)


def test_photographs_of_a_batch_are_cropped_differently(scenes):
    pictures = to_float(scenes[:1]).expand(8, -1, -1, -1)
    out = run(make_augmentation(64, flip=False, crop_scale=0.3), pictures, 1)
    assert len({picture.sum().item() for picture in out}) == 8


@pytest.mark.parametrize("scale", [0.25, 0.6])
def test_crop_keeps_at_least_its_share_of_the_area(scale):
    """Seen in two ramps, whose range within the crop is how much of either side was kept."""
    ramp = torch.linspace(0, 1, 64)
    pictures = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])[None]
    out = run(make_augmentation(64, flip=False, crop_scale=scale), pictures.expand(300, -1, -1, -1), 0)
    width, height = ((out[:, c].amax(dim=(1, 2)) - out[:, c].amin(dim=(1, 2))) for c in (0, 1))
    area, ratio = width * height, width / height
    assert area.min() > scale - 0.06 and area.max() <= 1
    assert area.min() < scale + 0.1 and area.max() > 0.85  # all shares come up
    assert ratio.min() > 3 / 4 - 0.08 and ratio.max() < 4 / 3 + 0.08
    assert ratio.max() - ratio.min() > 0.3


def test_colours_stay_with_their_lightness(scenes):
    """Augmented lightness and chroma are those of the augmented photograph: a mirrored picture has mirrored colours."""
    pictures = to_float(scenes).repeat(8, 1, 1, 1)
    lightness, chroma = rgb_to_lab(run(make_augmentation(64, True, 1.0), pictures, 2))
    plain, colours = rgb_to_lab(pictures)
    mirrored = (lightness == plain.flip(-1)).flatten(1).all(dim=1)
    assert 0 < mirrored.sum() < len(pictures)
    assert torch.equal(lightness[~mirrored], plain[~mirrored]) and torch.equal(chroma[~mirrored], colours[~mirrored])
    assert torch.equal(chroma[mirrored], colours.flip(-1)[mirrored])


def test_float32_inside_autocast(scenes):
    augmentation, pictures = make_augmentation(64, True, 0.5), to_float(scenes)
    outside = run(augmentation, pictures, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(augmentation, pictures, 3)
    assert inside.dtype == torch.float32 and torch.equal(inside, outside)
