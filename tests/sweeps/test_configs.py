"""configs/sweeps: every shipped sweep file, read and checked. tests/config/test_recipes.py parses their values."""

import pytest

from gancolor.config.identity import flatten
from gancolor.config.options import TrainConfig
from gancolor.config.parsing import RECIPES
from gancolor.sweeps.check import check_sweep
from gancolor.sweeps.parameters import Range
from gancolor.sweeps.plan import Plan
from gancolor.sweeps.sweep_file import read_sweep_file

FILES = sorted(RECIPES.glob("sweeps/*.yaml"))
LOGGED = ("val/psnr", "val/ssim")  # tests/e2e/test_training.py: what a validation logs


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(RECIPES.parent)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_run_of_a_shipped_sweep_is_accepted_by_the_trainer(path):
    sweep = read_sweep_file(
        path, {"generator.backbone_weights": "random"}
    )  # published weights are not available in tests
    assert sweep.parameters.keys() <= flatten(TrainConfig()).keys()
    assert sweep.metric.name in LOGGED and sweep.metric.maximize
    plan = Plan(sweep, 0, None)  # raises an error if the search never ends
    samples = [*plan.samples()]
    assert len(samples) >= (plan.total if sweep.method == "grid" else 2 * len(sweep.varying))
    check_sweep(sweep, samples)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_comment_of_a_shipped_sweep_has_its_command(path):
    comment = " ".join(line[2:] for line in path.read_text().splitlines() if line.startswith("# "))
    assert (
        f"`gancolor sweep configs/sweeps/{path.name}" in comment
        or f"`wandb sweep configs/sweeps/{path.name}" in comment
    )


def test_runs_of_shipped_sweeps_have_distinct_folders_and_short_names():
    """Different runs have different folders, and names that fit into a table."""
    for path in FILES:
        sweep = read_sweep_file(path, {})
        plan = Plan(sweep, 0, None)
        trials = [plan.trial(number, []) for number in range(plan.total)]
        assert len({trial.folder for trial in trials}) == plan.total
        assert max(len(trial.name) for trial in trials) < 70


def test_learning_rates_are_log_uniform():
    sweep = read_sweep_file(RECIPES / "sweeps/learning_rates.yaml", {})
    assert sweep.hyperband.bands(20) == [3, 6, 12]
    rates = [parameter for parameter in sweep.parameters.values() if isinstance(parameter, Range)]
    assert len(rates) == 2 and all(rate.at([0.5])[0] == pytest.approx(2.236e-4, rel=1e-3) for rate in rates)
