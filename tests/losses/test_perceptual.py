import pytest
import torch
from fake_hub import hosted, point_to
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.models import vgg16

from gancolor.color.torch_lab import lab_to_rgb, to_float
from gancolor.losses.perceptual import MEAN, STD, VGGFeatures, perceptual_distance
from gancolor.utils.errors import InputError

CPU = torch.device("cpu")
OPTION = "--loss.perceptual_weights"


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A file of random VGG-16's weights, in torchvision's layout, without the classifier's 500 MB."""
    torch.manual_seed(5)
    state = {f"features.{name}": tensor for name, tensor in vgg16(weights=None).features.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def distance(vgg):
    """VGG-16's, with the file's weights."""
    return perceptual_distance("vgg16", str(vgg), CPU, 32)


@pytest.fixture
def pictures(scenes):
    """Generated and true pictures, sRGB (4, 3, 32, 32)."""
    truth = to_float(scenes)[..., ::2, ::2].contiguous()
    return truth.flip(0), truth


# VGG-16 -----------------------------------------------------------------------------------------------------------


def test_features_are_those_of_four_layers(vgg, pictures):
    """relu1_2, relu2_2, relu3_3 and relu4_3, of ImageNet's normalized picture: worked out layer by layer."""
    network = vgg16(weights=None, init_weights=False).features
    network.load_state_dict({name.removeprefix("features."): t for name, t in torch.load(vgg).items()})
    features = (pictures[1] - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    expected, blocks, convolutions = [], 1, 0
    for layer in network:
        if isinstance(layer, nn.MaxPool2d):
            blocks, convolutions = blocks + 1, 0
        convolutions += isinstance(layer, nn.Conv2d)
        features = layer(features.clone())
        if isinstance(layer, nn.ReLU) and (blocks, convolutions) in ((1, 2), (2, 2), (3, 3), (4, 3)):
            expected.append(features.clone())
    found = VGGFeatures(str(vgg))(pictures[1])
    assert [part.shape[1:] for part in found] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_distance_is_the_mean_difference_of_features_averaged_over_layers(vgg, distance, pictures):
    network = VGGFeatures(str(vgg))
    with torch.no_grad():
        pairs = list(zip(network(pictures[0]), network(pictures[1]), strict=True))
    expected = [sum((a[i] - b[i]).abs().mean() for a, b in pairs).item() / 4 for i in range(4)]
    assert distance(*pictures).tolist() == pytest.approx(expected, rel=1e-4)


def test_published_weights_come_from_the_hub(vgg, distance, pictures, monkeypatch, tmp_path):
    with hosted(monkeypatch, tmp_path / "hub") as hub:
        hub.files["timm/vgg16.tv_in1k"] = {"model.safetensors": save(torch.load(vgg))}
        published = perceptual_distance("vgg16", "imagenet", CPU, 32)
    assert torch.equal(published(*pictures), distance(*pictures))


def test_unavailable_published_weights_name_the_option(monkeypatch, tmp_path, nowhere):
    point_to(monkeypatch, nowhere, tmp_path / "hub")
    with pytest.raises(InputError) as refusal:
        perceptual_distance("vgg16", "imagenet", CPU, 32)
    for part in ("model.safetensors of timm/vgg16.tv_in1k", f"{OPTION} FILE"):
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: these are not the weights of timm's vgg16"):
        perceptual_distance("vgg16", str(tmp_path / "other.pth"), CPU, 32)
    with pytest.raises(InputError, match="no such file of weights"):
        perceptual_distance("vgg16", str(tmp_path / "nothing.pth"), CPU, 32)


def test_random_weights_follow_from_the_seed():
    """A resumed run must use the weights that it was started with."""
    assert torch.equal(first_kernel(1), first_kernel(1))


def first_kernel(seed: int) -> Tensor:
    torch.manual_seed(seed)
    return VGGFeatures("random").network.features_0.weight


# Both kinds -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distances(distance):
    torch.manual_seed(0)
    return {"vgg16": distance, "lpips": perceptual_distance("lpips", "random", CPU, 32)}


kinds = pytest.mark.parametrize("kind", ["vgg16", "lpips"])


@kinds
def test_distance_is_per_picture_and_0_for_equal_pictures(distances, kind, pictures):
    found = distances[kind](*pictures)
    assert found.shape == (4,) and found.min() > 0
    assert distances[kind](pictures[0], pictures[0]).abs().max() == 0
    of_one = distances[kind](pictures[0][1:2], pictures[1][1:2])
    assert of_one.item() == pytest.approx(found[1].item(), rel=1e-4)


@kinds
def test_gradient_reaches_the_picture_and_not_the_network(distances, kind, pictures):
    made, truth = pictures[0].clone().requires_grad_(), pictures[1].clone().requires_grad_()
    distances[kind](made, truth.detach()).sum().backward()
    assert made.grad.isfinite().all() and (made.grad.flatten(1).abs().sum(dim=1) > 0).all()
    network = next(
        cell.cell_contents for cell in distances[kind].__closure__ if isinstance(cell.cell_contents, nn.Module)
    )
    assert not network.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in network.parameters())


@kinds
def test_gradient_is_finite_where_pictures_agree_or_are_flat(distances, kind, pictures):
    for made, truth in ((pictures[1], pictures[1]), (torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32))):
        made = made.clone().requires_grad_()
        distances[kind](made, truth).sum().backward()
        assert made.grad.isfinite().all()


@kinds
def test_descending_the_distance_brings_chroma_nearer_to_the_truth(distances, kind):
    light = torch.zeros(1, 1, 32, 32)
    light[..., ::4] = 0.5
    truth = lab_to_rgb(light, torch.full((1, 2, 32, 32), 0.4))
    chroma = torch.zeros(1, 2, 32, 32, requires_grad=True)
    before = distances[kind](lab_to_rgb(light, chroma), truth)
    before.sum().backward()
    step = chroma.detach() - 0.02 * chroma.grad.sign()
    assert distances[kind](lab_to_rgb(light, step), truth) < before


def test_lpips_refuses_pictures_that_are_too_small_and_vgg_does_not(vgg):
    with pytest.raises(InputError, match=r"LPIPS needs pictures of 31 pixels or more.*--data\.size"):
        perceptual_distance("lpips", "random", CPU, 16)
    smallest = torch.rand(2, 1, 3, 16, 16)
    assert perceptual_distance("vgg16", str(vgg), CPU, 16)(*smallest).isfinite().all()


def test_lpips_uses_alexnet_weights_of_the_option(tmp_path, monkeypatch):
    from torchvision.models import AlexNet_Weights

    weights = type(AlexNet_Weights.IMAGENET1K_V1)
    monkeypatch.setattr(weights, "url", property(lambda _: "http://127.0.0.1:9/alexnet-01234567.pth"), raising=False)
    with pytest.raises(InputError, match=rf"alexnet-01234567\.pth.*{OPTION} FILE"):
        perceptual_distance("lpips", "imagenet", CPU, 32)
    with pytest.raises(InputError, match="no such file of weights"):
        perceptual_distance("lpips", str(tmp_path / "alexnet.pth"), CPU, 32)


@kinds
def test_distance_is_float32_inside_autocast(distances, kind, pictures):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = distances[kind](*pictures)
    assert inside.dtype == torch.float32 and torch.equal(inside, distances[kind](*pictures))
