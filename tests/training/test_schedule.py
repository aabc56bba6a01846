import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gancolor.config.options import OptimConfig
from gancolor.training.schedule import Timeline, batch_factor, ema_decay, rate_factor, rates, step_seed

SCHEDULES = ("constant_linear", "cosine", "one_cycle")

timelines = st.builds(
    Timeline,
    steps_per_epoch=st.integers(1, 50),
    pretrain_epochs=st.floats(0, 6),
    epochs=st.floats(0, 6),
    evaluate_every=st.floats(0.01, 10),
    critic_epochs=st.just(0.0) | st.floats(0, 3),
)
optims = st.builds(
    OptimConfig,
    schedule=st.sampled_from(SCHEDULES),
    decay_from=st.floats(0, 0.999),
    warmup_steps=st.integers(0, 40),
)


def factors(optim, timeline, first=0, last=None):
    return [rate_factor(optim, timeline, step) for step in range(first, last or timeline.total_steps)]


@given(optims, timelines)
def test_factor_is_within_0_and_1(optim, timeline):
    assert all(0 <= factor <= 1 for factor in factors(optim, timeline))


@given(optims, timelines, st.integers(0, 10**6))
def test_factor_depends_only_on_the_step(optim, timeline, start):
    """So a resumed run computes the same as an uninterrupted one."""
    assume(timeline.total_steps)
    start %= timeline.total_steps
    resumed = factors(replace(optim), replace(timeline), start)
    assert resumed == factors(optim, timeline)[start:]


@given(timelines)
def test_stages_follow_each_other_without_gap_or_overlap(timeline):
    spans = timeline.spans
    assert list(spans) == ["pretrain", "critic", "adversarial"]
    assert spans["pretrain"][0] == 0 and spans["adversarial"][1] == timeline.total_steps
    assert all(before[1] == after[0] for before, after in pairwise(spans.values()))
    for step in range(timeline.total_steps):
        (stage,) = [stage for stage, (first, last) in spans.items() if first <= step < last]
        assert timeline.stage(step) == stage and timeline.span(step) == spans[stage]


@given(timelines)
def test_stages_have_the_requested_length_and_at_least_one_step(timeline):
    """A very short stage (such as deoldify's 3 % of an epoch) has at least one step."""
    asked = (timeline.pretrain_epochs, timeline.critic_epochs, timeline.epochs)
    for epochs, (first, last) in zip(asked, timeline.spans.values(), strict=True):
        steps = epochs * timeline.steps_per_epoch
        assert last - first == (max(round(steps), 1) if epochs else 0)
        assert abs(last - first - steps) <= 1


def test_stage_of_every_step():
    timeline = Timeline(steps_per_epoch=10, pretrain_epochs=1.5, epochs=2, critic_epochs=0.3)
    assert timeline.spans == {"pretrain": (0, 15), "critic": (15, 18), "adversarial": (18, 38)}
    assert timeline.total_steps == 38
    assert [timeline.stage(step) for step in range(38)] == ["pretrain"] * 15 + ["critic"] * 3 + ["adversarial"] * 20
    assert timeline.span(14) == (0, 15) and timeline.span(15) == timeline.span(17) == (15, 18)
    assert timeline.span(18) == timeline.span(37) == (18, 38)
    assert timeline.stage(38) == "adversarial"  # that none follows


@pytest.mark.parametrize(
    ("epochs", "text"),
    [
        ((2, 0, 3), "20 pretraining, 30 adversarial"),
        ((2, 0.5, 3), "20 pretraining, 5 discriminator only, 30 adversarial"),
        ((0, 0, 1), "10 adversarial"),
        ((1, 0, 0), "10 pretraining"),
    ],
)
def test_timeline_text_lists_the_steps_of_each_stage(epochs, text):
    pretrain, critic, adversarial = epochs
    assert str(Timeline(10, pretrain, adversarial, critic_epochs=critic)) == text


def test_each_stage_has_the_whole_schedule():
    timeline = Timeline(steps_per_epoch=10, pretrain_epochs=2, epochs=2, critic_epochs=2)
    for name in SCHEDULES:
        series = factors(OptimConfig(schedule=name, warmup_steps=3), timeline)
        assert series[:20] == series[20:40] == series[40:]


def test_constant_linear_is_constant_then_falls_linearly_to_zero():
    optim, timeline = OptimConfig(schedule="constant_linear", decay_from=0.5), Timeline(100, 0, 2)
    series = factors(optim, timeline)
    assert series[:101] == [1.0] * 101
    differences = [a - b for a, b in pairwise(series[100:])]
    assert differences == pytest.approx([0.01] * 99)
    assert series[150] == pytest.approx(0.5)
    assert series[-1] == pytest.approx(0.01)  # the step after the last would have rate 0


def test_cosine_is_half_a_period():
    series = factors(OptimConfig(schedule="cosine"), Timeline(100, 0, 1))
    assert series[0] == 1
    assert series[50] == pytest.approx(0.5)
    assert series[25] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert series[-1] < 0.001
    assert series == sorted(series, reverse=True)


def test_one_cycle_rises_to_its_peak_at_30_percent_and_falls():
    series = factors(OptimConfig(schedule="one_cycle"), Timeline(100, 0, 1))
    assert series[0] == pytest.approx(1 / 25)
    assert series[30] == pytest.approx(1)
    assert max(series) == series[30]
    assert series[:31] == sorted(series[:31]) and series[30:] == sorted(series[30:], reverse=True)
    assert series[-1] < 0.001
    assert series[15] == pytest.approx((1 / 25 + 1) / 2)


@given(st.sampled_from(SCHEDULES), st.integers(20, 200))
def test_factor_has_no_jumps(name, steps):
    series = factors(OptimConfig(schedule=name), Timeline(steps, 0, 1))
    assert max(abs(a - b) for a, b in pairwise(series)) < 6 / steps


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_end_near_zero(name):
    assert factors(OptimConfig(schedule=name), Timeline(1000, 0, 1))[-1] < 0.003


def test_warm_up_rises_linearly_and_is_over_after_its_steps():
    optim = OptimConfig(warmup_steps=4)
    series = factors(optim, Timeline(20, 1, 1))
    assert series[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert series[20:26] == series[:6]


@given(optims, timelines)
def test_warm_up_changes_nothing_after_its_steps(optim, timeline):
    without = replace(optim, warmup_steps=0)
    for step in range(timeline.total_steps):
        if step - timeline.span(step)[0] >= optim.warmup_steps:
            assert rate_factor(optim, timeline, step) == rate_factor(without, timeline, step)
        else:
            assert rate_factor(optim, timeline, step) <= rate_factor(without, timeline, step)


@pytest.mark.parametrize(
    ("scale", "batch", "expected"),
    [("none", 64, 1), ("linear", 64, 4), ("sqrt", 64, 2), ("linear", 8, 0.5), ("sqrt", 16, 1), ("linear", 16, 1)],
)
def test_batch_factor(scale, batch, expected):
    assert batch_factor(OptimConfig(scale_lr=scale, lr_batch=16), batch) == pytest.approx(expected)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (1, 2 / 11), (90, 0.91), (8990, 0.999), (10**6, 0.999)])
def test_ema_decay_grows_to_the_option(step, expected):
    assert ema_decay(0.999, step) == pytest.approx(expected)


@given(st.floats(0, 0.9999), st.integers(0, 10**7))
def test_ema_decay_never_exceeds_the_option(decay, step):
    assert 0 <= ema_decay(decay, step) <= decay
    assert ema_decay(decay, step) <= ema_decay(decay, step + 1)
    assert ema_decay(0.0, step) == 0


def test_rates_are_the_options_times_the_factors():
    optim = OptimConfig(
        lr_pretrain=1e-3, lr_g=2e-4, lr_d=3e-4, scale_lr="linear", lr_batch=16, warmup_steps=1, ema=0.9
    )  # fmt: skip
    timeline = Timeline(10, 1, 1)
    assert rates(optim, timeline, 0, 32) == pytest.approx({"lr_g": 1e-3, "lr_d": 3e-4, "ema": 0.1})
    assert rates(optim, timeline, 3, 32) == pytest.approx({"lr_g": 2e-3, "lr_d": 6e-4, "ema": 4 / 13})
    assert rates(optim, timeline, 13, 16) == pytest.approx({"lr_g": 2e-4, "lr_d": 3e-4, "ema": 14 / 23})
    with_critic = Timeline(10, 1, 1, critic_epochs=1)
    assert rates(optim, with_critic, 13, 16)["lr_d"] == pytest.approx(3e-4)
    assert rates(optim, with_critic, 10, 16)["lr_d"] == pytest.approx(1.5e-4)  # warming up, as each stage does


def test_seeds_of_steps_are_all_different_and_never_change():
    """Seeds differ for every step, rank and run, and are valid for torch."""
    seeds = [step_seed(seed, step, rank) for seed in range(5) for step in range(200) for rank in range(3)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert step_seed(0, 0, 0) == 5_346_321_772_774_276_043
    for seed in seeds[:20]:
        torch.manual_seed(seed)


def test_evaluates_every_so_many_epochs_and_at_the_ends_of_stages():
    timeline = Timeline(steps_per_epoch=10, pretrain_epochs=1.5, epochs=2.5, evaluate_every=1)
    assert [done for done in range(1, 41) if timeline.evaluates(done)] == [10, 15, 25, 35, 40]


def test_early_evaluations_of_adversarial_training():
    timeline = Timeline(100, pretrain_epochs=1, epochs=2, evaluate_every=1, critic_epochs=0.1, early_evaluations=4)
    marks = [done for done in range(1, timeline.total_steps + 1) if timeline.evaluates(done)]
    assert marks == [100, 110 + 6, 110 + 12, 110 + 25, 110 + 50, 210, 310]


def test_early_evaluations_of_a_short_stage():
    timeline = Timeline(4, pretrain_epochs=0, epochs=1, evaluate_every=1, early_evaluations=9)
    assert [done for done in range(1, 5) if timeline.evaluates(done)] == [1, 2, 4]


def ends(timeline: Timeline) -> set[int]:
    """Return the last steps of the stages that train the generator."""
    return {last for stage, (first, last) in timeline.spans.items() if stage != "critic" and last > first}


@given(timelines)
def test_every_stage_except_critic_ends_with_an_evaluation(timeline):
    assert all(timeline.evaluates(done) for done in ends(timeline))
    first, last = timeline.spans["critic"]
    assert not any(timeline.evaluates(done) for done in range(first + 1, last + 1))


@given(timelines)
def test_evaluations_have_the_requested_interval(timeline):
    every = max(round(timeline.evaluate_every * timeline.steps_per_epoch), 1)
    marks = [done for done in range(1, timeline.total_steps + 1) if timeline.evaluates(done)]
    resting = timeline.spans["critic"]
    previous = 0
    for done in marks:
        if previous == resting[0]:
            previous = resting[1]
        assert done - previous == every or (done in ends(timeline) and done - previous < every)
        previous = done
    assert set(marks) >= ends(timeline)
