import shutil
from dataclasses import replace

import pytest
import torch

from gancolor.choices import ARCHITECTURES
from gancolor.color.bins import rebalancing
from gancolor.color.torch_lab import rgb_to_lab, to_float
from gancolor.config.identity import to_dict
from gancolor.config.networks import DiscriminatorConfig, GeneratorConfig, LossConfig
from gancolor.config.options import DataConfig, EvalConfig, HintsConfig, OptimConfig, TrainConfig
from gancolor.data.batch import Batch
from gancolor.data.dataset import Dataset
from gancolor.data.prior import color_prior
from gancolor.losses.objective import TERMS
from gancolor.models import build_generator, generator_options, takes_hints
from gancolor.training import setup as setup
from gancolor.training.option_checks import check_hardware, check_options
from gancolor.training.setup import set_up
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware

CPU = torch.device("cpu")
HARDWARE = Hardware(CPU, "fp32")
SMALL = {"width": 4, "global_size": 16, "classifier_width": 4, "backbone_weights": "random"}


@pytest.fixture(scope="module")
def classes(photos, tmp_path_factory):
    """Photographs in three subfolders."""
    folder = tmp_path_factory.mktemp("classes")
    for number, path in enumerate(sorted(photos.iterdir())):
        place = folder / ("beach", "forest", "city")[number % 3]
        place.mkdir(exist_ok=True)
        shutil.copy(path, place)
    return folder


@pytest.fixture
def configure(photos, tmp_path):
    """Return a function of options (groups as dictionaries) that gives a small configuration without classes."""

    def make(arch: str = "polychromify", source=photos, **options: object) -> TrainConfig:
        groups = {
            "data": DataConfig(str(source), size=16, batch_size=2, min_colorfulness=0.0, cache=str(tmp_path / "cache")),
            "generator": GeneratorConfig(**SMALL), "discriminator": DiscriminatorConfig(layers=1, width=4),
            "loss": LossConfig(),
        }  # fmt: skip
        for name, group in groups.items():
            groups[name] = replace(group, **options.pop(name, {}))
        return TrainConfig(arch=arch, out="run", **groups, **options)

    return make


def built(config: TrainConfig) -> setup.Setup:
    check_options(config)  # as the trainer does, before it opens the photographs
    return set_up(config, Dataset(config.data, config.seed, CPU), HARDWARE)


# Refusals ---------------------------------------------------------------------------------------------------------


def refusal(config: TrainConfig) -> str:
    with pytest.raises(InputError) as error:
        built(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["tv", "colorfulness", "colorfulness_difference", "weight_l2"])
def test_terms_that_say_no_colour_are_not_enough_for_pretraining(configure, name):
    line = refusal(configure(loss={"l1": 0.0, name: 1.0}, pretrain_epochs=1.0))
    assert line.startswith("nothing to learn in pretraining: no loss says which colours are right")
    line = refusal(configure(loss={"l1": 0.0, "gan": 0.0, name: 1.0}, pretrain_epochs=0.0, epochs=1.0))
    assert line.startswith("nothing to learn: no loss says which colours are right")


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES.keys() - {"ltbc"}))
def test_scene_loss_requires_an_architecture_with_a_classifier(configure, classes, arch):
    line = refusal(configure(arch, classes, loss={"scene": 0.1}))
    assert line == f"--loss.scene: {arch} has no scene classifier; use --arch ltbc"


def test_scene_loss_requires_photographs_with_classes(configure, photos, classes, tmp_path):
    line = refusal(configure("ltbc", loss={"scene": 0.1}))
    for part in (str(photos), "subfolder", "--loss.scene 0", "--arch ltbc_no_classifier"):
        assert part in line
    one = tmp_path / "one"
    shutil.copytree(classes / "beach", one / "beach")
    assert "no classes" in refusal(configure("ltbc", one, loss={"scene": 0.1}))


def test_hints_need_a_generator_that_takes_them(configure):
    line = refusal(configure("ugan", eval=EvalConfig(hints=10)))
    assert line == "--eval.hints: the generator takes no hints; give --generator.hints true too"
    for arch, generator in (("ugan", {"hints": True}), ("siggraph17", {})):
        assert takes_hints(
            built(
                configure(arch, eval=EvalConfig(hints=10), generator=generator, loss={"bins": 1.0})
            ).gan_step.generator
        )


def test_siggraph17_needs_the_loss_of_its_bins(configure):
    assert "--loss.bins 0: siggraph17's distribution would not be trained" in refusal(configure("siggraph17"))


def test_shares_of_hints_above_one_are_refused(configure):
    assert "their sum is above 1" in refusal(configure(hints=HintsConfig(absent=0.7, complete=0.5)))


def test_a_frozen_encoder_with_hints_is_refused(configure):
    generator = {"hints": True, "freeze_backbone": True, "backbone_weights": "random"}
    assert "a frozen encoder ignores hints" in refusal(configure("pretrained_ugan", generator=generator))


def test_siggraph17_classifies_all_529_bins(configure):
    setup = built(configure("siggraph17", loss={"bins": 1.0, "uniform": 1.0}))
    assert setup.prior.shape == setup.rarity.shape == (529,)
    assert setup.prior.sum() == pytest.approx(1, abs=1e-4) and torch.allclose(setup.rarity, torch.ones(529))


def test_critic_stage_without_adversarial_loss_is_refused(configure):
    line = refusal(configure(critic_epochs=0.5, loss={"gan": 0.0}))
    for part in ("--critic_epochs", "--loss.gan 0"):
        assert part in line


def test_critic_stage_without_adversarial_stage_is_refused(configure):
    line = refusal(configure(critic_epochs=0.5, epochs=0.0, pretrain_epochs=1.0))
    for part in ("--critic_epochs", "--epochs"):
        assert part in line


@pytest.mark.parametrize("loss", [{}, {"gan": 0.0, "feature_matching": 1.0}])
def test_critic_stage_with_adversarial_loss_is_accepted(configure, loss):
    assert built(configure(critic_epochs=0.5, loss=loss)).gan_step.objective.is_adversarial


@pytest.mark.parametrize(
    "arch", ["pretrained_ugan", "vgg16_autoencoder", "ltbc", "ltbc_no_classifier", "polychromify_v3"]
)
def test_batch_of_one_is_refused_where_batchnorm_would_see_a_single_value(configure, arch):
    """In any layer: the innermost one or a fully connected one."""
    line = refusal(configure(arch, data={"batch_size": 1}))
    for part in ("a batch of one photograph of 16 x 16", "BatchNorm", "--data.batch_size"):
        assert part in line


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("ugan", {}), ("attention_ugan", {}), ("polychromify_cnn", {}), ("eccv16", {}), ("ltbc", {"norm": "none"}),
        ("ltbc", {"norm": "instance"}), ("resnet18_autoencoder", {"freeze_backbone": True, "norm": "none"}),
    ],
)  # fmt: skip
def test_batch_of_one_is_accepted_otherwise(configure, arch, options):
    config = configure(arch, data={"batch_size": 1}, generator=options)
    assert built(config).gan_step.generator(torch.zeros(1, 1, 16, 16)).chroma.shape == (1, 2, 16, 16)


def test_check_of_a_batch_of_one_changes_nothing(configure):
    gan_step = built(configure("ugan", data={"batch_size": 1})).gan_step
    statistics = [m for m in gan_step.generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert statistics and all(m.num_batches_tracked == 0 and m.running_mean.abs().sum() == 0 for m in statistics)


def test_photographs_that_are_too_small_are_refused(configure):
    assert "--discriminator.layers 3" in refusal(configure(discriminator={"layers": 3}))
    line = refusal(configure(loss={"perceptual": 1.0, "perceptual_network": "lpips", "perceptual_weights": "random"}))
    assert "LPIPS" in line and "--data.size" in line


@pytest.mark.parametrize("network", ["vgg16", "lpips"])
def test_unavailable_perceptual_weights_are_refused(configure, network):
    loss = {"perceptual": 1.0, "perceptual_network": network, "perceptual_weights": "nothing.pth"}
    assert "nothing.pth: no such file of weights" in refusal(configure(loss=loss, data={"size": 32}))


# Notes ------------------------------------------------------------------------------------------------------------


def test_options_of_other_architectures_are_ignored_with_a_note(configure):
    found = built(configure("polychromify", generator={"width": 32, "neurons": "low", "backbone": "resnet50"}))
    (note,) = found.notes
    assert note.startswith("ignored, because polychromify has no such option: --generator.width 32, ")
    assert "--generator.backbone resnet50" in note and "neurons" not in note


@pytest.mark.parametrize("arch", ["ugan", "eccv16", "polychromify_v0"])
def test_default_options_give_no_note(configure, arch):
    config = configure(arch)
    config.generator = GeneratorConfig(**{name: SMALL[name] for name in SMALL.keys() & generator_options(arch)})
    assert built(config).notes == []


# Networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scene", "expected"), [(0.1, 3), (0.0, 0)])
def test_the_classifier_has_as_many_classes_as_the_photographs(configure, classes, scene, expected):
    found = built(configure("ltbc", classes, loss={"scene": scene}))
    logits = found.gan_step.generator(torch.rand(2, 1, 16, 16)).scene_logits
    assert found.options["classes"] == expected
    assert (0 if logits is None else logits.shape[1]) == expected


@pytest.mark.parametrize("arch", ["ltbc", "ugan", "resnet18_autoencoder"])
def test_options_build_the_generator_again(configure, classes, arch):
    found = built(configure(arch, classes, loss={"scene": 0.1 if arch == "ltbc" else 0.0}))
    again = HARDWARE.place_network(build_generator(arch, **found.options))
    again.load_state_dict(found.gan_step.generator.state_dict())
    picture = torch.rand(2, 1, 16, 16)
    assert torch.equal(again.eval()(picture).chroma, found.gan_step.generator.eval()(picture).chroma)
    assert to_dict(configure(arch).generator).keys() | {"size", "classes"} == found.options.keys()


def test_seed_determines_random_networks(configure):
    """Also the perceptual distance's random network, because a resumed run needs the same one."""
    loss = {"perceptual": 1.0, "perceptual_weights": "random"}
    one, two, other = (built(configure("ugan", loss=loss, seed=seed)).gan_step for seed in (3, 3, 4))
    pictures = torch.rand(2, 2, 3, 16, 16)
    for mine, theirs, same in ((one, two, True), (one, other, False)):
        for network in ("generator", "discriminator"):
            pairs = zip(getattr(mine, network).parameters(), getattr(theirs, network).parameters(), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs if a.dim() > 1) == same
        distances = [gan_step.objective.perceptual(*pictures) for gan_step in (mine, theirs)]
        assert torch.equal(*distances) == same


def test_perceptual_distance_is_built_only_with_weight(configure, monkeypatch, tmp_path):
    monkeypatch.setattr("gancolor.losses.perceptual.perceptual_distance", lambda *asked: asked)
    assert built(configure()).gan_step.objective.perceptual is None
    weights = tmp_path / "my.pth"
    weights.touch()
    loss = {"perceptual": 1.0, "perceptual_network": "lpips", "perceptual_weights": str(weights)}
    assert built(configure(loss=loss)).gan_step.objective.perceptual == ("lpips", str(weights), CPU, 16)


# Rarity -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["bins", "color_weighted"])
@pytest.mark.parametrize("uniform", [0.5, 0.0])
def test_rarity_is_that_of_the_training_photographs(configure, term, uniform):
    config = configure(loss={term: 1.0, "uniform": uniform}, data={"min_colorfulness": 40.0})
    data = Dataset(config.data, config.seed, CPU)
    assert 0 < len(data.batches.kept) < len(data.train)
    found = set_up(config, data, HARDWARE)
    prior = color_prior(data.train, data.batches.kept, config.data.cache)
    assert torch.equal(found.prior, prior) and torch.equal(found.rarity, rebalancing(prior, uniform))
    assert torch.equal(found.gan_step.objective.rarity, found.rarity)
    whole = color_prior(data.train, torch.arange(len(data.train)), config.data.cache)
    assert not torch.equal(found.prior, whole)


def test_colours_are_not_counted_without_colour_weighting(configure, monkeypatch):
    monkeypatch.setattr(setup, "color_prior", lambda *_: pytest.fail("counted for nothing"))
    found = built(configure())
    assert found.prior is None and found.rarity is None and found.gan_step.objective.rarity is None


def test_real_saturation_option_reaches_the_objective(configure):
    assert built(configure()).gan_step.objective.real_saturation == 1
    assert built(configure(data={"real_saturation": 1.3})).gan_step.objective.real_saturation == 1.3


def test_gan_step_of_a_setup_takes_a_step(configure, classes):
    """With the photographs' labels and colours."""
    loss = dict.fromkeys(TERMS, 1.0) | {"perceptual_weights": "random", "r1": 1.0, "gan_mode": "wgan_gp"}
    config = configure("ltbc", classes, loss=loss, discriminator={"norm": "instance"})
    check_options(config)
    data = Dataset(config.data, config.seed, CPU)
    gan_step = set_up(config, data, HARDWARE).gan_step
    ((_, pictures, labels),) = data.batches.stream(0, 1, CPU)
    assert labels.min() >= 0
    batch = Batch(*rgb_to_lab(to_float(pictures)), labels)
    for stage in ("pretrain", "critic", "adversarial"):
        terms = gan_step.step(batch, stage, {"lr_g": 1e-3, "lr_d": 1e-3, "ema": 0.9})
        assert all(value.isfinite() for value in terms.values())
    assert set(TERMS) <= terms.keys()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pretrain_epochs": 1.0, "loss": LossConfig(l1=0.0)}, "nothing to learn in pretraining"),
        (
            {"pretrain_epochs": 1.0, "loss": LossConfig(l1=0.0, tv=1.0, weight_l2=1.0)},
            "nothing to learn in pretraining",
        ),
        ({"epochs": 1.0, "loss": LossConfig(l1=0.0, gan=0.0)}, "nothing to learn: no loss"),
        ({"arch": "ltbc", "loss": LossConfig(l1=0.0, gan=0.0, scene=1.0)}, "nothing to learn: no loss"),
        (
            {"arch": "siggraph17", "loss": LossConfig(l1=0.0, gan=0.0, bins=1.0)},
            "nothing to learn: no loss trains siggraph17's chroma, which --loss.bins does not reach; give one",
        ),
        (
            {"arch": "siggraph17", "pretrain_epochs": 1.0, "loss": LossConfig(l1=0.0, bins=1.0)},
            "nothing to learn in pretraining: no loss trains siggraph17's chroma",
        ),
    ],
)
def test_training_without_a_loss_of_the_colours_is_refused(options, named):
    with pytest.raises(InputError, match=named):
        check_options(TrainConfig(**options))


def test_adversarial_loss_alone_is_accepted():
    check_options(TrainConfig(epochs=1.0, loss=LossConfig(l1=0.0)))
    check_options(TrainConfig(arch="siggraph17", epochs=1.0, loss=LossConfig(l1=0.0, bins=1.0)))


def test_bins_alone_are_accepted():
    check_options(TrainConfig(arch="eccv16", loss=LossConfig(l1=0.0, gan=0.0, bins=1.0)))


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ({"r1": 1.5}, "--loss.r1 1.5"),
        ({"gan": 0.0, "feature_matching": 1.0, "r1": 2.0}, "--loss.r1 2"),
        ({"gan_mode": "wgan_gp"}, "--loss.gan_mode wgan_gp"),
    ],
)
def test_gradient_penalties_are_refused_with_batchnorm(loss, named):
    """BatchNorm mixes the photographs, and the penalties are of each photograph's gradient."""
    with pytest.raises(InputError, match=f"^{named} penalizes .* give --discriminator.norm instance"):
        check_options(TrainConfig(loss=LossConfig(**loss)))
    for norm in ("instance", "none"):
        check_options(TrainConfig(loss=LossConfig(**loss), discriminator=DiscriminatorConfig(norm=norm)))


@pytest.mark.parametrize(
    "options",
    [
        {"loss": LossConfig(gan=0.0, r1=1.0)}, {"loss": LossConfig(gan_mode="wgan_gp", gradient_penalty=0.0)},
        {"loss": LossConfig(r1=1.0), "epochs": 0.0, "pretrain_epochs": 1.0},
    ],
)  # fmt: skip
def test_batchnorm_is_accepted_without_gradient_penalties(options):
    check_options(TrainConfig(**options))


def test_compile_with_recomputation_is_refused():
    with pytest.raises(InputError, match=r"--compile .* --generator.recompute"):
        check_options(TrainConfig(compile=True, generator=GeneratorConfig(recompute=True)))


def test_cuda_graphs_require_compile():
    with pytest.raises(InputError, match=r"^--cuda_graphs records compiled networks: give --compile too$"):
        check_options(TrainConfig(cuda_graphs=True))


def test_cuda_graphs_are_refused_without_cuda():
    config = TrainConfig(compile=True, cuda_graphs=True)
    with pytest.raises(InputError, match=r"^--cuda_graphs needs CUDA, and this run is on cpu: leave it out$"):
        check_hardware(config, HARDWARE)
    check_hardware(config, Hardware(torch.device("cuda:1"), "bf16"))
    check_hardware(TrainConfig(), HARDWARE)


@pytest.mark.parametrize(
    ("side", "precision", "refused"), [(16, "bf16", True), (16, "fp32", False), (32, "bf16", False)]
)
def test_sizes_with_wrong_bf16_gradients_are_refused(configure, side, precision, refused):
    """A photograph scaled to 16 x 16 reaches ltbc's last convolution of stride 2 as a single pixel."""
    config = configure("ltbc_no_classifier", generator={"global_size": side})
    data = Dataset(config.data, config.seed, CPU)
    if not refused:
        assert set_up(config, data, Hardware(CPU, precision)).gan_step.generator.training
        return
    with pytest.raises(InputError, match=r"a single pixel, .* give --precision fp32, or a larger"):
        set_up(config, data, Hardware(CPU, precision))


def test_indivisible_batch_is_refused():
    with pytest.raises(InputError, match=r"--optim.accumulate 3: a batch of 16 .* give a divisor of --data.batch_size"):
        check_options(TrainConfig(optim=OptimConfig(accumulate=3)))
    check_options(TrainConfig(optim=OptimConfig(accumulate=8)))
