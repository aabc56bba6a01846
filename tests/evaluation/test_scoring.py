import threading
from functools import partial

import pytest
import torch
from made_generators import made_generator
from scored import Colorist, photographs_of

from gancolor import Colorizer
from gancolor.color import colorfulness
from gancolor.color.torch_lab import lab_to_rgb, rgb_to_lab, to_float, to_uint8, uint8_to_lab
from gancolor.config.options import LpipsConfig
from gancolor.data.decode import fit_square
from gancolor.evaluation import scoring
from gancolor.evaluation.scoring import (
    GREY,
    Colorized,
    as_system,
    colorize,
    greyed,
    load_networks,
    resize_hints,
    score,
    score_generator,
)
from gancolor.metrics import image as metrics
from gancolor.utils import distributed
from gancolor.utils.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "fp32")


@pytest.fixture
def truth(scenes):
    """Seven pictures."""
    return torch.cat([scenes, scenes[:3].flip(1)])


def pictures_of(pictures: torch.Tensor):
    """Another tool's pictures as a system."""
    return lambda _, indices: Colorized(pictures[indices])


def by_hand(made: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every figure of uint8 pictures, one picture at a time."""
    picture, true, lab, true_lab = to_float(made), to_float(truth), uint8_to_lab(made), uint8_to_lab(truth)
    colour = colorfulness.colorfulness(picture)
    return {
        "psnr": metrics.psnr(picture, true),
        "ssim": metrics.ssim(picture, true),
        "mse": metrics.mse(picture, true),
        "ciede2000": metrics.ciede2000(lab, true_lab),
        "auc": metrics.raw_accuracy(lab, true_lab),
        "colorfulness": colour,
        "colorfulness_difference": colour - colorfulness.colorfulness(true),
        "colorfulness_ddcolor": colorfulness.colorfulness_ddcolor(picture),
    }


def assert_scores(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == torch.float32 and found[name].shape == values.shape, name
        assert torch.allclose(found[name], values, rtol=1e-4, atol=1e-4), name


def test_rank_without_photographs_takes_part_in_every_gathering(truth, monkeypatch):
    """With fewer photographs than ranks. The other ranks would wait for it, and take no rows of another width."""
    networks, embed = {"lpips": lambda made, _: made[:, 0, 5, 7]}, lambda pictures: pictures[:, :, 5, 7].float()
    gathered = {0: [], 1: []}
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank, shares in gathered.items():

        def gather(share, total, shares=shares):
            shares.append(share)
            return share.new_zeros(total, *share.shape[1:])

        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "gather_shares", gather)
        score({"grey": GREY}, photographs_of(truth[:1]), CPU, 32, networks, embed)
    assert len(gathered[0]) == len(gathered[1]) == 4
    for mine, theirs in zip(gathered[0], gathered[1], strict=True):
        assert (len(mine), len(theirs)) == (1, 0)
        assert mine.shape[1:] == theirs.shape[1:] and mine.dtype == theirs.dtype


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_scores_are_the_metrics_whatever_the_batch(truth, batch_size):
    generator, others = Colorist(0.3, -0.2), truth.roll(1, dims=0)
    systems = {"grey": GREY, "ugan": as_system(generator), "tool": pictures_of(others)}
    difference = lambda made, true: (made - true).abs().mean(dim=(1, 2, 3))  # noqa: E731
    networks, embed = {"lpips": difference}, lambda pictures: pictures[:, :, 5, 7].float()
    found, features = score(systems, photographs_of(truth), CPU, batch_size, networks, embed)
    assert list(found) == [*systems, "truth"]
    made = {"grey": greyed(truth), "ugan": colorize(generator, truth).pictures, "tool": others}
    for name, pictures in made.items():
        expected = by_hand(pictures, truth) | {"lpips": difference(to_float(pictures), to_float(truth))}
        if name == "ugan":
            expected["in_gamut"] = colorize(generator, truth).in_gamut
        assert_scores(found[name], expected)
    own = by_hand(truth, truth)
    assert_scores(found["truth"], {name: own[name] for name in ("colorfulness", "colorfulness_ddcolor")})
    for name, pictures in {**made, "truth": truth}.items():
        assert torch.equal(features[name], embed(pictures))


def test_grey_has_no_colour_and_the_truth_is_all_there_is_without_systems(truth):
    found, _ = score({"grey": GREY}, photographs_of(truth), CPU)
    assert found["grey"]["colorfulness"].max() < 0.5 and "in_gamut" not in found["grey"]
    alone, features = score({}, photographs_of(truth), CPU)
    assert list(alone) == ["truth"] and features == {}
    assert torch.equal(alone["truth"]["colorfulness"], found["truth"]["colorfulness"])


def test_in_gamut_is_of_what_was_predicted_not_of_what_is_saved(truth):
    for chroma, least, most in ((0.0, 100, 100), (0.35, 70, 95), (1.0, 40, 65)):
        found = score_generator(Colorist(chroma, chroma), photographs_of(truth), CPU)["in_gamut"]
        assert least <= found.mean() <= most
    lightness, _ = rgb_to_lab(to_float(truth))
    made = lab_to_rgb(lightness, Colorist(0.35, 0.35)(lightness).chroma, clip=False)
    colorized = colorize(Colorist(0.35, 0.35), truth)
    assert torch.equal(colorized.in_gamut, metrics.within_gamut(made))
    inside = ((made > 0) & (made < 1)).all(dim=1)
    changed = (colorized.pictures.int() - to_uint8(made).int()).abs().amax(dim=1)
    assert 0.5 < inside.float().mean() < 0.95
    assert changed[inside].max() <= 1 and (changed[inside] > 0).float().mean() < 0.01 and changed[~inside].max() > 10


@pytest.mark.parametrize("size", [64, 32, 96])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_pictures_are_those_that_colorizer_delivers(truth, real_photographs, tmp_path, kind, size):
    """At the size of training, larger and smaller, for predictions that often lie outside sRGB."""
    colorizer = Colorizer.load(made_generator(tmp_path / "generator.safetensors", size), device="cpu")
    pictures = torch.cat([truth, torch.stack([fit_square(picture, 64) for picture in real_photographs])])
    scored = colorize(colorizer.backend.network, pictures, size=size)
    delivered = torch.from_numpy(colorizer(pictures.movedim(1, -1).numpy())).movedim(-1, 1)
    if kind == "tensor":
        delivered = colorizer._on_device(pictures)  # what accelerators do
    assert scored.in_gamut.mean() < 80
    difference = (scored.pictures.int() - delivered.int()).abs()
    if size >= 64 or kind == "tensor":
        assert difference.max() <= 1 and (difference > 0).float().mean() < 1e-3
    else:  # arrays are shrunk by another library
        assert difference.float().mean() < 1


def test_a_pixel_of_a_smaller_input_has_the_mean_of_its_hints():
    hints = torch.zeros(1, 3, 4, 4)
    hints[0, :, 0, 0] = torch.tensor([0.5, -0.5, 1.0])
    hints[0, :, 0, 1] = torch.tensor([0.1, 0.1, 1.0])
    small = resize_hints(hints, (2, 2))
    assert small[0, :, 0, 0].tolist() == pytest.approx([0.3, -0.2, 1.0])
    assert small[0, :, 1].abs().sum() == 0 and small[0, :, 0, 1].abs().sum() == 0


def test_colours_that_are_not_numbers_are_scored(truth):
    """Of a training that diverged."""
    found = score_generator(Colorist(torch.nan, torch.nan), photographs_of(truth), CPU)
    assert found["psnr"].mean() < 20 and found["in_gamut"].max() == 0


def test_generator_sees_the_lightness_alone(truth):
    """True colours do not leak."""
    lightness, _ = rgb_to_lab(to_float(truth))
    seen = []
    generator = Colorist(0.1, 0.1)
    generator.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    colorize(generator, truth)
    assert torch.equal(seen[0], lightness)


def test_colours_of_another_view_are_joined_with_the_photographs_own_lightness(truth):
    """The generator sees the view alone; what is scored has the photograph's lightness."""
    view = torch.linspace(-1, 1, len(truth)).view(-1, 1, 1, 1).expand(-1, 1, *truth.shape[2:])
    generator, asked = Colorist(0.2, -0.1), []
    system = as_system(generator, lambda _, indices: asked.append(indices) or view[indices])
    indices = torch.tensor([2, 0, 5])
    made = system(truth[indices], indices)
    lightness, _ = rgb_to_lab(to_float(truth[indices]))
    expected = lab_to_rgb(lightness, generator(view[indices]).chroma, clip=False)
    inside = ((expected > 0) & (expected < 1)).all(dim=1, keepdim=True).expand_as(expected)
    assert inside.float().mean() > 0.5 and asked == [indices]
    assert (made.pictures.int() - to_uint8(expected).int())[inside].abs().max() <= 1
    assert not torch.equal(made.pictures, colorize(generator, truth[indices]).pictures)


@pytest.mark.parametrize("fails", [False, True])
def test_threads_are_as_they_were(truth, fails):
    """Of this thread and of those that start later."""

    def system(pictures, _):
        if fails:
            raise KeyError
        return Colorized(pictures)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for generator in (partial(score, {"tool": system}), partial(score_generator, Colorist())):
            try:
                generator(photographs_of(truth), CPU)
            except KeyError:
                assert fails
            seen = []
            later = threading.Thread(target=lambda seen=seen: seen.append(torch.get_num_threads()))
            later.start()
            later.join()
            assert torch.get_num_threads() == 3 and seen == [3]
    finally:
        torch.set_num_threads(before)


def test_photographs_are_judged_on_every_core(truth, monkeypatch):
    before, seen = torch.get_num_threads(), []
    judge, met = scoring._judge, threading.Barrier(2, timeout=30)

    def meeting(*parts):
        met.wait()
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return judge(*parts)

    monkeypatch.setattr(scoring, "_judge", meeting)
    torch.set_num_threads(2)
    try:
        score({"grey": GREY}, photographs_of(truth[:6]), CPU)
    finally:
        torch.set_num_threads(before)
    assert len({thread for thread, _ in seen}) == 2 and {threads for _, threads in seen} == {1}


def test_networks_that_cannot_be_had_are_said(monkeypatch, tmp_path):
    networks, problems = load_networks(LpipsConfig("auto", str(tmp_path / "vgg.pth")), CPU.device, 64, download=False)
    assert networks == {} and list(problems) == ["LPIPS", "LPIPS (VGG)"]
    assert "--lpips.weights FILE" in problems["LPIPS"] and "vgg.pth: no such file" in problems["LPIPS (VGG)"]
    assert load_networks(LpipsConfig("off", "off"), CPU.device, 16) == ({}, {})
