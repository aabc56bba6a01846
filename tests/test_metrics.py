import math
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gancolor import metrics
from gancolor.color import grey, rgb_to_lab, to_float, to_uint8
from gancolor.errors import InputError

SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}


def degraded(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """uint8 pictures made worse in the ways in which colorization is wrong, and in others."""
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
    assert metrics.psnr(pictures, pictures).eq(100).all()  # not infinite, which no mean survives
    assert torch.allclose(metrics.ssim(pictures, pictures), torch.ones(len(pictures)))


def test_ssim_takes_pictures_as_small_as_its_window():
    picture = torch.rand(1, 3, 11, 11)
    assert metrics.ssim(picture, picture).item() == pytest.approx(1)


def plain_colorfulness(picture: np.ndarray) -> float:
    """Hasler and Suesstrunk (2003) word by word, of (H, W, 3) uint8."""
    red, green, blue = picture.astype(np.float64).transpose(2, 0, 1)
    rg, yb = red - green, 0.5 * (red + green) - blue
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def test_colorfulness_agrees_with_the_paper_on_scenes(scenes):
    found = metrics.colorfulness(to_float(scenes)).tolist()
    assert found == pytest.approx([plain_colorfulness(p.permute(1, 2, 0).numpy()) for p in scenes], rel=1e-4)
    assert min(found) > 5


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12))
def test_colorfulness_agrees_with_the_paper_on_noise(seed, height, width):
    picture = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)).byte()
    expected = plain_colorfulness(picture.permute(1, 2, 0).numpy())
    assert metrics.colorfulness(to_float(picture)).item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_colorfulness_of_grey_is_0(level):
    assert metrics.colorfulness(torch.full((2, 3, 5, 5), level)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((1, 0, 0), 0.3 * math.hypot(255, 127.5)), ((0, 0, 1), 0.3 * 255), ((1, 1, 0), 0.3 * 255)],
)
def test_colorfulness_of_flat_colours_by_hand(colour, expected):
    picture = torch.tensor(colour, dtype=torch.float32).reshape(3, 1, 1).expand(3, 6, 6)
    assert metrics.colorfulness(picture).item() == pytest.approx(expected, rel=1e-5)


def test_colorfulness_is_of_signed_differences():
    """Half red, half green: the differences spread by 255, where absolute ones would not spread at all."""
    picture = torch.zeros(3, 2, 2)
    picture[0, 0] = picture[1, 1] = 1
    assert metrics.colorfulness(picture).item() == pytest.approx(255 + 0.3 * 127.5, rel=1e-5)


# LPIPS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A file of random AlexNet's weights, in torchvision's layout and under a name with its hash."""
    from torchvision.models import alexnet as build

    torch.manual_seed(5)
    # The classifier's 200 MB are left out: LPIPS has no use for it.
    state = {f"features.{name}": tensor for name, tensor in build(weights=None).features.state_dict().items()}
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, path)
    return path.rename(path.with_name(f"alexnet-owt-{sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


@pytest.fixture
def published(alexnet, monkeypatch):
    """torchvision publishes that file now."""
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
    """The lpips package's own network with the same weights."""
    import lpips

    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    state = torch.load(alexnet, weights_only=True)
    own = {name: state["features." + name.split(".", 1)[1]] for name in network.net.state_dict()}
    network.net.load_state_dict(own)
    return network


CPU = torch.device("cpu")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("cached")
def test_lpips_is_the_packages_own(reference, scenes):
    truth, made = to_float(scenes), to_float(degraded(scenes)["grey"])
    distance = metrics.lpips("auto", CPU, download=False)(made, truth)
    with torch.no_grad():
        expected = reference(made * 2 - 1, truth * 2 - 1).flatten()
    assert distance.shape == (4,)
    assert torch.allclose(distance, expected, rtol=1e-6)
    assert distance.min() > 1e-4


@pytest.mark.usefixtures("cached")
def test_lpips_takes_a_file(alexnet, scenes):
    truth, made = to_float(scenes), to_float(degraded(scenes)["noise"])
    assert torch.equal(metrics.lpips(str(alexnet), CPU)(made, truth), metrics.lpips("auto", CPU)(made, truth))


def test_lpips_of_identical_pictures_is_0(alexnet, scenes):
    assert metrics.lpips(str(alexnet), CPU)(to_float(scenes), to_float(scenes)).abs().max() == 0


def test_lpips_asks_for_no_gradient_of_its_weights(alexnet, scenes, monkeypatch):
    import lpips

    made = []
    build = lpips.LPIPS
    monkeypatch.setattr(lpips, "LPIPS", lambda **options: made.append(build(**options)) or made[0])
    distance = metrics.lpips(str(alexnet), CPU)
    assert [name for name, parameter in made[0].named_parameters() if parameter.requires_grad] == []
    assert not made[0].training
    picture = to_float(scenes).requires_grad_()
    distance(picture, to_float(scenes.flip(0))).sum().backward()  # though the pictures may have one
    assert picture.grad.abs().sum() > 0


def test_lpips_is_float32_inside_autocast(alexnet, scenes):
    distance = metrics.lpips(str(alexnet), CPU)
    truth, made = to_float(scenes), to_float(scenes.flip(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = distance(made, truth)
    assert inside.dtype == torch.float32 and torch.equal(inside, distance(made, truth))


def test_lpips_takes_pictures_of_its_least_size(alexnet):
    least = metrics.LPIPS_LEAST_SIZE
    distance = metrics.lpips(str(alexnet), CPU, size=least)
    assert distance(torch.rand(1, 3, least, least), torch.rand(1, 3, least, least)).isfinite().all()
    with pytest.raises(RuntimeError):
        distance(*torch.rand(2, 1, 3, least - 1, least - 1))


def test_lpips_refuses_pictures_that_are_too_small(alexnet):
    with pytest.raises(InputError, match=r"LPIPS takes pictures of 31 pixels or more.*--data\.size"):
        metrics.lpips(str(alexnet), CPU, size=30)


def test_lpips_refuses_cached_weights_of_other_contents(cached):
    cached.write_bytes(cached.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="is not what its name says") as refusal:
        metrics.lpips("auto", CPU)
    assert str(cached) in str(refusal.value) and "--lpips.weights FILE" in str(refusal.value)


def test_lpips_without_weights_names_file_folder_and_option(published):
    for download in (False, True):
        with pytest.raises(InputError) as refusal:
            metrics.lpips("auto", CPU, download=download)
        for part in (published.name, str(published.parent), "--lpips.weights FILE"):
            assert part in str(refusal.value)


def test_lpips_refuses_weights_of_another_network(tmp_path):
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    with pytest.raises(InputError, match=r"squeezenet\.pth: not an AlexNet's weights"):
        metrics.lpips(str(tmp_path / "squeezenet.pth"), CPU)


def test_lpips_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file of weights"):
        metrics.lpips(str(tmp_path / "alexnet.pth"), CPU)
