from dataclasses import fields

import pytest
import torch
from torch import Tensor
from toys import RATES, SIZE, difference, make_batch, make_gan_step, make_generator, some_rarity

from gancolor.color.bins import logits_of
from gancolor.color.torch_lab import lab_to_rgb
from gancolor.config.identity import flatten
from gancolor.config.networks import LossConfig
from gancolor.losses import terms as losses
from gancolor.losses.objective import TERMS, Objective
from gancolor.models import build_discriminator
from gancolor.models.output import GeneratorOutput

ADVERSARIAL_TERMS = ("gan", "feature_matching")
PENALTIES = ("r1", "gradient_penalty")
NONE = dict.fromkeys(TERMS, 0.0)  # of all weights
# By what a generator says.
ARCHITECTURES = {"chroma": "polychromify", "scenes too": "ltbc", "bins too": "eccv16"}

# Any loss goes with any of them, but for the scenes' with those that have no classifier.
cases = pytest.mark.parametrize(
    ("name", "arch"),
    [
        pytest.param(name, arch, id=f"{name}, {kind}")
        for name in TERMS
        for kind, arch in ARCHITECTURES.items()
        if name not in ADVERSARIAL_TERMS and (name != "scene" or arch == "ltbc")
    ],
)


@pytest.fixture
def batch():
    return make_batch()


def make_objective(**loss: object) -> Objective:
    return Objective(LossConfig(**{**NONE, **loss}), some_rarity(), difference)


def generator_terms(
    objective: Objective, arch: str = "polychromify", batch=None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return the terms, and the generator's parameters."""
    torch.manual_seed(0)
    generator = make_generator(arch)
    parameters = list(generator.parameters())
    batch = batch or make_batch()
    return objective.generator_terms(batch, generator(batch.lightness), parameters), parameters


# Names ------------------------------------------------------------------------------------------------------------


def test_every_weight_of_the_options_is_a_term_or_a_penalty():
    made_with = {"smooth_l1_delta", "uniform"}
    numbers = {field.name for field in fields(LossConfig) if isinstance(field.default, float)}
    assert numbers == {*TERMS, *PENALTIES, *made_with} and len(set(TERMS)) == len(TERMS)


def test_weights_have_the_names_of_the_flags(batch):
    """A term's name is its weight's flag and its log key, and the objective is their weighted sum."""
    weights = {name: 0.25 + number for number, name in enumerate(TERMS)}
    loss = LossConfig(**weights, r1=1.5, gan_mode="wgan_gp", gradient_penalty=2.5)
    gan_step = make_gan_step(loss, arch="ltbc", norm="instance")
    assert gan_step.objective.weights == weights
    flags = {name.removeprefix("loss."): value for name, value in flatten({"loss": vars(LossConfig())}).items()}
    assert {*TERMS, *PENALTIES} <= flags.keys()
    terms = gan_step.step(batch, "adversarial", RATES)
    assert {*TERMS, *PENALTIES} <= terms.keys()
    of_both_networks = {"generator", "discriminator", "d_accuracy", "grad_norm_g", "grad_norm_d"}
    assert set(terms) - {*TERMS, *PENALTIES} == of_both_networks
    expected = sum(weight * terms[name] for name, weight in weights.items())
    assert torch.allclose(terms["generator"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_each_loss_flag_adds_only_its_own_term(name, batch):
    """l1 is always computed, so that runs can be compared. Terms are logged, and add up to the objective."""
    gan_step = make_gan_step(LossConfig(**NONE | {name: 2.0}), arch="ltbc")
    terms = gan_step.step(batch, "adversarial", RATES)
    others = {"generator", "grad_norm_g"}
    if name in ADVERSARIAL_TERMS:
        others |= {"discriminator", "d_accuracy", "grad_norm_d"}
    assert set(terms) == {"l1", name} | others
    assert terms["generator"].item() == pytest.approx(2 * terms[name].item(), rel=1e-5)
    assert terms["grad_norm_g"] > 0


def test_terms_of_weight_0_are_not_computed(batch, monkeypatch):
    """Neither the term nor its inputs are computed."""

    def unwanted(*_: object) -> None:
        raise AssertionError("worked out for nothing")

    for name in (*TERMS[1:], *PENALTIES):
        if hasattr(losses, name):
            monkeypatch.setattr(losses, name, unwanted)
    for name in ("logits_of", "lab_to_rgb"):
        monkeypatch.setattr(f"gancolor.losses.objective.{name}", unwanted)
    loss = LossConfig(**NONE | {"l1": 1.0}, gan_mode="wgan_gp", gradient_penalty=0.0)
    gan_step = make_gan_step(loss, arch="ltbc")
    monkeypatch.setattr(type(gan_step.discriminator), "forward", unwanted)
    assert set(gan_step.step(batch, "adversarial", RATES)) == {"l1", "generator", "grad_norm_g"}


def test_pretraining_has_no_adversarial_and_colourfulness_terms(batch):
    gan_step = make_gan_step(LossConfig(**dict.fromkeys(TERMS, 1.0)), arch="ltbc")
    terms = gan_step.step(batch, "pretrain", RATES)
    assert set(terms) == {*TERMS, "generator", "grad_norm_g"} - {
        *ADVERSARIAL_TERMS, "colorfulness", "colorfulness_difference",
    }  # fmt: skip


def test_real_saturation_only_affects_the_discriminators_real_pictures(batch):
    """The targets of the generator's other terms do not change; with 1, the real pictures are the batch's."""
    plain, vivid = make_objective(), make_objective()
    vivid.real_saturation = 1.2
    assert plain.real(batch) is batch.chroma
    real = vivid.real(batch)
    assert torch.allclose(real, (batch.chroma * 1.2).clamp(-1, 1))
    assert real.abs().max() == 1 and batch.chroma.abs().max() < 1
    terms = {name: 1.0 for name in TERMS if name not in ADVERSARIAL_TERMS}
    found = []
    for saturation in (1.0, 1.2):
        objective = make_objective(**terms)
        objective.real_saturation = saturation
        found.append(generator_terms(objective, "ltbc")[0])
    assert found[0].keys() == terms.keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in terms)


# Values -----------------------------------------------------------------------------------------------------------


@cases
def test_every_loss_works_with_every_kind_of_prediction(name, arch):
    """Each loss alone has a finite gradient that reaches the generator."""
    terms, parameters = generator_terms(make_objective(**{name: 1.0}), arch)
    value = terms[name]
    assert value.shape == () and value.dtype == torch.float32 and value.isfinite()
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    assert all(gradient.isfinite().all() for gradient in reached)
    assert sum(gradient.abs().sum() for gradient in reached) > 0


@cases
def test_every_loss_takes_half_precision_predictions(name, arch):
    objective, batch, generator = make_objective(**{name: 1.0}), make_batch(), make_generator(arch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = generator(batch.lightness)
    terms = objective.generator_terms(batch, prediction, generator.parameters())
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())


def test_bins_of_predicted_chroma_use_its_soft_encoding_at_quarter_size(batch):
    objective = make_objective(bins=1.0, soft_bins=10)
    prediction = GeneratorOutput(batch.chroma * 0.5)
    quarter = torch.nn.functional.avg_pool2d(prediction.chroma, 4)
    expected = losses.bins(logits_of(quarter), batch.chroma, some_rarity(), 10)
    assert objective.generator_terms(batch, prediction, [])["bins"] == expected


def test_bins_use_predicted_logits(batch):
    logits = torch.randn(4, 313, 4, 4)
    terms = make_objective(bins=1.0).generator_terms(batch, GeneratorOutput(batch.chroma, bin_logits=logits), [])
    assert terms["bins"] == losses.bins(logits, batch.chroma, some_rarity(), 5)


def test_other_terms_learn_without_scene_labels(batch):
    unlabelled = batch._replace(labels=torch.full((4,), -1))
    terms, parameters = generator_terms(make_objective(scene=1.0, mse=1.0), "ltbc", unlabelled)
    assert terms["scene"] == 0 and terms["mse"] > 0
    assert all(g.isfinite().all() for g in torch.autograd.grad(sum(terms.values()), parameters))


def test_options_reach_their_losses(batch):
    prediction = GeneratorOutput(batch.chroma * 0.5)
    for delta in (0.05, 0.5):
        terms = make_objective(smooth_l1=1.0, smooth_l1_delta=delta).generator_terms(batch, prediction, [])
        assert terms["smooth_l1"] == losses.smooth_l1(prediction.chroma, batch.chroma, delta)


def test_pictures_are_compared_in_srgb_with_the_true_lightness(batch):
    """The true picture gets no gradient, which would cost time and memory."""
    seen = []

    def distance(picture: Tensor, truth: Tensor) -> Tensor:
        seen.append((picture, truth))
        return difference(picture, truth)

    chroma = (batch.chroma * 0.5).requires_grad_()
    batch.chroma.requires_grad_()  # never so in training; here, it shows whether a graph leads to the true colours
    wanted = {"perceptual": 1.0, "colorfulness": 1.0, "colorfulness_difference": 1.0}
    objective = Objective(LossConfig(**NONE | wanted), None, distance)
    terms = objective.generator_terms(batch, GeneratorOutput(chroma), [])
    ((picture, truth),) = seen
    assert torch.equal(picture, lab_to_rgb(batch.lightness, chroma)) and picture.requires_grad
    assert torch.equal(truth, lab_to_rgb(batch.lightness, batch.chroma)) and not truth.requires_grad
    for name in wanted:
        assert torch.autograd.grad(terms[name], batch.chroma, allow_unused=True, retain_graph=True) == (None,)
    assert terms["perceptual"].item() == pytest.approx((picture - truth).abs().mean().item(), rel=1e-5)
    assert terms["colorfulness"] == losses.colorfulness(picture)
    assert terms["colorfulness_difference"] == losses.colorfulness_difference(picture, truth)


# Adversarial terms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "adversarial"),
    [({}, False), ({"gan": 0.5}, True), ({"feature_matching": 0.5}, True), ({"r1": 1.0}, False)],
)
def test_objective_is_adversarial_if_an_adversarial_term_has_weight(loss, adversarial):
    assert make_objective(**loss).is_adversarial == adversarial


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        ({}, set()),
        ({"r1": 0.5}, {"r1"}),
        ({"gan_mode": "wgan_gp"}, {"gradient_penalty"}),
        ({"gan_mode": "wgan_gp", "r1": 0.5}, {"r1", "gradient_penalty"}),
        ({"gan_mode": "wgan_gp", "gradient_penalty": 0.0}, set()),
        ({"gan_mode": "hinge", "gradient_penalty": 10.0}, set()),
    ],
)
def test_penalties_are_those_of_the_options(batch, loss, names):
    objective = make_objective(gan=1.0, **loss)
    discriminator = build_discriminator(SIZE, layers=1, width=4)
    assert set(objective.penalties(discriminator, batch, -batch.chroma)) == names
    assert objective.penalizes == bool(names)


def test_penalties_are_at_the_real_pictures_that_the_discriminator_sees(batch, monkeypatch):
    at = []
    for name in PENALTIES:
        monkeypatch.setattr(losses, name, lambda _, real, *__: at.append(real) or real.sum())
    objective = make_objective(gan=1.0, gan_mode="wgan_gp", r1=1.0)
    objective.real_saturation = 1.2
    objective.penalties(build_discriminator(SIZE, layers=1, width=4), batch, -batch.chroma)
    assert len(at) == 2 and all(torch.equal(real, objective.real(batch)) for real in at)


def test_both_adversarial_terms_share_one_discriminator_pass(batch, monkeypatch):
    """One pass gives logits and features; the real pictures' features have no gradient."""
    discriminator = build_discriminator(SIZE, layers=1, width=4, norm="none")
    asked = []
    features = discriminator.features
    monkeypatch.setattr(discriminator, "features", lambda *of: asked.append(torch.is_grad_enabled()) or features(*of))
    chroma = (batch.chroma * 0.5).requires_grad_()
    terms = make_objective(gan=1.0, feature_matching=1.0).adversarial_terms(discriminator, batch, chroma)
    assert asked == [True, False]
    logits = discriminator(batch.lightness, chroma)
    assert terms["gan"].item() == pytest.approx(losses.gan_generator(logits, "vanilla").item(), rel=1e-5)
    *found, _ = features(batch.lightness, chroma)
    *wanted, _ = features(batch.lightness, batch.chroma)
    expected = sum((a - b).abs().mean() for a, b in zip(found, wanted, strict=True)) / 2
    assert terms["feature_matching"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_rarity_and_distance_are_needed_only_with_weight(batch):
    plain = Objective(LossConfig(**NONE | {"l1": 1.0}))
    assert set(plain.generator_terms(batch, GeneratorOutput(batch.chroma), [])) == {"l1"}
