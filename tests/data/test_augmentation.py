from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gancolor.color.torch_lab import rgb_to_lab, to_float
from gancolor.config.options import DataConfig
from gancolor.data import preprocess as preparation
from gancolor.data.augmentation import Augmentation
from gancolor.data.preprocess import Preprocess
from gancolor.utils.hardware import Hardware


def run(augmentation, pictures, seed):
    torch.manual_seed(seed)
    return augmentation(pictures)


def test_flip_mirrors_half_of_the_photographs(scenes):
    """Each by its own chance, and nothing else is done to them."""
    pictures = scenes[:1].expand(1000, -1, -1, -1)[..., :8, :8]
    out = run(Augmentation(8, flip=True, crop_scale=1.0), pictures, 0)
    mirrored = (out == pictures.flip(-1)).flatten(1).all(dim=1)
    same = (out == pictures).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 440 < mirrored.sum() < 560


def test_nothing_is_done_where_nothing_is_wanted(scenes):
    assert torch.equal(run(Augmentation(64, flip=False, crop_scale=1.0), scenes, 0), scenes)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31), flip=st.booleans(), scale=st.floats(0.05, 1), batch=st.integers(1, 4),
    size=st.sampled_from([16, 17, 32]),
)  # fmt: skip
def test_shape_and_type_stay(seed, flip, scale, batch, size):
    chance = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=chance)
    out = run(Augmentation(size, flip, scale), pictures, seed)
    assert (out.shape, out.dtype) == (pictures.shape, torch.uint8)


@pytest.mark.parametrize("crop_scale", [1.0, 0.4])
def test_chance_comes_from_torchs_seed_alone(scenes, crop_scale):
    augmentation, pictures = Augmentation(64, True, crop_scale), scenes.repeat(4, 1, 1, 1)
    once = run(augmentation, pictures, 5)
    run(augmentation, pictures, 6)  # whatever was done before
    assert torch.equal(run(augmentation, pictures, 5), once)
    assert torch.equal(run(Augmentation(64, True, crop_scale), pictures, 5), once)
    assert not torch.equal(run(augmentation, pictures, 6), once)


def test_photographs_of_a_batch_are_cropped_differently(scenes):
    pictures = scenes[:1].expand(8, -1, -1, -1)
    out = run(Augmentation(64, flip=False, crop_scale=0.3), pictures, 1)
    assert len({picture.float().sum().item() for picture in out}) == 8


@pytest.mark.parametrize("scale", [0.25, 0.6])
def test_crop_keeps_at_least_its_share_of_the_area(scale):
    """Seen in two ramps, whose range within the crop is how much of either side was kept."""
    ramp = torch.linspace(0, 255, 64)
    pictures = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])[None].byte()
    out = to_float(run(Augmentation(64, flip=False, crop_scale=scale), pictures.expand(300, -1, -1, -1), 0))
    width, height = ((out[:, c].amax(dim=(1, 2)) - out[:, c].amin(dim=(1, 2))) for c in (0, 1))
    area, ratio = width * height, width / height
    assert area.min() > scale - 0.06 and area.max() <= 1
    assert area.min() < scale + 0.1 and area.max() > 0.85  # all shares come up
    assert ratio.min() > 3 / 4 - 0.08 and ratio.max() < 4 / 3 + 0.08
    assert ratio.max() - ratio.min() > 0.3


def test_float32_inside_autocast(scenes):
    augmentation = Augmentation(64, True, 0.5)
    outside = run(augmentation, scenes, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run(augmentation, scenes, 3), outside)


# Preparation ------------------------------------------------------------------------------------------------------


def prepared(pictures, seed=2, **options):
    labels = torch.arange(len(pictures))
    torch.manual_seed(seed)
    return Preprocess(DataConfig(size=64, **options), Hardware(torch.device("cpu"), "fp32"))(pictures, labels)


def test_batch_is_the_augmented_photographs_lab(scenes):
    torch.manual_seed(2)
    lightness, chroma = rgb_to_lab(to_float(Augmentation(64, True, 0.5)(scenes)))
    batch = prepared(scenes, crop_scale=0.5)
    assert torch.allclose(batch.lightness, lightness, atol=1e-5) and torch.allclose(batch.chroma, chroma, atol=1e-5)
    assert batch.lightness.is_contiguous(memory_format=torch.channels_last)
    assert batch.chroma.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.tolist() == list(range(len(scenes)))


def test_colours_stay_with_their_lightness(scenes):
    """A mirrored picture has mirrored colours."""
    pictures = scenes.repeat(8, 1, 1, 1)
    lightness, chroma, *_ = prepared(pictures)
    plain, colours, *_ = prepared(pictures, flip=False)
    mirrored = (lightness == plain.flip(-1)).flatten(1).all(dim=1)
    assert 0 < mirrored.sum() < len(pictures)
    assert torch.equal(lightness[~mirrored], plain[~mirrored]) and torch.equal(chroma[~mirrored], colours[~mirrored])
    assert torch.equal(chroma[mirrored], colours.flip(-1)[mirrored])


def test_conversion_is_exact_from_outside(scenes, monkeypatch):
    """What switches TF32 off must hold around a compiled function, which forgets what it switches itself."""
    inside = []

    @contextmanager
    def exact(device):
        inside.append(device)
        yield
        inside.pop()

    monkeypatch.setattr(preparation, "exact", exact)
    prepare = Preprocess(DataConfig(size=64), Hardware(torch.device("cpu"), "fp32"))
    convert, seen = prepare.convert, []
    prepare.convert = lambda *args: seen.append(list(inside)) or convert(*args)
    prepare(scenes, torch.zeros(len(scenes), dtype=torch.int64))
    assert seen == [[scenes.device]]
