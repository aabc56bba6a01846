from dataclasses import replace

import flops_and_bytes
import pytest
import torch
from roofline import Rates
from step_runners import GancolorSteps, StepSpec
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gancolor.config.networks import LossConfig
from gancolor.losses.objective import Objective

SMALL = ("--generator.width", "4", "--discriminator.width", "4", "--discriminator.layers", "1")
SPEC = StepSpec("ugan", 16, 3, "cpu", 1.0, words=SMALL)
FLOAT, HALF = 4, 2  # bytes


@pytest.fixture(scope="module")
def counter():
    return flops_and_bytes.StepCounter(SPEC)


class TwoLayers(nn.Module):
    """A convolution and a transposed one, between (B, 1, 8, 8) and (B, 2, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 6, 4, stride=2, padding=1, bias=False)
        self.up = nn.ConvTranspose2d(6, 2, 4, stride=2, padding=1, bias=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(pictures).relu())


BATCH = 5
DOWN, UP = BATCH * 16 * 6 * 16, BATCH * 16 * 6 * 2 * 16  # places, channels out, in, kernel
PICTURES, FEATURES, MADE, WEIGHTS = BATCH * 64, BATCH * 16 * 6, BATCH * 2 * 64, (6 * 16, 6 * 2 * 16)


def of_two_layers(dtype: torch.dtype, backward: bool) -> flops_and_bytes.Work:
    network = TwoLayers()

    def run() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            made = network(torch.empty(BATCH, 1, 8, 8))
        if backward:
            made.float().sum().backward()

    return flops_and_bytes.count(run)


def test_forward_by_hand():
    work = of_two_layers(torch.float32, backward=False)
    assert work.macs == DOWN + UP
    assert work.bytes == FLOAT * (PICTURES + WEIGHTS[0] + FEATURES + FEATURES + WEIGHTS[1] + MADE)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, FLOAT), (torch.bfloat16, HALF)])
def test_forward_and_backward_by_hand(dtype, width):
    """There is no gradient with respect to the pictures; the upper layer has gradients of its input and its weight."""
    work = of_two_layers(dtype, backward=True)
    assert work.macs == 2 * DOWN + 3 * UP
    forward = PICTURES + WEIGHTS[0] + FEATURES + FEATURES + WEIGHTS[1] + MADE
    up = MADE + FEATURES + WEIGHTS[1] + FEATURES + WEIGHTS[1]  # gradient, input, weight; both gradients
    down = FEATURES + PICTURES + WEIGHTS[0]  # the gradient of the weight does not need the weight
    assert work.bytes == width * (forward + up + down)


def test_frozen_layer_has_no_weight_gradient():
    network = TwoLayers()
    network.up.requires_grad_(False)
    work = flops_and_bytes.count(lambda: network(torch.empty(BATCH, 1, 8, 8)).sum().backward())
    assert work.macs == 2 * DOWN + 2 * UP


def test_pix2pix_at_256_by_hand():
    """Halvings from 128 x 128 down to 1 x 1, and back."""
    widths = [1, 64, 128, 256, 512, 512, 512, 512, 512]
    down = sum((256 >> level) ** 2 * widths[level - 1] * widths[level] * 16 for level in range(1, 9))
    inputs = [512, 1024, 1024, 1024, 1024, 512, 256, 128]  # of the doublings from 1 x 1: joined with skips
    outputs = [512, 512, 512, 512, 256, 128, 64, 2]
    up = sum((1 << 2 * level) * inputs[level] * outputs[level] * 16 for level in range(8))
    counter = flops_and_bytes.StepCounter(StepSpec("ugan", 256, 1, "cpu", 1.0))
    assert counter.forward().macs == down + up == 5_981_077_504


@pytest.mark.parametrize("stage", ["pretrain", "adversarial"])
def test_macs_equal_those_of_a_real_step(counter, stage):
    """The count equals that of the trainer's own step."""
    steps = GancolorSteps(SPEC)
    steps.prepare(steps.batches[0], steps.labels)  # Lab's table is made once
    with FlopCounterMode(display=False) as flops:
        steps.step(stage)
    with FlopCounterMode(display=False) as of_lab:
        steps.prepare(steps.batches[0], steps.labels)
    took = (flops.get_total_flops() - of_lab.get_total_flops()) // 2
    assert counter.step(stage, "fp32").macs == took


def test_optimizer_and_average_are_counted_once(counter):
    """In addition to the products: 28 bytes per trained weight, 8 per number of the generator's state."""
    bare = flops_and_bytes.count(
        lambda: counter.objective.generator_terms(
            batch := flops_and_bytes._batch(SPEC), counter.generator(batch.lightness), []
        )["l1"].backward()
    )
    weights = sum(parameter.numel() for parameter in counter.generator.parameters())
    state = sum(value.numel() for value in counter.generator.state_dict().values() if value.is_floating_point())
    assert counter.step("pretrain", "fp32").bytes == bare.bytes + 28 * weights + 8 * state


def test_autocast_halves_activations_and_not_the_optimizer():
    counter = flops_and_bytes.StepCounter(replace(SPEC, size=64))
    full, half = (counter.step("adversarial", precision) for precision in ("fp32", "bf16"))
    assert full.macs == half.macs
    assert 0.5 * full.bytes < half.bytes < 0.8 * full.bytes


def test_activations_grow_with_the_batch_and_weights_do_not():
    one, two, three = (
        flops_and_bytes.StepCounter(replace(SPEC, batch_size=size)).step("pretrain", "fp32") for size in (2, 4, 6)
    )
    assert two.macs == 2 * one.macs
    assert two.bytes < 2 * one.bytes
    assert three.bytes - two.bytes == two.bytes - one.bytes


def test_counting_leaves_no_state_behind(counter):
    """No gradients and no frozen discriminator remain: the next count is the same."""
    first = counter.step("adversarial", "fp32")
    assert counter.step("adversarial", "fp32") == first
    assert all(parameter.grad is None and parameter.requires_grad for parameter in counter.discriminator.parameters())


def test_penalties_add_to_the_count(counter, monkeypatch):
    without = counter.step("adversarial", "fp32")
    monkeypatch.setattr(counter, "objective", Objective(LossConfig(r1=1.0)))
    assert counter.step("adversarial", "fp32").macs > without.macs
    assert counter.step("pretrain", "fp32").macs < without.macs


def test_floor_is_the_longer_of_compute_and_transfer_time():
    rates = Rates({"fp32": 100.0, "bf16": 1000.0}, 10.0)
    work = flops_and_bytes.Work(macs=1000, bytes=50)
    assert rates.floor(work, "fp32") == 10 and rates.bound(work, "fp32") == "MACs"
    assert rates.floor(work, "bf16") == 5 and rates.bound(work, "bf16") == "bytes"
