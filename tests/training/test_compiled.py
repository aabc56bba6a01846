"""torch.compile: same results, and one compilation per mode of use."""

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
    """Trace as for inductor, but run the graph without compiling, which would take minutes."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: real(*args, backend="eager", **options))
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def compiled_gan_step(micro_batches=1, graphs=False):
    return make_gan_step(
        optim=OptimConfig(accumulate=micro_batches), compiled=True, graphs=graphs, generator={"dropout": 0.3}
    )


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_no_recompilation(quick, micro_batches):
    """Stage changes, evaluations and other batch sizes cause no recompilation."""
    gan_step, pictures = compiled_gan_step(micro_batches), torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    for stage in ROUND:
        gan_step.step(make_batch(), stage, RATES)
    first = counters["stats"]["unique_graphs"]
    assert first >= 2
    for stage in (*ROUND, *ROUND):
        gan_step.step(make_batch(seed=3), stage, RATES)
        colorize(gan_step.ema, pictures)
    assert counters["stats"]["unique_graphs"] == first
    assert not counters["graph_break"]


def test_compiled_networks_learn_the_same(quick):
    ends = []
    for gan_step in (compiled_gan_step(), make_gan_step(generator={"dropout": 0.3})):
        for step, stage in enumerate(ROUND):
            torch.manual_seed(step)
            terms = gan_step.step(make_batch(), stage, RATES)
        ends.append({name: value.item() for name, value in terms.items()})
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


@pytest.mark.parametrize("graphs", [False, True])
def test_cuda_graphs_are_requested_and_each_step_is_marked(monkeypatch, graphs):
    """A CPU has no CUDA graphs: only the request to torch and the marks of steps can be tested."""
    modes, begun = [], []
    monkeypatch.setattr(torch, "compile", lambda function, mode=None, **_: modes.append(mode) or function)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(True))
    gan_step = compiled_gan_step(2, graphs)
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
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*(batch[:3] for batch in batches), strict=True))
