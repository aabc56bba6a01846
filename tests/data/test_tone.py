"""Damage of tone: what the networks see of old photographs, and that nothing else changes."""

from itertools import pairwise

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gancolor.color.torch_lab import grey, rgb_to_lab, to_float, to_linear, to_uint8
from gancolor.config.options import DataConfig
from gancolor.data import tone
from gancolor.data.preprocess import Preprocess
from gancolor.data.tone import (
    blurred,
    damage_of_names,
    damaged_lightness,
    developed,
    draw_damage,
    exposed,
    faded,
    grained,
)
from gancolor.utils.hardware import Hardware

CPU = torch.device("cpu")


def prepared(pictures, seed=2, **options):
    torch.manual_seed(seed)
    labels = torch.arange(len(pictures))
    return Preprocess(DataConfig(size=pictures.shape[-1], **options), Hardware(CPU, "fp32"))(pictures, labels)


def of_each(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((count, 1, 1, 1), value)


def plain(color: tuple[int, int, int], size: int = 16) -> torch.Tensor:
    """uint8 (1, 3, size, size) of one colour."""
    return torch.tensor(color, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, size, size).contiguous()


def draw(count=200, strength=1.0, seed=0, size=16, **options):
    return draw_damage(count, size, strength, CPU, torch.Generator().manual_seed(seed), **options)


# Training's batches -----------------------------------------------------------------------------------------------


def test_without_tone_nothing_is_drawn_and_nothing_changes(scenes, monkeypatch):
    """Bit for bit: the lightness is the photographs', and torch's chance goes on as though there were no such thing."""
    monkeypatch.setattr("gancolor.data.preprocess.draw_damage", None)
    monkeypatch.setattr("gancolor.data.preprocess.damaged_lightness", None)
    batch = prepared(scenes, flip=False, tone=0.0)
    after = torch.rand(3)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3), after)
    lightness, _ = rgb_to_lab(to_float(scenes))
    assert torch.allclose(batch.lightness, lightness, atol=1e-5)


def test_only_what_is_seen_changes(scenes):
    """The true chroma, the crops and the flips stay, bit for bit; those that are not damaged do too."""
    pictures = scenes.repeat(25, 1, 1, 1)
    clean, old = (prepared(pictures, tone=strength, crop_scale=0.6) for strength in (0.0, 1.0))
    assert torch.equal(old.chroma, clean.chroma) and torch.equal(old.labels, clean.labels)
    same = (old.lightness == clean.lightness).flatten(1).all(dim=1)
    assert same.float().mean().item() == pytest.approx(1 - tone.DAMAGED, abs=0.1)
    assert old.lightness.dtype == torch.float32 and old.lightness.shape == clean.lightness.shape
    assert old.lightness.min() >= -1 and old.lightness.max() <= 1 and old.lightness.isfinite().all()
    assert old.lightness.is_contiguous(memory_format=torch.channels_last)


def test_more_strength_is_more_damage(scenes):
    pictures = scenes.repeat(8, 1, 1, 1)
    clean, *old = (prepared(pictures, tone=strength).lightness for strength in (0.0, 0.01, 0.25, 0.5, 1.0))
    changes = [(lightness - clean).abs().mean(dim=(1, 2, 3)) for lightness in old]
    assert changes[0].max() < 0.02
    means = [change.mean() for change in changes]
    assert all(more > 1.5 * less for less, more in pairwise(means))


def test_chance_comes_from_torchs_seed_alone(scenes):
    """So a resumed run sees the same photographs."""
    once = prepared(scenes, seed=5, tone=1.0).lightness
    assert not torch.equal(prepared(scenes, seed=6, tone=1.0).lightness, once)
    assert torch.equal(prepared(scenes, seed=5, tone=1.0).lightness, once)


def test_each_photograph_has_its_own_damage(scenes):
    old = prepared(scenes[:1].expand(40, -1, -1, -1), flip=False, tone=1.0).lightness
    kinds = {picture.numpy().tobytes() for picture in old}
    clean = (old == prepared(scenes[:1], flip=False).lightness).flatten(1).all(dim=1).sum()
    assert len(kinds) == 40 - clean + 1 and 8 < clean < 28


def test_float32_inside_autocast(scenes):
    outside = prepared(scenes, tone=1.0).lightness
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prepared(scenes, tone=1.0).lightness, outside)


def test_the_host_never_waits_for_the_device():
    """Tensors without values have none to wait for: what asked for one would fail."""
    with FakeTensorMode():
        damage = draw_damage(4, 32, 1.0, CPU)
        old = damaged_lightness(torch.zeros(4, 1, 32, 32), torch.rand(4, 3, 32, 32), damage)
    assert old.shape == (4, 1, 32, 32)


# Chance -----------------------------------------------------------------------------------------------------------


def test_draws_stay_in_their_ranges_and_reach_their_ends():
    damage = draw(4000, damaged=1.0, each=1.0)
    for name, low, high in (
        ("film", 0, 1), ("green", *tone.GREEN), ("blur", 0, tone.BLUR), ("exponent", 2**-tone.STOPS, 2**tone.STOPS),
        ("grain", 0, tone.GRAIN), ("black", *tone.BLACK), ("white", *tone.WHITE),
    ):  # fmt: skip
        values, margin = getattr(damage, name), (high - low) / 100
        assert low - 1e-6 <= values.min() < low + margin and high - margin < values.max() <= high + 1e-6, name
    assert damage.any.all()


def test_kinds_of_damage_come_independently():
    damage = draw(4000)
    assert damage.any.float().mean().item() == pytest.approx(tone.DAMAGED, abs=0.03)
    done = [damage.film > 0, damage.blur > 0, damage.exponent != 1, damage.grain > 0, damage.white != 1]
    for kind in done:
        assert kind.float().mean().item() == pytest.approx(tone.EACH, abs=0.03)
    together = torch.stack(done).all(dim=0).float().mean().item()
    assert together == pytest.approx(tone.EACH ** len(done), abs=0.03)


def test_no_strength_is_no_damage(scenes):
    lightness, _ = rgb_to_lab(to_float(scenes))
    damage = draw(4, strength=0.0, size=64, damaged=1.0, each=1.0)
    assert torch.allclose(damaged_lightness(lightness, to_linear(scenes), damage), lightness, atol=1e-4)


def test_a_photographs_damage_follows_from_its_name_alone():
    one, two = damage_of_names(["a.jpg", "b/c.jpg"], 16, 1.0), damage_of_names(["b/c.jpg"], 16, 1.0)
    for name in one._fields:
        assert torch.equal(getattr(one, name)[1:], getattr(two, name)), name
    assert not torch.equal(one.noise[0], one.noise[1]) and one.exponent[0] != one.exponent[1]
    assert one.any.all()
    before = torch.random.get_rng_state()
    damage_of_names(["a.jpg"], 16, 1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


# Each kind --------------------------------------------------------------------------------------------------------


def test_film_darkens_red_lightens_blue_and_leaves_greys():
    red, blue, mid = (to_linear(plain(color)) for color in ((220, 30, 30), (30, 30, 220), (119, 119, 119)))

    def seen(light, amount):
        return exposed(light, of_each(amount), of_each(0.5)).mean().item()

    assert seen(red, 1.0) < 0.2 * seen(red, 0.0)
    assert seen(red, 0.0) > seen(red, 0.4) > seen(red, 1.0)
    assert seen(blue, 1.0) > 2 * seen(blue, 0.0)
    assert seen(mid, 1.0) == pytest.approx(seen(mid, 0.0), abs=1e-6)
    greys = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    light = to_linear(greys)
    assert torch.allclose(exposed(light, of_each(1.0), of_each(0.3)), light[:, :1], atol=1e-6)


def test_film_that_sees_as_the_eye_gives_the_true_lightness(scenes):
    light = to_linear(scenes)
    lightness, _ = rgb_to_lab(to_float(scenes))
    damage = draw(4, strength=0.0, size=64)._replace(any=torch.ones(4, 1, 1, 1, dtype=torch.bool))
    assert torch.allclose(damaged_lightness(lightness, light, damage), lightness, atol=1e-4)
    old = damaged_lightness(lightness, light, damage._replace(film=of_each(1.0, 4)))
    drop = (old - lightness)[:, 0]
    reddish = (light[:, 0] > light[:, 1]) & (light[:, 0] > light[:, 2])
    assert reddish.any() and (drop[reddish] < 1e-4).all()


def test_blur_is_each_photographs_own_gaussian():
    """Of a point: its spread is the deviation asked for, its sum stays."""
    side = 128
    point = torch.zeros(3, 1, side, side)
    point[:, :, 64, 64] = 1.0
    out = blurred(point, torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1) * tone.BLUR)
    assert torch.allclose(out.sum(dim=(1, 2, 3)), torch.ones(3), atol=1e-5)
    assert torch.allclose(out[0], point[0], atol=1e-6)
    places = torch.arange(side) - 64.0
    for number, share in ((1, 0.5), (2, 1.0)):
        for axis in (1, 2):
            spread = (out[number].sum(dim=(0, axis)) * places**2).sum().sqrt().item()
            assert spread == pytest.approx(share * tone.BLUR * side, rel=0.1), (number, axis)
    flat = torch.full((1, 1, 16, 16), 0.3)
    assert torch.allclose(blurred(flat, of_each(tone.BLUR)), flat, atol=1e-6)  # the edges, too


def test_tone_curve_grain_and_fading_are_their_formulas():
    x = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 2, 2)
    assert torch.allclose(developed(x, of_each(2.0)), x**2)
    assert torch.allclose(faded(x, of_each(0.2), of_each(0.8)), 0.2 + 0.6 * x)
    assert torch.equal(faded(x, of_each(-0.5), of_each(1.5)).flatten(), torch.tensor([0.0, 0.0, 0.5, 1.0]))
    noise = torch.randn(1, 1, 500, 500)
    for level, expected in ((0.0, 0.0), (0.5, 0.05), (0.1, 0.03), (1.0, 0.0)):
        out = grained(torch.full_like(noise, level), of_each(0.05), noise)
        assert out.std().item() == pytest.approx(expected, abs=1e-3)
        assert out.mean().item() == pytest.approx(level, abs=1e-3)


def test_photographs_at_full_strength_are_still_photographs(real_photographs):
    """Damaged as they are, their greys go up and down with the true ones."""
    pictures = torch.stack([picture[:, 20:276, 50:306] for picture in real_photographs]).repeat(6, 1, 1, 1)
    lightness, _ = rgb_to_lab(to_float(pictures))
    damage = draw(len(pictures), size=256, damaged=1.0, each=1.0)
    old = damaged_lightness(lightness, to_linear(pictures), damage)
    shown = to_uint8(grey(old)).float().flatten(1)
    true = to_uint8(grey(lightness)).float().flatten(1)
    for one, other in zip(shown, true, strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.7
