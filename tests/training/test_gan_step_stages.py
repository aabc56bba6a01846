"""The critic stage, gradient penalties in every gan_mode, and partly frozen generators."""

import copy
import math

import pytest
import torch
from toys import (
    PARTS,
    RATES,
    all_equal,
    catch_gradients,
    changed,
    make_batch,
    make_gan_step,
    some_rarity,
    spoiled,
    state_of,
    weights,
)

from gancolor.config.networks import LossConfig
from gancolor.config.options import OptimConfig
from gancolor.losses import terms as losses
from gancolor.training.gan_step import parameters_of
from gancolor.training.run_state import load_state, save_state, state_tensors

STAGES = ("pretrain", "critic", "adversarial")
modes = pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge", "wgan_gp"])
norms = pytest.mark.parametrize(("norm", "spectral_norm"), [("none", True), ("instance", False)])
EVERYTHING = {
    "mse": 1.0, "log_mse": 0.1, "smooth_l1": 1.0, "tv": 0.1, "perceptual": 1.0, "color_weighted": 1.0, "bins": 0.1,
    "colorfulness": 0.1, "colorfulness_difference": 0.1, "weight_l1": 1e-4, "weight_l2": 1e-4, "feature_matching": 2.0,
    "r1": 1.0,
}  # fmt: skip


@pytest.fixture
def batch():
    return make_batch()


# Frozen BatchNorm -------------------------------------------------------------------------------------------------


def statistics(gan_step):
    return [value.clone() for name, value in gan_step.generator.named_buffers() if name.endswith("running_mean")]


@pytest.mark.parametrize(
    ("when", "stages"),
    [("never", []), ("adversarial", ["adversarial"]), ("always", ["pretrain", "adversarial"])],
)
def test_batchnorm_is_frozen_in_the_requested_stages(batch, when, stages):
    gan_step = make_gan_step(optim=OptimConfig(frozen_norm=when))
    for stage in ("pretrain", "critic", "adversarial", "pretrain"):  # and unfreezes again
        before, weights_before = statistics(gan_step), weights(gan_step.generator)
        gan_step.step(batch, stage, RATES)
        kept = all_equal(before, statistics(gan_step))
        assert kept == (stage in stages or stage == "critic"), stage
        assert all_equal(weights_before, weights(gan_step.generator)) == (stage == "critic")


def test_frozen_batchnorm_normalises_as_evaluation_does(batch):
    gan_step = make_gan_step(optim=OptimConfig(frozen_norm="always"))
    expected = losses.l1(copy.deepcopy(gan_step.generator).eval()(batch.lightness).chroma, batch.chroma)
    assert gan_step.step(batch, "pretrain", RATES)["l1"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("when", "taken_over"), [("adversarial", True), ("never", False), ("always", False)])
def test_adversarial_training_with_frozen_batchnorm_starts_from_the_ema_generator(batch, when, taken_over):
    gan_step = make_gan_step(optim=OptimConfig(frozen_norm=when))
    for _ in range(3):
        gan_step.step(batch, "pretrain", RATES)
    gan_step.begin_adversarial()
    assert all_equal(gan_step.generator.state_dict().values(), gan_step.ema.state_dict().values()) == taken_over


# The critic's stage -----------------------------------------------------------------------------------------------


def test_critic_stage_changes_only_the_discriminator(batch):
    """Weights and BatchNorm statistics of the generator and the EMA generator stay unchanged."""
    gan_step = make_gan_step(generator={"dropout": 0.5})
    gan_step.step(batch, "pretrain", RATES)
    before = state_of(gan_step)
    terms = gan_step.step(batch, "critic", RATES)
    after = state_of(gan_step)
    for part in ("generator", "ema", "optim_g"):
        assert not changed(before, after, part)
    parameters = {f"discriminator.{name}" for name, _ in gan_step.discriminator.named_parameters()}
    assert parameters <= changed(before, after, "discriminator")
    assert any(name.startswith("optim_d") for name in after)
    assert set(terms) == {"discriminator", "d_accuracy", "grad_norm_d"}
    assert gan_step.bad_steps == 0


def test_critic_stage_uses_predictions_of_the_ema_generator(batch):
    """The EMA generator predicts in eval mode, as in evaluation and export."""
    gan_step = make_gan_step(generator={"dropout": 0.5})
    for _ in range(3):
        gan_step.step(batch, "pretrain", RATES)
    discriminator = copy.deepcopy(gan_step.discriminator)
    with torch.no_grad():
        fake = copy.deepcopy(gan_step.ema).eval()(batch.lightness).chroma
    real = discriminator(*batch[:2])
    expected = losses.gan_discriminator(real, discriminator(batch.lightness, fake), "vanilla")
    terms = gan_step.step(batch, "critic", RATES)
    assert terms["discriminator"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_critic_stage_improves_the_discriminator(batch):
    gan_step = make_gan_step(norm="none")
    found = [gan_step.step(batch, "critic", RATES)["discriminator"].item() for _ in range(30)]
    assert found[-1] < 0.7 * found[0]


def test_critic_stage_leaves_no_gradient_in_the_generator(batch):
    gan_step = make_gan_step(LossConfig(r1=1.0, gan_mode="wgan_gp"), norm="none")
    gradients = catch_gradients(gan_step)
    gan_step.step(batch, "critic", RATES)
    assert set(gradients) == {"discriminator"}
    for network in (gan_step.generator, gan_step.ema):
        assert all(parameter.grad is None for parameter in network.parameters())


def test_critic_stage_has_the_discriminators_penalties(batch):
    gan_step = make_gan_step(LossConfig(r1=1.0, gan_mode="wgan_gp"), norm="none")
    terms = gan_step.step(batch, "critic", RATES)
    assert set(terms) == {"discriminator", "d_accuracy", "r1", "gradient_penalty", "grad_norm_d"}


def test_feature_matching_alone_is_adversarial_training(batch):
    gan_step = make_gan_step(LossConfig(gan=0.0, feature_matching=3.0))
    before = weights(gan_step.discriminator)
    terms = gan_step.step(batch, "adversarial", RATES)
    assert {"feature_matching", "discriminator"} <= terms.keys() and "gan" not in terms
    assert not all_equal(before, weights(gan_step.discriminator))
    assert "feature_matching" not in gan_step.step(batch, "pretrain", RATES)


# Penalties and feature matching -----------------------------------------------------------------------------------


@modes
@norms
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_gan_mode_trains_with_penalties_and_feature_matching(batch, mode, norm, spectral_norm, precision):
    loss = LossConfig(gan_mode=mode, r1=2.0, feature_matching=5.0)
    gan_step = make_gan_step(loss, precision=precision, norm=norm, spectral_norm=spectral_norm)
    before = [weights(network) for network in (gan_step.generator, gan_step.discriminator)]
    for stage in STAGES:
        terms = gan_step.step(batch, stage, RATES)
        assert all(value.isfinite() and not value.requires_grad for value in terms.values())
    penalties = {"r1", "gradient_penalty"} if mode == "wgan_gp" else {"r1"}
    assert {"l1", "gan", "feature_matching", "discriminator"} | penalties <= terms.keys()
    assert ("gradient_penalty" in terms) == (mode == "wgan_gp")
    for network, old in zip((gan_step.generator, gan_step.discriminator), before, strict=True):
        assert not all_equal(weights(network), old)
    assert all(parameter.requires_grad for parameter in gan_step.discriminator.parameters())


@pytest.mark.parametrize("saturation", [1.0, 1.5])
@modes
def test_adversarial_step_with_penalties_matches_a_plain_loop(batch, mode, saturation):
    """The same as a plain loop that differentiates by hand, with plain Adam. All that concerns the discriminator's real
    pictures sees them at their saturation; L1 compares with the true chroma."""
    loss = LossConfig(l1=10.0, gan=2.0, gan_mode=mode, r1=3.0, feature_matching=4.0, gradient_penalty=5.0)
    optim = OptimConfig(betas=(0.5, 0.99))
    gan_step = make_gan_step(loss, optim, norm="none")
    gan_step.objective.real_saturation = saturation
    generator, discriminator = copy.deepcopy(gan_step.generator), copy.deepcopy(gan_step.discriminator)
    adam_g = torch.optim.Adam(generator.parameters(), lr=RATES["lr_g"], betas=optim.betas)
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=RATES["lr_d"], betas=optim.betas)
    lightness, chroma, *_ = batch
    real = (chroma * saturation).clamp(-1, 1)

    def squared_slopes(colours: torch.Tensor) -> torch.Tensor:
        colours = colours.clone().requires_grad_()
        score = discriminator(lightness, colours).mean(dim=(1, 2, 3)).sum()
        return torch.autograd.grad(score, colours, create_graph=True)[0].square().sum(dim=(1, 2, 3))

    for step in range(3):
        torch.manual_seed(step)
        terms = gan_step.step(batch, "adversarial", RATES)
        fake = generator(lightness).chroma
        logits = [discriminator(lightness, colours) for colours in (real, fake.detach())]
        r1 = squared_slopes(real).mean() / 2
        of_d = losses.gan_discriminator(*logits, mode) + 3 * r1
        if mode == "wgan_gp":
            torch.manual_seed(step)
            share = torch.rand(4, 1, 1, 1)
            of_d = of_d + 5 * (squared_slopes(real + share * (fake.detach() - real)).sqrt() - 1).square().mean()
        adam_d.zero_grad()
        of_d.backward()
        adam_d.step()
        *found, judged = discriminator.features(lightness, fake)
        *wanted, _ = discriminator.features(lightness, real)
        matching = sum((a - b.detach()).abs().mean() for a, b in zip(found, wanted, strict=True)) / len(found)
        gan, l1 = losses.gan_generator(judged, mode), (fake - chroma).abs().mean()
        adam_g.zero_grad()
        (10 * l1 + 2 * gan + 4 * matching).backward()
        adam_g.step()
        expected = {"discriminator": of_d, "r1": r1, "gan": gan, "feature_matching": matching, "l1": l1}
        for name, value in expected.items():
            assert torch.allclose(terms[name], value, rtol=1e-3, atol=1e-5), (step, name)
    for a, b in zip(gan_step.generator.parameters(), generator.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_penalties_are_float32_whatever_the_networks_precision(batch, precision):
    """Squared gradients would exceed the range or precision of half precision."""
    found = []
    for each in ("fp32", precision):
        gan_step = make_gan_step(LossConfig(r1=1.0), precision=each, norm="none")
        for parameter in gan_step.discriminator.parameters():
            parameter.data.mul_(10)
        found.append(gan_step.step(batch, "critic", RATES))
    assert found[0]["r1"] == found[1]["r1"] > 0
    assert found[0]["discriminator"] != found[1]["discriminator"]  # where logits are not float32


@modes
def test_loss_scaler_does_not_change_penalty_gradients(batch, mode):
    """The discriminator's gradient is the same with and without a loss scaler."""
    loss = LossConfig(r1=100.0, gan_mode=mode)
    exact, scaled = (make_gan_step(loss, precision=precision, norm="none") for precision in ("fp32", "fp16"))
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    gradients = [catch_gradients(gan_step) for gan_step in (exact, scaled)]
    for gan_step in (exact, scaled):
        torch.manual_seed(0)
        gan_step.step(batch, "critic", RATES)
    for a, b in zip(*(found["discriminator"] for found in gradients), strict=True):
        assert torch.allclose(a, b, rtol=0.02, atol=2e-4)


# Steps that are left out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("where", ["lightness", "chroma"])
@modes
def test_bad_batch_changes_nothing_with_every_term(batch, stage, where, mode):
    gan_step = make_gan_step(LossConfig(gan_mode=mode, **EVERYTHING))
    for earlier in STAGES:
        assert all(value.isfinite() for value in gan_step.step(batch, earlier, RATES).values())
    before = state_of(gan_step)
    gan_step.step(spoiled(batch, math.nan, where), stage, RATES)
    after = state_of(gan_step)
    for part in ("generator", "optim_g", "discriminator", "optim_d"):
        assert not changed(before, after, part)
    assert all(value.isfinite().all() for value in after.values())
    assert gan_step.bad_steps == 1
    assert all(value.isfinite() for value in gan_step.step(batch, stage, RATES).values())
    assert gan_step.bad_steps == 0


def test_overflowing_penalty_does_not_change_the_discriminator(batch):
    gan_step = make_gan_step(LossConfig(r1=3e38), norm="none")
    for parameter in gan_step.discriminator.parameters():
        parameter.data.mul_(20)
    before = state_of(gan_step)
    terms = gan_step.step(batch, "adversarial", RATES)
    assert terms["discriminator"].isinf() and gan_step.bad_steps == 1
    assert not changed(before, state_of(gan_step), "discriminator")
    assert changed(before, state_of(gan_step), "generator")


# Frozen parts -----------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen():
    """GANStep whose generator has a frozen encoder with BatchNorm, with weight decay, which could change it."""
    options = {"freeze_backbone": True}
    return lambda: make_gan_step(
        LossConfig(), OptimConfig(weight_decay=0.1), arch="resnet18_autoencoder", generator=options
    )


def test_frozen_parameters_are_not_optimized(frozen, batch):
    gan_step = frozen()
    encoder = dict(gan_step.generator.named_parameters())
    held = {name for name, parameter in encoder.items() if not parameter.requires_grad}
    assert held == {name for name in encoder if name.startswith("encoder.")} and len(held) < len(encoder)
    optimized = {id(parameter) for parameter in parameters_of(gan_step.optim_g)}
    assert optimized == {id(parameter) for name, parameter in encoder.items() if name not in held}
    before = state_of(gan_step)
    for stage in STAGES:
        gan_step.step(batch, stage, RATES)
    after = state_of(gan_step)
    for part in ("generator", "ema"):
        moved = changed(before, after, part)
        assert moved and not any(name.startswith(f"{part}.encoder.") for name in moved)  # BatchNorm's statistics too


def states_after_resume(gan_step, other, batch, folder):
    """Return the states of a pair, of which the second has loaded the first's, after one more step of each."""
    for stage in STAGES:
        gan_step.step(batch, stage, RATES)
    save_state(folder / "last.safetensors", state_tensors(gan_step.state_parts()), {"step": 1})
    load_state(folder / "last.safetensors", other.state_parts())
    for pair in (gan_step, other):
        pair.step(batch, "adversarial", RATES)
    return state_of(gan_step), state_of(other)


def test_gan_step_with_frozen_encoder_is_restored_bit_for_bit(frozen, batch, tmp_path):
    one, two = states_after_resume(frozen(), frozen(), batch, tmp_path)
    assert one.keys() == two.keys()
    assert not any(changed(one, two, part) for part in PARTS)


def test_weight_penalties_only_cover_trainable_weights(frozen, batch):
    gan_step = frozen()
    gan_step.objective.loss.weight_l2 = gan_step.objective.weights["weight_l2"] = 1e-6
    trainable = [p for p in gan_step.generator.parameters() if p.requires_grad and p.dim() > 1]
    expected = sum(parameter.detach().square().sum() for parameter in trainable)
    assert gan_step.step(batch, "pretrain", RATES)["weight_l2"].item() == pytest.approx(expected.item(), rel=1e-4)


# Rarity -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["eccv16", "ugan"])
@pytest.mark.parametrize("term", ["bins", "color_weighted"])
def test_rarity_reaches_the_gradient_of_a_step(batch, arch, term):
    """Other rarity weights change the gradient, and doubled weights double it."""
    found = []
    for rarity in (some_rarity(), some_rarity(1), 2 * some_rarity()):
        gan_step = make_gan_step(LossConfig(l1=0.0, gan=0.0, **{term: 1.0}), arch=arch, rarity=rarity)
        gradients = catch_gradients(gan_step)
        gan_step.step(batch, "pretrain", RATES)
        found.append(torch.cat([gradient.flatten() for gradient in gradients["generator"] if gradient.dim() > 1]))
    one, other, double = found
    assert (one - other).norm() > 0.02 * one.norm()
    assert torch.allclose(double, 2 * one, rtol=1e-3, atol=1e-5 * one.abs().max().item())


def test_ema_copies_spectral_norm_vectors():
    """The vectors belong to the weights; an average of vectors would not bound the norm."""
    gan_step = make_gan_step(LossConfig(l1=10.0), arch="deoldify")
    for seed in range(3):
        gan_step.step(make_batch(seed=seed), "pretrain", RATES)
    mine, live = gan_step.ema.state_dict(), gan_step.generator.state_dict()
    vectors = [name for name in mine if name.endswith(("._u", "._v"))]
    assert len(vectors) > 10
    assert all(torch.equal(mine[name], live[name]) for name in vectors)
    kept = [name for name in mine if name.endswith("original") and "gamma" not in name]
    assert not all(torch.equal(mine[name], live[name]) for name in kept)


# The backbone's learning rate --------------------------------------------------------------------------------------


@pytest.fixture
def on_backbone():
    """Return a function of the factor that creates a GANStep whose generator has a small backbone."""
    options = {"backbone": "mobilenetv3_small_100", "upsampling": "nearest"}
    return lambda factor: make_gan_step(
        LossConfig(), OptimConfig(backbone_lr=factor), arch="pretrained_ugan", generator=options
    )


def test_backbone_learning_rate_factor_scales_the_first_step(on_backbone, batch):
    """Adam's first step changes each parameter by the learning rate, whatever the gradient."""
    gan_step = on_backbone(0.25)
    before = {name: parameter.detach().clone() for name, parameter in gan_step.generator.named_parameters()}
    gan_step.step(batch, "pretrain", RATES)
    moved = {name: (p - before[name]).abs().max().item() for name, p in gan_step.generator.named_parameters()}
    of_backbone = {name: step for name, step in moved.items() if name.startswith("encoder.")}
    others = [step for name, step in moved.items() if name not in of_backbone]
    assert max(of_backbone.values()) == pytest.approx(0.25 * RATES["lr_g"], rel=0.01)
    assert max(others) == pytest.approx(RATES["lr_g"], rel=0.01)


def test_optimizers_of_two_rates_are_saved_and_restored_bit_for_bit(on_backbone, batch, tmp_path):
    one, two = states_after_resume(on_backbone(0.25), on_backbone(0.25), batch, tmp_path)
    assert not any(changed(one, two, part) for part in PARTS)
