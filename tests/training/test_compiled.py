"""torch.compile: the same networks, compiled once a way of use, however long the run."""

import pytest
import torch
from torch._dynamo.utils import counters
from toys import RATES, make_batch, make_gan_step

from gancolor.config.options import DataConfig, OptimConfig
from gancolor.data.preprocess import Preprocess
from gancolor.evaluation.scoring import colorize
from gancolor.utils.hardware import Hardware

ROUND = ("pretrain", "critic", "adversarial")


@pytest.fixture
def quick(monkeypatch):
    """Traced as for inductor, which takes minutes, but run as it is."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: real(*args, backend="eager", **options))
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def compiled_players(parts=1, graphs=False):
    return make_gan_step(optim=OptimConfig(accumulate=parts), compiled=True, graphs=graphs, generator={"dropout": 0.3})


@pytest.mark.parametrize("parts", [1, 2])
def test_nothing_is_compiled_again(quick, parts):
    """Not when stages change, after evaluations, or after batches of other sizes than the training's."""
    gan_step, pictures = compiled_players(parts), torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    for stage in ROUND:
        gan_step.step(make_batch(), stage, RATES)
    first = counters["stats"]["unique_graphs"]
    assert first >= 2
    for stage in (*ROUND, *ROUND):
        gan_step.step(make_batch(seed=3), stage, RATES)
        colorize(gan_step.ema, pictures)
    assert counters["stats"]["unique_graphs"] == first
    assert not counters["graph_break"]


def test_compiled_players_learn_the_same(quick):
    ends = []
    for gan_step in (compiled_players(), make_gan_step(generator={"dropout": 0.3})):
        for step, stage in enumerate(ROUND):
            torch.manual_seed(step)
            terms = gan_step.step(make_batch(), stage, RATES)
        ends.append({name: value.item() for name, value in terms.items()})
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


@pytest.mark.parametrize("graphs", [False, True])
def test_cuda_graphs_are_asked_for_and_told_of_each_step(quick, monkeypatch, graphs):
    """A CPU has none: that torch is asked for them, and that a step is one of theirs, is all that shows here."""
    modes, begun = [], []
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda *args, mode=None, **options: modes.append(mode) or real(*args, **options)
    )
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(True))
    gan_step = compiled_players(2, graphs)
    for stage in ROUND:
        gan_step.step(make_batch(), stage, RATES)
    assert modes == (["reduce-overhead"] * 2 if graphs else [None] * 2)
    assert len(begun) == (3 if graphs else 0)


@pytest.mark.parametrize("tone", [0.0, 1.0])
def test_compiled_preparation_is_the_same(quick, tone):
    pictures, labels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.arange(4)
    batches = []
    for compiled in (True, False):
        torch.manual_seed(0)
        prepare = Preprocess(DataConfig(size=32, tone=tone), Hardware(torch.device("cpu"), "fp32"), compiled)
        batches.append(prepare(pictures, labels))
    assert counters["stats"]["unique_graphs"] == 1
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*batches, strict=True))
