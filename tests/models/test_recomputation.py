"""Micro-batches, second passes and saved buffers do not change what is learned."""

import pytest
import torch
from torch import nn
from toys import PARTS, RATES, all_equal, changed, make_batch, make_gan_step, spoiled, state_of

from gancolor.config.networks import LossConfig
from gancolor.config.options import OptimConfig
from gancolor.models.recomputation import Buffers, recomputed, second_pass

STAGES = ("pretrain", "critic", "adversarial", "adversarial")


def after(gan_step, stages=STAGES):
    """Return the terms of each step, and the final state."""
    terms = []
    for step, stage in enumerate(stages):
        torch.manual_seed(step)
        terms.append(gan_step.step(make_batch(8, seed=step), stage, RATES))
    return terms, state_of(gan_step)


# Accumulation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 8])
def test_micro_batches_learn_the_same_as_the_whole_batch(parts):
    loss = LossConfig(l1=10.0, feature_matching=1.0, r1=1.0)
    whole, whole_state = after(make_gan_step(loss, norm="none"))
    cut, cut_state = after(make_gan_step(loss, OptimConfig(accumulate=parts), norm="none"))
    for one, other in zip(whole, cut, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].item() == pytest.approx(other[name].item(), rel=2e-4, abs=1e-5), name
    for name in whole_state:
        torch.testing.assert_close(whole_state[name], cut_state[name], rtol=1e-3, atol=3e-4, msg=name)


def test_micro_batch_has_the_same_dropout_in_both_passes():
    """The discriminator sees the picture that the generator is then trained on."""
    gan_step = make_gan_step(optim=OptimConfig(accumulate=2), generator={"dropout": 0.5, "depth": 4})
    shown, answered = [], []
    adversarial_terms, discriminator_terms = gan_step.objective.adversarial_terms, gan_step._discriminator_terms
    gan_step.objective.adversarial_terms = lambda network, part, chroma: (
        answered.append(chroma) or adversarial_terms(network, part, chroma)
    )
    gan_step._discriminator_terms = lambda part, fake: shown.append(fake) or discriminator_terms(part, fake)
    torch.manual_seed(0)
    gan_step.step(make_batch(8), "adversarial", RATES)
    assert len(shown) == len(answered) == 2 and all_equal(shown, answered)
    gan_step.generator.train()
    torch.manual_seed(1)
    assert not torch.equal(gan_step.generator(make_batch(8).lightness[:4]).chroma, shown[0])


def test_batchnorm_statistics_are_updated_once_per_micro_batch():
    gan_step = make_gan_step(optim=OptimConfig(accumulate=4))
    after(gan_step, ("adversarial", "pretrain"))
    counters = [value for name, value in gan_step.generator.state_dict().items() if name.endswith("batches_tracked")]
    assert counters and all(counter == 8 for counter in counters)  # 4 parts a step, however often they were seen


def test_non_finite_micro_batch_skips_the_whole_step():
    gan_step = make_gan_step(optim=OptimConfig(accumulate=4))
    after(gan_step)
    before = state_of(gan_step)
    gan_step.step(spoiled(make_batch(8), float("nan")), "adversarial", RATES)
    assert gan_step.bad_steps == 1
    assert not any(changed(before, state_of(gan_step), part) for part in PARTS if part != "ema")


# Recomputation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "precision"),
    [("attention_ugan", "fp32"), ("attention_ugan", "bf16"), ("pretrained_ugan", "fp32"), ("deoldify", "fp32")],
)
def test_recomputation_does_not_change_results(arch, precision):
    """Dropout, BatchNorm's statistics and spectral norm's vectors included."""
    options = {"dropout": 0.3, "backbone": "test_resnet"}
    usual, again = (
        after(make_gan_step(arch=arch, precision=precision, generator=options | {"recompute": recompute}))
        for recompute in (False, True)
    )
    assert all(torch.equal(a[name], b[name]) for a, b in zip(usual[0], again[0], strict=True) for name in a)
    assert all(torch.equal(usual[1][name], again[1][name]) for name in usual[1])


def test_recomputation_keeps_only_the_inputs():
    block = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    features = torch.rand(2, 2, 16, 16, requires_grad=True)

    def kept(run) -> int:
        shapes = []

        def pack(tensor):
            shapes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run()
        return sum(shapes)

    assert kept(lambda: recomputed(block, features)) < kept(lambda: block(features)) / 5


def test_second_pass_restores_all_statistics():
    network = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 2, 3)), nn.BatchNorm2d(2, momentum=0.3)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def passes() -> None:
        with second_pass(network):
            network(torch.rand(2, 1, 8, 8))
            network(torch.rand(2, 5, 8, 8))

    with pytest.raises(RuntimeError, match="channels"):
        passes()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network[1].momentum == 0.3 and all(layer.training for layer in network.modules())
    network(torch.rand(2, 1, 8, 8))
    assert not any(torch.equal(value, before[name]) for name, value in network.state_dict().items()
                   if name.endswith(("_u", "running_mean", "batches_tracked")))  # fmt: skip


# Buffers ----------------------------------------------------------------------------------------------------------


def test_buffers_are_restored_unless_the_step_is_good():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2)))
    network(torch.rand(2, 1, 8, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    buffers = Buffers(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    buffers.keep()
    network(torch.rand(2, 1, 8, 8))
    passed = {name: value.clone() for name, value in network.state_dict().items()}
    buffers.restore_unless(torch.tensor(True))
    assert all(torch.equal(value, passed[name]) for name, value in network.state_dict().items())
    buffers.restore_unless(torch.tensor(False))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not torch.equal(passed["1.running_mean"], before["1.running_mean"])


def test_buffers_are_aligned_for_cuda_graphs():
    """A counter takes 8 bytes, but the next buffer must start at an aligned address."""
    network = nn.Sequential(*[nn.BatchNorm2d(channels) for channels in (3, 1, 5)])
    Buffers(network)
    assert all(buffer.data_ptr() % 16 == 0 for buffer in network.buffers())
