import math
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.transforms.v2.functional import resize

from gancolor.color import colorfulness
from gancolor.color.torch_lab import grey, rgb_to_lab, to_float, to_uint8, uint8_to_lab
from gancolor.metrics import image as metrics
from gancolor.metrics import lpips
from gancolor.utils.errors import InputError

SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}


def degraded(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """Degrade uint8 pictures as wrong colorization does, and in other ways."""
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    return {
        "grey": to_uint8(grey(rgb_to_lab(to_float(pictures))[0])),
        "noise": to_uint8(to_float(pictures) + 0.1 * noise),
        "shifted": pictures.roll(1, dims=-1),
        "swapped": pictures.flip(1),
        "almost": to_uint8(to_float(pictures) + 0.002 * noise),
        "black": torch.zeros_like(pictures),
    }


def arrays(one: torch.Tensor, other: torch.Tensor):
    """Pairs of (H, W, 3) uint8."""
    return zip(one.permute(0, 2, 3, 1).numpy(), other.permute(0, 2, 3, 1).numpy(), strict=True)


def assert_agrees_with_scikit_image(made: torch.Tensor, truth: torch.Tensor) -> None:
    psnr, ssim = (metric(to_float(made), to_float(truth)) for metric in (metrics.psnr, metrics.ssim))
    assert psnr.shape == ssim.shape == (len(truth),)
    for number, (a, b) in enumerate(arrays(made, truth)):
        assert psnr[number].item() == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-3)
        assert ssim[number].item() == pytest.approx(structural_similarity(b, a, **SSIM), abs=1e-4)


@pytest.mark.parametrize("how", ["grey", "noise", "shifted", "swapped", "almost", "black"])
def test_psnr_and_ssim_agree_with_scikit_image(scenes, how):
    assert_agrees_with_scikit_image(degraded(scenes)[how], scenes)


def test_psnr_and_ssim_agree_with_scikit_image_on_real_photographs(real_photographs):
    truth = torch.stack([photograph[:, :96, :128] for photograph in real_photographs])
    assert_agrees_with_scikit_image(degraded(truth)["grey"], truth)


def test_psnr_is_of_each_picture_not_of_the_batch():
    truth = torch.zeros(2, 3, 4, 4)
    made = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    assert metrics.psnr(made, truth).tolist() == pytest.approx([20, 40], abs=1e-4)


def test_identical_pictures_are_perfect(scenes):
    pictures = to_float(scenes)
    assert (
        metrics.psnr(pictures, pictures).eq(100).all()
    )  # finite, because an infinite value would make the mean infinite
    assert torch.allclose(metrics.ssim(pictures, pictures), torch.ones(len(pictures)))


def test_ssim_takes_pictures_as_small_as_its_window():
    picture = torch.rand(1, 3, 11, 11)
    assert metrics.ssim(picture, picture).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("height", "width"), [(11, 12), (74, 74), (75, 138), (63, 139), (129, 11), (203, 77), (256, 256), (400, 512)]
)
def test_ssim_agrees_with_scikit_image_at_any_size(real_photographs, height, width):
    """Also for sizes that are no multiple of the computed blocks."""
    truth = torch.stack([resize(photograph, [400, 512])[:, :height, -width:] for photograph in real_photographs[:2]])
    assert_agrees_with_scikit_image(degraded(truth)["noise"], truth)


# Colour differences ----------------------------------------------------------------------------------------------


def lab_of(pictures: torch.Tensor) -> np.ndarray:
    """scikit-image's Lab of uint8 (B, 3, H, W), (B, H, W, 3) in double precision."""
    return rgb2lab(pictures.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("how", ["grey", "noise", "swapped", "black"])
def test_colour_differences_agree_with_scikit_image(scenes, real_photographs, how):
    for truth in (scenes, torch.stack([photograph[:, :96, :128] for photograph in real_photographs])):
        made = degraded(truth)[how]
        lab, true_lab = lab_of(made), lab_of(truth)
        found = metrics.ciede2000(uint8_to_lab(made), uint8_to_lab(truth))
        expected = deltaE_ciede2000(true_lab, lab).mean(axis=(1, 2))
        assert found.tolist() == pytest.approx(expected.tolist(), rel=2e-4)
        levels = made.double().numpy() - truth.double().numpy()
        found = metrics.mse(to_float(made), to_float(truth))
        assert found.tolist() == pytest.approx(np.square(levels).mean(axis=(1, 2, 3)).tolist(), rel=1e-5)


# Sharma, Wu and Dalal (2005), table 1: L, a, b twice, and the difference.
SHARMA = [
    (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
    (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
    (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
    (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
    (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
    (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
    (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
    (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
    (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
    (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
]


@pytest.mark.parametrize("swapped", [False, True])
def test_ciede2000_of_the_authors_test_pairs(swapped):
    """In double precision, because some pairs have almost exactly opposite hues."""
    table = torch.tensor(SHARMA, dtype=torch.float64)
    one, other = table[:, :3, None, None], table[:, 3:6, None, None]
    found = metrics.ciede2000(other, one) if swapped else metrics.ciede2000(one, other)
    assert found.tolist() == pytest.approx(table[:, 6].tolist(), abs=1e-4)


def test_auc_is_the_share_within_each_distance_averaged_over_distances(scenes):
    for how in ("grey", "noise", "swapped", "black"):
        made = degraded(scenes)[how]
        distance = np.linalg.norm(lab_of(made)[..., 1:] - lab_of(scenes)[..., 1:], axis=-1).reshape(4, -1)
        thresholds = np.linspace(0, 150, 15_001)  # the paper has 151 of them
        shares = np.stack([(distance <= threshold).mean(axis=1) for threshold in thresholds[::10]])
        expected = 100 * np.trapezoid(shares, thresholds[::10], axis=0) / 150
        found = metrics.raw_accuracy(uint8_to_lab(made), uint8_to_lab(scenes))
        assert found.tolist() == pytest.approx(expected.tolist(), abs=0.05), how
    assert metrics.raw_accuracy(uint8_to_lab(scenes), uint8_to_lab(scenes)).tolist() == [100] * 4


@pytest.mark.parametrize(("distance", "expected"), [(0, 100), (15, 90), (75, 50), (150, 0), (200, 0)])
def test_auc_of_one_distance_by_hand(distance, expected):
    lab = torch.tensor([50.0, 0.6 * distance - 90, 0.8 * distance - 90]).view(1, 3, 1, 1)
    truth = torch.tensor([20.0, -90.0, -90.0]).view(1, 3, 1, 1)  # lightness has no effect
    assert metrics.raw_accuracy(lab, truth).item() == pytest.approx(expected, abs=1e-4)


def test_within_gamut_tolerates_half_a_level():
    level = 1 / 255
    values = [(0, 0, 0), (1, 1, 1), (-0.4 * level, 0.5, 1 + 0.4 * level), (-0.6 * level, 0.5, 0.5), (0.5, 1.01, 0.5)]
    picture = torch.tensor(values).T.reshape(1, 3, 1, 5)
    inside = metrics.within_gamut(torch.cat([picture, picture[..., [0, 0, 0, 0, 3]], picture * 0 + 2]))
    assert inside.tolist() == pytest.approx([60, 80, 0])


# Colourfulness ---------------------------------------------------------------------------------------------------


def plain_colorfulness(picture: np.ndarray) -> float:
    """Implement Hasler and Suesstrunk (2003) literally, for (H, W, 3) uint8."""
    red, green, blue = picture.astype(np.float64).transpose(2, 0, 1)
    rg, yb = red - green, 0.5 * (red + green) - blue
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def test_colorfulness_agrees_with_the_paper_on_scenes(scenes):
    found = colorfulness.colorfulness(to_float(scenes)).tolist()
    assert found == pytest.approx([plain_colorfulness(p.permute(1, 2, 0).numpy()) for p in scenes], rel=1e-4)
    assert min(found) > 5


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12))
def test_colorfulness_agrees_with_the_paper_on_noise(seed, height, width):
    picture = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)).byte()
    expected = plain_colorfulness(picture.permute(1, 2, 0).numpy())
    assert colorfulness.colorfulness(to_float(picture)).item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_colorfulness_of_grey_is_0(level):
    assert colorfulness.colorfulness(torch.full((2, 3, 5, 5), level)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((1, 0, 0), 0.3 * math.hypot(255, 127.5)), ((0, 0, 1), 0.3 * 255), ((1, 1, 0), 0.3 * 255)],
)
def test_colorfulness_of_flat_colours_by_hand(colour, expected):
    picture = torch.tensor(colour, dtype=torch.float32).reshape(3, 1, 1).expand(3, 6, 6)
    assert colorfulness.colorfulness(picture).item() == pytest.approx(expected, rel=1e-5)


def test_colorfulness_is_of_signed_differences_and_ddcolors_of_absolute_ones():
    """Half red, half green: the signed differences spread by 255, the absolute ones do not spread at all."""
    picture = torch.zeros(3, 2, 2)
    picture[0, 0] = picture[1, 1] = 1
    assert colorfulness.colorfulness(picture).item() == pytest.approx(255 + 0.3 * 127.5, rel=1e-5)
    assert colorfulness.colorfulness_ddcolor(picture).item() == pytest.approx(0.3 * math.hypot(255, 127.5), rel=1e-5)


def test_colorfulness_as_ddcolor_computes_it(scenes):
    for picture, found in zip(scenes, colorfulness.colorfulness_ddcolor(to_float(scenes)), strict=True):
        red, green, blue = picture.double().numpy()
        rg, yb = np.abs(red - green), np.abs(0.5 * (red + green) - blue)
        expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
        assert found.item() == pytest.approx(expected, rel=1e-4)


# float32 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.mse, colorfulness.colorfulness])
def test_metrics_are_float32_inside_autocast(scenes, metric):
    pictures = [to_float(scenes), to_float(scenes.flip(0))][: 1 if metric is colorfulness.colorfulness else 2]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = metric(*pictures)
    assert inside.dtype == torch.float32 and torch.equal(inside, metric(*pictures))


@pytest.mark.parametrize("spread", [0, 1, 20, 255])
def test_colorfulness_of_bytes_is_colorfulness(spread):
    for seed in range(5):
        chance = torch.Generator().manual_seed(seed)
        tint = torch.randint(0, 256 - spread, (3, 1, 1), generator=chance)
        picture = (tint + torch.randint(0, spread + 1, (3, 33, 47), generator=chance)).byte()
        expected = float(colorfulness.colorfulness(to_float(picture)))
        assert colorfulness.colorfulness_of_bytes(picture) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("color", [(255, 0, 255), (255, 1, 0), (0, 0, 255)])
def test_colorfulness_of_bytes_of_a_large_even_picture_is_exact(color):
    picture = torch.tensor(color, dtype=torch.uint8).view(3, 1, 1).expand(3, 2000, 2000).contiguous()
    (red, green, blue) = color
    expected = 0.3 * math.hypot(red - green, (red + green) / 2 - blue)
    assert colorfulness.colorfulness_of_bytes(picture) == pytest.approx(expected, abs=2e-3)


# LPIPS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A file of random AlexNet's weights, in torchvision's layout and under a name with its hash."""
    from torchvision.models import alexnet as build

    torch.manual_seed(5)
    # The classifier's 200 MB are left out, because LPIPS does not use it.
    state = {f"features.{name}": tensor for name, tensor in build(weights=None).features.state_dict().items()}
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, path)
    return path.rename(path.with_name(f"alexnet-owt-{sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


@pytest.fixture
def published(alexnet, monkeypatch):
    """Make torchvision publish this file."""
    from torchvision.models import AlexNet_Weights

    weights = AlexNet_Weights.IMAGENET1K_V1
    monkeypatch.setattr(
        type(weights), "url", property(lambda _: f"http://127.0.0.1:9/models/{alexnet.name}"), raising=False
    )
    return Path(torch.hub.get_dir()) / "checkpoints" / alexnet.name


@pytest.fixture
def cached(alexnet, published):
    published.parent.mkdir(parents=True)
    published.write_bytes(alexnet.read_bytes())
    return published


@pytest.fixture(scope="module")
def reference(alexnet):
    return packages_own("alex", alexnet)


def packages_own(trunk: str, weights: Path):
    """Build the lpips package's own network with the same weights."""
    import lpips

    network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False).eval()
    state = torch.load(weights, weights_only=True)
    own = {name: state["features." + name.split(".", 1)[1]] for name in network.net.state_dict()}
    network.net.load_state_dict(own)
    return network


CPU = torch.device("cpu")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("cached")
def test_lpips_matches_the_package(reference, scenes):
    truth, made = to_float(scenes), to_float(degraded(scenes)["grey"])
    distance = lpips.lpips("auto", CPU, download=False)(made, truth)
    with torch.no_grad():
        expected = reference(made * 2 - 1, truth * 2 - 1).flatten()
    assert distance.shape == (4,)
    assert torch.allclose(distance, expected, rtol=1e-6)
    assert distance.min() > 1e-4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lpips_vgg_matches_the_package(alexnet, scenes, tmp_path):
    from torchvision.models.vgg import cfgs, make_layers

    features = make_layers(cfgs["D"])
    torch.save({f"features.{name}": tensor for name, tensor in features.state_dict().items()}, tmp_path / "vgg16.pth")
    truth, made = to_float(scenes), to_float(degraded(scenes)["grey"])
    option = {"option": "--lpips.vgg_weights", "trunk": "vgg"}
    distance = lpips.lpips(str(tmp_path / "vgg16.pth"), CPU, **option)(made, truth)
    with torch.no_grad():
        expected = packages_own("vgg", tmp_path / "vgg16.pth")(made * 2 - 1, truth * 2 - 1).flatten()
    assert torch.allclose(distance, expected, rtol=1e-6) and distance.min() > 1e-4
    with pytest.raises(InputError, match="not a VGG-16's weights"):
        lpips.lpips(str(alexnet), CPU, **option)
    with pytest.raises(InputError, match=r"--lpips\.vgg_weights random: random features measure nothing"):
        lpips.lpips("random", CPU, **option)
    with pytest.raises(InputError, match=r"vgg16-397923af\.pth is not in .*--lpips\.vgg_weights FILE"):
        lpips.lpips("auto", CPU, download=False, **option)


@pytest.mark.usefixtures("cached")
def test_lpips_takes_a_file(alexnet, scenes):
    truth, made = to_float(scenes), to_float(degraded(scenes)["noise"])
    assert torch.equal(lpips.lpips(str(alexnet), CPU)(made, truth), lpips.lpips("auto", CPU)(made, truth))


def test_lpips_of_identical_pictures_is_0(alexnet, scenes):
    assert lpips.lpips(str(alexnet), CPU)(to_float(scenes), to_float(scenes)).abs().max() == 0


def test_lpips_weights_need_no_gradient(alexnet, scenes, monkeypatch):
    import lpips as package

    made = []
    build = package.LPIPS
    monkeypatch.setattr(package, "LPIPS", lambda **options: made.append(build(**options)) or made[0])
    distance = lpips.lpips(str(alexnet), CPU)
    assert [name for name, parameter in made[0].named_parameters() if parameter.requires_grad] == []
    assert not made[0].training
    picture = to_float(scenes).requires_grad_()
    distance(picture, to_float(scenes.flip(0))).sum().backward()  # although the pictures may have one
    assert picture.grad.abs().sum() > 0


def test_lpips_is_float32_inside_autocast(alexnet, scenes):
    distance = lpips.lpips(str(alexnet), CPU)
    truth, made = to_float(scenes), to_float(scenes.flip(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = distance(made, truth)
    assert inside.dtype == torch.float32 and torch.equal(inside, distance(made, truth))


def test_lpips_takes_pictures_of_its_least_size(alexnet):
    least = lpips.LPIPS_LEAST_SIZE
    distance = lpips.lpips(str(alexnet), CPU, size=least)
    assert distance(torch.rand(1, 3, least, least), torch.rand(1, 3, least, least)).isfinite().all()
    with pytest.raises(RuntimeError):
        distance(*torch.rand(2, 1, 3, least - 1, least - 1))


def test_lpips_refuses_pictures_that_are_too_small(alexnet):
    with pytest.raises(InputError, match=r"LPIPS needs pictures of 31 pixels or more.*--data\.size"):
        lpips.lpips(str(alexnet), CPU, size=30)


def test_lpips_refuses_cached_weights_of_other_contents(cached):
    cached.write_bytes(cached.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="is not the published file") as refusal:
        lpips.lpips("auto", CPU)
    assert str(cached) in str(refusal.value) and "--lpips.weights FILE" in str(refusal.value)


def test_lpips_without_weights_names_file_folder_and_option(published):
    for download in (False, True):
        with pytest.raises(InputError) as refusal:
            lpips.lpips("auto", CPU, download=download)
        for part in (published.name, str(published.parent), "--lpips.weights FILE"):
            assert part in str(refusal.value)


def test_lpips_refuses_weights_of_another_network(tmp_path):
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    with pytest.raises(InputError, match=r"squeezenet\.pth: not an AlexNet's weights"):
        lpips.lpips(str(tmp_path / "squeezenet.pth"), CPU)


def test_lpips_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file of weights"):
        lpips.lpips(str(tmp_path / "alexnet.pth"), CPU)
