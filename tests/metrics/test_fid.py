import pickle
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from gancolor.config.evaluate import EvaluateConfig, EvaluateDataConfig, FidConfig
from gancolor.config.options import LpipsConfig
from gancolor.evaluation import evaluator
from gancolor.metrics.fid import Inception, fid, kid
from gancolor.utils.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random Inception-v3's weights, in torch-fidelity's layout and under a name with its hash."""
    from torch_fidelity import feature_extractor_inceptionv3 as package

    torch.manual_seed(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(package.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = package.FeatureExtractorInceptionV3("inception", ["2048"])
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path.rename(path.with_name(f"weights-inception-2015-12-05-{sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


@pytest.fixture(scope="module")
def inception(weights):
    return Inception(str(weights), CPU)


@pytest.fixture
def published(weights, monkeypatch):
    """Make torch-fidelity publish this file."""
    url = f"http://127.0.0.1:9/releases/{weights.name}"
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", url)
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.name


def drawn(count: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Features (count, 6) that are correlated."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=torch.Generator().manual_seed(9)) + shift * torch.eye(6)
    return torch.randn(count, 6, generator=generator) @ mixing + shift


# The distances ----------------------------------------------------------------------------------------------------


def plain_fid(one: np.ndarray, other: np.ndarray) -> float:
    """Implement Heusel (2017), equation 6, literally."""
    sigma, other_sigma = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(sigma @ other_sigma).real
    return np.square(one.mean(0) - other.mean(0)).sum() + np.trace(sigma + other_sigma - 2 * root)


def plain_kid(one: np.ndarray, other: np.ndarray) -> float:
    """Binkowski (2018): the unbiased MMD^2 with the cubic kernel, of both sets as a whole."""
    kernel = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3  # noqa: E731
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(one, one), kernel(other, other))]
    return sum(within) - 2 * kernel(one, other).mean()


@pytest.mark.parametrize("shift", [0.1, 1.0])
@pytest.mark.parametrize("count", [40, 300])
def test_fid_matches_the_paper(shift, count):
    one, other = drawn(count, shift, seed=1), drawn(count)
    expected = plain_fid(one.double().numpy(), other.double().numpy())
    assert fid(one, other) == pytest.approx(expected, rel=1e-6) and expected > 0.05
    assert fid(other, one) == pytest.approx(expected, rel=1e-6)


def test_kid_matches_the_paper_times_1000():
    one, other = drawn(240, 1.0, seed=1), drawn(240)
    assert kid(one, other) == pytest.approx(1000 * plain_kid(one.double().numpy(), other.double().numpy()), rel=0.1)
    assert kid(one, other) == kid(one, other)  # though its subsets are drawn


def test_distance_is_zero_to_itself_and_small_to_a_similar_set():
    features = drawn(500)
    assert abs(fid(features, features)) < 1e-6 < fid(features, drawn(500, seed=1)) < 1
    assert abs(kid(features, drawn(500, seed=1))) < 0.1 * kid(features, drawn(500, 1.0, seed=1))


def test_order_does_not_matter():
    one, other = drawn(200, 1.0, seed=1), drawn(200)
    mixed = one[torch.randperm(200)]
    assert fid(mixed, other) == pytest.approx(fid(one, other), rel=1e-9)
    assert kid(mixed, other) == pytest.approx(kid(one, other), rel=0.1)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_few_photographs_have_distances(count):
    assert np.isfinite([fid(drawn(count), drawn(count, 1.0)), kid(drawn(count), drawn(count, 1.0))]).all()


# The network ------------------------------------------------------------------------------------------------------


def test_features_are_of_each_picture_alone(inception, scenes):
    features = inception(scenes)
    assert features.shape == (4, 2048) and features.dtype == torch.float32
    assert features.isfinite().all() and features.std(dim=0).mean() > 1e-2
    assert torch.allclose(inception(scenes[2:3]), features[2:3], rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(inception(scenes), features)
    assert not any(parameter.requires_grad for parameter in inception.network.parameters())


def test_cached_weights_are_used_and_checked(weights, published, inception, scenes):
    published.parent.mkdir(parents=True)
    published.write_bytes(weights.read_bytes())
    assert torch.equal(Inception("auto", CPU)(scenes[:1]), inception(scenes[:1]))
    published.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="is not the published file") as refusal:
        Inception("auto", CPU)
    assert str(published) in str(refusal.value)


def test_without_network_the_error_names_file_folder_and_option(published):
    with pytest.raises(InputError) as refusal:
        Inception("auto", CPU)
    for part in (published.name, str(published.parent), "--fid.weights FILE"):
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


class Trap:
    """Object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["torch", "pickle", "beside tensors"])
def test_nothing_is_unpickled(tmp_path, how):
    file, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    if how == "pickle":
        file.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save(Trap(sprung) if how == "torch" else {"fc.bias": torch.zeros(1008), "trap": Trap(sprung)}, file)
    with pytest.raises(InputError, match=r"weights\.pth contains no readable weights"):
        Inception(str(file), CPU)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "state",
    [
        {"features.0.weight": torch.zeros(3)},
        {},
        {"fc.weight": torch.zeros(1000, 2048)},
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(tmp_path, state):
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: not Inception-v3's weights") as refusal:
        Inception(str(tmp_path / "other.pth"), CPU)
    assert "\n" not in str(refusal.value)


def test_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file of weights"):
        Inception(str(tmp_path / "inception.pth"), CPU)


def test_fid_and_kid_are_reported_with_grey(weights, photos, tmp_path, monkeypatch, capsys):
    """Only 64 features are used, because all 2048 take 15 seconds per system."""

    def some(*given):
        network = Inception(*given)
        return lambda pictures: network(pictures)[:, :64]

    monkeypatch.setattr(evaluator, "Inception", some)
    for name in ("00.jpg", "04.jpg", "07.jpg", "11.jpg"):
        (tmp_path / "made").mkdir(exist_ok=True)
        shutil.copy(photos / name, tmp_path / "made")
    config = EvaluateConfig(
        predictions=[f"truth itself={tmp_path / 'made'}"], data=EvaluateDataConfig(str(photos), 32),
        lpips=LpipsConfig("off"), fid=FidConfig(str(weights)),
    )  # fmt: skip
    scored = evaluator.Evaluator(config)
    scored.evaluate()
    whole = {name: system.whole for name, system in scored.result.systems.items()}
    assert list(whole) == ["grey", "truth itself", "truth"] and whole["truth"] == {}
    assert whole["grey"]["fid"] > 0.01 > abs(whole["truth itself"]["fid"])
    assert whole["grey"]["kid"] > whole["truth itself"]["kid"]
    out = capsys.readouterr().out
    assert "FID" in out and "KID x 1000" in out and "FID of fewer than 2048 photographs is comparable only" in out
    assert scored.status == 0
