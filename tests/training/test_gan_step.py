"""Adversarial steps, and what holds in every stage; test_gan_step_stages.py has the critic stage and penalties."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from toys import (
    NETWORKS,
    PARTS,
    RATES,
    all_equal,
    catch_gradients,
    changed,
    make_batch,
    make_gan_step,
    spoiled,
    state_of,
    weights,
)

from gancolor.config.networks import LossConfig
from gancolor.config.options import OptimConfig
from gancolor.losses import terms as losses
from gancolor.training.run_state import load_state, save_state, state_tensors

STAGES = ("pretrain", "pretrain", "critic", "adversarial", "adversarial")  # of the first steps


@pytest.fixture
def batch():
    return make_batch()


def test_one_step_changes_every_weight_of_both_networks(batch):
    gan_step = make_gan_step()
    before = {name: weights(getattr(gan_step, name)) for name in NETWORKS}
    gan_step.step(batch, "adversarial", RATES)
    for name in NETWORKS:
        assert not any(torch.equal(a, b) for a, b in zip(before[name], weights(getattr(gan_step, name)), strict=True))


def test_terms_are_the_log_keys(batch):
    gan_step = make_gan_step()
    assert set(gan_step.step(batch, "pretrain", RATES)) == {"l1", "generator", "grad_norm_g"}
    terms = gan_step.step(batch, "adversarial", RATES)
    assert set(terms) == {"l1", "gan", "generator", "discriminator", "d_accuracy", "grad_norm_g", "grad_norm_d"}
    assert all(value.shape == () and not value.requires_grad for value in terms.values())


@pytest.mark.parametrize(
    ("loss", "stage"),
    [(LossConfig(), "pretrain"), (LossConfig(gan=0.0), "adversarial"), (LossConfig(gan=0.0, r1=3.0), "adversarial")],
    ids=["pretraining", "loss.gan 0", "loss.gan 0 with a penalty"],
)
def test_discriminator_is_unchanged_without_adversarial_training(batch, loss, stage):
    gan_step = make_gan_step(loss)
    before = state_of(gan_step)
    terms = gan_step.step(batch, stage, RATES)
    after = state_of(gan_step)
    assert not changed(before, after, "discriminator")  # its BatchNorm's statistics included
    assert not any(name.startswith("optim_d") for name in after)
    assert changed(before, after, "generator")
    assert terms["generator"].item() == pytest.approx(loss.l1 * terms["l1"].item(), rel=1e-5)


def test_generator_update_does_not_affect_the_discriminator(batch):
    """The discriminator learns the same for any weight of the adversarial loss in the generator's objective."""
    ends = []
    for gan in (1e-3, 1e3):
        gan_step = make_gan_step(LossConfig(gan=gan))
        gradients = catch_gradients(gan_step)
        gan_step.step(batch, "adversarial", RATES)
        ends.append([*weights(gan_step.discriminator), *gradients["discriminator"]])
        assert all(parameter.requires_grad for parameter in gan_step.discriminator.parameters())
    assert all_equal(*ends)


def test_discriminator_update_does_not_affect_the_generator(batch):
    """Without weights in its objective, the generator gets no gradient from the discriminator's update."""
    gan_step = make_gan_step(LossConfig(l1=0.0, gan=1e-30))
    gradients = catch_gradients(gan_step)
    gan_step.step(batch, "adversarial", RATES)
    assert max(gradient.abs().max() for gradient in gradients["generator"]) < 1e-25


def test_gradients_of_the_adversarial_term_reach_the_generator(batch):
    gan_step = make_gan_step(LossConfig(l1=0.0, gan=1.0))
    before, gradients = weights(gan_step.generator), catch_gradients(gan_step)
    terms = gan_step.step(batch, "adversarial", RATES)
    assert terms["grad_norm_g"] > 0
    assert all(gradient.abs().sum() > 0 for gradient in gradients["generator"] if gradient.dim() > 1)
    assert not all_equal(before, weights(gan_step.generator))


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge"])
def test_adversarial_step_matches_a_plain_loop(batch, mode):
    """The plain loop updates the discriminator first, then the generator against the updated one, with plain Adam."""
    loss, optim = LossConfig(l1=10.0, gan=2.0, gan_mode=mode), OptimConfig(betas=(0.5, 0.99))
    # Gradients of biases before BatchNorm are only rounding errors, which Adam would turn into full steps.
    gan_step = make_gan_step(loss, optim, norm="none")
    generator, discriminator = copy.deepcopy(gan_step.generator), copy.deepcopy(gan_step.discriminator)
    adam_g = torch.optim.Adam(generator.parameters(), lr=RATES["lr_g"], betas=optim.betas)
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=RATES["lr_d"], betas=optim.betas)
    lightness, chroma, *_ = batch
    for _ in range(3):
        terms = gan_step.step(batch, "adversarial", RATES)
        fake = generator(lightness).chroma
        judged, judged_fake = discriminator(lightness, chroma), discriminator(lightness, fake.detach())
        of_d = losses.gan_discriminator(judged, judged_fake, mode)
        adam_d.zero_grad()
        of_d.backward()
        adam_d.step()
        gan, l1 = losses.gan_generator(discriminator(lightness, fake), mode), (fake - chroma).abs().mean()
        adam_g.zero_grad()
        (10 * l1 + 2 * gan).backward()
        adam_g.step()
        expected = {"discriminator": of_d, "gan": gan, "l1": l1, "generator": 10 * l1 + 2 * gan}
        expected["d_accuracy"] = (
            (judged > judged_fake).float().mean()
        )  # share of patches where the truth is rated higher
        for name, value in expected.items():
            assert torch.allclose(terms[name], value, rtol=1e-3), name
    for mine, theirs in ((gan_step.generator, generator), (gan_step.discriminator, discriminator)):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("idle", ["generator", "discriminator"])
def test_each_network_has_its_own_learning_rate(batch, idle):
    gan_step = make_gan_step()
    before = {name: weights(getattr(gan_step, name)) for name in NETWORKS}
    gan_step.step(batch, "adversarial", RATES | {"lr_g" if idle == "generator" else "lr_d": 0.0})
    for name in ("generator", "discriminator"):
        assert all_equal(before[name], weights(getattr(gan_step, name))) == (name == idle)


def test_weight_decay_is_decoupled(batch):
    plain, decaying = (make_gan_step(optim=OptimConfig(weight_decay=decay)) for decay in (0.0, 0.1))
    start = weights(plain.generator)
    for gan_step in (plain, decaying):
        gan_step.step(batch, "pretrain", RATES)
    for first, a, b in zip(start, weights(plain.generator), weights(decaying.generator), strict=True):
        assert torch.allclose(a - b, RATES["lr_g"] * 0.1 * first, atol=1e-7)


# Steps that are left out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["lightness", "chroma"])
@pytest.mark.parametrize("stage", ["pretrain", "critic", "adversarial"])
def test_non_finite_batch_changes_nothing(batch, bad, where, stage):
    """Weights, BatchNorm's statistics and optimizer state stay equal bit for bit."""
    gan_step = make_gan_step()
    gan_step.step(batch, "adversarial", RATES)
    before = state_of(gan_step)
    gan_step.step(spoiled(batch, bad, where), stage, RATES)
    after = state_of(gan_step)
    for part in ("generator", "optim_g", "discriminator", "optim_d"):
        assert not changed(before, after, part)
    assert all(value.isfinite().all() for value in after.values())
    assert gan_step.bad_steps == 1


def test_first_step_can_be_skipped(batch):
    gan_step = make_gan_step()
    before = {name: weights(getattr(gan_step, name)) for name in NETWORKS}
    gan_step.step(spoiled(batch, math.nan), "adversarial", RATES)
    for name in NETWORKS:
        assert all_equal(before[name], weights(getattr(gan_step, name)))
    gan_step.step(batch, "adversarial", RATES)
    fresh = make_gan_step()
    fresh.step(batch, "adversarial", RATES)
    for name in ("generator", "discriminator"):  # as if the bad step had not happened
        assert all_equal(weights(getattr(gan_step, name)), weights(getattr(fresh, name)))


def test_consecutive_bad_steps_are_counted_and_reset(batch):
    gan_step = make_gan_step()
    broken = spoiled(batch, math.nan)
    counts = []
    for bad in (False, True, True, False, True):
        gan_step.step(broken if bad else batch, "adversarial", RATES)
        counts.append(int(gan_step.bad_steps))
    assert counts == [0, 1, 2, 0, 1]


def test_training_continues_after_a_bad_step(batch):
    gan_step = make_gan_step()
    gan_step.step(batch, "adversarial", RATES)
    gan_step.step(spoiled(batch, math.nan), "adversarial", RATES)
    before = state_of(gan_step)
    terms = gan_step.step(batch, "adversarial", RATES)
    assert all(value.isfinite() for value in terms.values())
    assert changed(before, state_of(gan_step), "generator")
    assert gan_step.generator.eval()(batch[0]).chroma.isfinite().all()
    assert gan_step.ema(batch[0]).chroma.isfinite().all()


def test_overflows_by_which_a_loss_scaler_finds_its_scale_are_no_bad_steps(batch):
    """Such steps are skipped, but training does not end because of them."""
    gan_step = make_gan_step(precision="fp16", norm="none")
    gan_step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {name: weights(getattr(gan_step, name)) for name in ("generator", "discriminator")}
    for _ in range(3):
        terms = gan_step.step(batch, "adversarial", RATES)
        assert not terms["grad_norm_g"].isfinite() and not terms["grad_norm_d"].isfinite()
        assert terms["generator"].isfinite() and gan_step.bad_steps == 0
    assert gan_step.scaler.get_scale() == 2.0**37
    assert all(all_equal(before[name], weights(getattr(gan_step, name))) for name in before)
    gan_step.step(spoiled(batch, math.nan), "adversarial", RATES)
    assert gan_step.bad_steps == 1


# Clipping ---------------------------------------------------------------------------------------------------------


def norm_of(gradients: list[Tensor]) -> float:
    return torch.cat([gradient.flatten() for gradient in gradients]).norm().item()


@pytest.mark.parametrize("clip", [1e-3, 0.05])
def test_clipping_bounds_each_networks_gradient_and_reports_the_unclipped(batch, clip):
    plain, clipped = make_gan_step(), make_gan_step(optim=OptimConfig(clip=clip))
    unbounded, bounded = catch_gradients(plain), catch_gradients(clipped)
    of_plain, of_clipped = plain.step(batch, "adversarial", RATES), clipped.step(batch, "adversarial", RATES)
    assert of_plain["grad_norm_d"].item() == pytest.approx(norm_of(unbounded["discriminator"]), rel=1e-4)
    assert of_plain["grad_norm_d"].item() == pytest.approx(of_clipped["grad_norm_d"].item(), rel=1e-4)
    for gradients in bounded.values():
        assert norm_of(gradients) == pytest.approx(clip, rel=1e-3)


def test_gradients_below_the_limit_are_not_clipped(batch):
    plain, clipped = make_gan_step(), make_gan_step(optim=OptimConfig(clip=1e6))
    for gan_step in (plain, clipped):
        gan_step.step(batch, "adversarial", RATES)
    assert all_equal(weights(plain.generator), weights(clipped.generator))


# Moving average ---------------------------------------------------------------------------------------------------


def test_ema_by_hand(batch):
    gan_step = make_gan_step()
    expected = {name: value.clone() for name, value in gan_step.generator.state_dict().items()}
    for decay in (0.1, 0.75, 0.9):
        gan_step.step(batch, "adversarial", RATES | {"ema": decay})
        for name, value in gan_step.generator.state_dict().items():
            float_ = value.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * value if float_ else value.clone()
    found = gan_step.ema.state_dict()
    assert found.keys() == expected.keys()
    assert any("running_var" in name for name in found) and any("num_batches" in name for name in found)
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-6), name


def test_ema_with_decay_0_equals_the_generator(batch):
    gan_step = make_gan_step()
    gan_step.step(batch, "adversarial", RATES | {"ema": 0.0})
    assert all_equal(gan_step.ema.state_dict().values(), gan_step.generator.state_dict().values())


def test_ema_generator_is_never_trained(batch):
    gan_step = make_gan_step(generator={"dropout": 0.5})
    gan_step.step(batch, "adversarial", RATES)
    assert not gan_step.ema.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in gan_step.ema.parameters())
    assert torch.equal(gan_step.ema(batch[0]).chroma, gan_step.ema(batch[0]).chroma)


# Precision, spectral norm, state ----------------------------------------------------------------------------------


def test_half_precision_leaves_weights_losses_and_colours_float32(batch):
    gan_step = make_gan_step(precision="bf16")
    terms = gan_step.step(batch, "adversarial", RATES)
    exact = make_gan_step().step(batch, "adversarial", RATES)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
    for network in (gan_step.generator, gan_step.discriminator, gan_step.ema):
        assert all(value.dtype == torch.float32 for value in network.parameters())
    assert terms["l1"].item() == pytest.approx(exact["l1"].item(), rel=0.02)
    assert terms["l1"].item() != exact["l1"].item()  # the networks' arithmetic is bf16


def largest_singular_value(layer: nn.Conv2d) -> float:
    return torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item()


def test_spectral_norm_bounds_every_convolution_of_the_discriminator(batch):
    gan_step = make_gan_step(spectral_norm=True, norm="none")
    for _ in range(30):  # each iteration improves the estimate
        gan_step.step(batch, "adversarial", RATES | {"lr_d": 0.0})
    gan_step.discriminator.eval()
    values = [largest_singular_value(m) for m in gan_step.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert values == pytest.approx([1] * len(values), abs=0.05)


def test_spectral_norm_is_copied_and_saved(batch, tmp_path):
    gan_step = make_gan_step(spectral_norm=True)
    gan_step.step(batch, "adversarial", RATES)
    twin = copy.deepcopy(gan_step.discriminator).eval()
    assert torch.equal(twin(*batch[:2]), gan_step.discriminator.eval()(*batch[:2]))
    gan_step.discriminator.train()
    save_state(tmp_path / "last.safetensors", state_tensors(gan_step.state_parts()), {"step": 1})
    other = make_gan_step(spectral_norm=True)
    load_state(tmp_path / "last.safetensors", other.state_parts())
    for pair in (gan_step, other):
        pair.step(batch, "adversarial", RATES)
    one, two = state_of(gan_step), state_of(other)
    assert one.keys() == two.keys()
    assert not any(changed(one, two, part) for part in gan_step.state_parts())


@pytest.mark.parametrize("steps", [0, 1, 3, 4])
def test_restored_gan_step_continues_bit_for_bit(batch, tmp_path, steps):
    """The step after loading equals the step without saving, because the optimizer state is restored too."""
    gan_step = make_gan_step(generator={"dropout": 0.5})
    for step in range(steps):
        torch.manual_seed(step)
        gan_step.step(batch, STAGES[step], RATES)
    save_state(tmp_path / "last.safetensors", state_tensors(gan_step.state_parts()), {"step": steps})
    other = make_gan_step(generator={"dropout": 0.5})
    other.step(batch, STAGES[max(steps - 1, 0)], RATES)  # so that its state differs before loading
    assert load_state(tmp_path / "last.safetensors", other.state_parts())["step"] == steps
    for pair in (gan_step, other) if steps else ():
        torch.manual_seed(steps)
        pair.step(batch, "adversarial", RATES)
    one, two = state_of(gan_step), state_of(other)
    for part in PARTS:
        if steps or part in NETWORKS:
            assert not changed(one, two, part)


def test_same_seed_gives_the_same_steps(batch):
    ends = []
    for _ in range(2):
        gan_step = make_gan_step(generator={"dropout": 0.5})
        for step in range(4):
            torch.manual_seed(step)
            gan_step.step(batch, STAGES[step], RATES)
        ends.append(state_of(gan_step))
    assert all_equal(ends[0].values(), ends[1].values())


def test_a_full_device_is_not_taken_for_other_networks(tmp_path, monkeypatch):
    gan_step = make_gan_step()
    save_state(tmp_path / "last.safetensors", state_tensors(gan_step.state_parts()), {"step": 0})

    def fill(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gan_step.generator, "load_state_dict", fill)
    with pytest.raises(torch.OutOfMemoryError):
        load_state(tmp_path / "last.safetensors", gan_step.state_parts())
