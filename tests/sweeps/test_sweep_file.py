"""gancolor.sweeps.sweep_file: valid and refused sweep files."""

import pytest
import yaml

from gancolor.sweeps.command import DEFAULT
from gancolor.sweeps.sweep_file import SweepMetric, read_sweep_file
from gancolor.utils.errors import InputError

FULL = """
program: tools/train.py
method: bayes
name: mine
description: of learning rates
project: gancolor
entity: me
run_cap: 12
metric: {name: val/psnr, goal: maximize, target: 30}
early_terminate: {type: hyperband, min_iter: 3, eta: 2, strict: false}
command: ["${env}", "${interpreter}", "${program}", "${args_no_equals}"]
parameters:
  optim.lr_g: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}
  arch: {values: [ugan, eccv16]}
  data.source: {value: demo}
"""


@pytest.fixture
def read(tmp_path):
    def reading(text, **given):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return read_sweep_file(path, given)

    return reading


def test_every_key_is_read(read):
    sweep = read(FULL)
    assert (sweep.program, sweep.method, sweep.run_cap) == ("tools/train.py", "bayes", 12)
    assert sweep.metric == SweepMetric("val/psnr", True, 30)
    assert (sweep.hyperband.min_iter, sweep.hyperband.eta, sweep.hyperband.strict) == (3, 2, False)
    assert sweep.command == ("${env}", "${interpreter}", "${program}", "${args_no_equals}")
    assert [*sweep.parameters] == ["arch", "data.source", "optim.lr_g"]
    assert sweep.varying == ["arch", "optim.lr_g"]
    assert "name" not in sweep.content and "run_cap" not in sweep.content  # may change between two starts


def test_minimal_sweep_file(read):
    sweep = read("method: grid\nparameters: {seed: {value: 0}}")
    assert (sweep.program, sweep.command, sweep.metric, sweep.run_cap) == ("train.py", DEFAULT, None, None)
    assert sweep.varying == ["seed"]


def test_given_options_override_the_files(read):
    sweep = read(FULL, arch="ltbc", seed="3")
    assert sweep.parameters["arch"].at([0.1, 0.9]) == ["ltbc", "ltbc"]
    assert [*sweep.parameters] == ["arch", "data.source", "optim.lr_g", "seed"]
    assert sweep.varying == ["optim.lr_g"]


def test_default_goal_is_to_minimize(read):
    metric = read("method: bayes\nmetric: {name: l1, target: 2}\nparameters: {a: {values: [1, 2]}}").metric
    assert metric.best([3.0, 2.5, 4.0]) == 2.5
    assert metric.loss(2.5) == 2.5
    assert [metric.reached(value) for value in (2.1, 2.0, 1.0, None)] == [False, True, True, False]


def test_maximized_metric():
    metric = SweepMetric("val/psnr", True, 30)
    assert metric.best([20.0, 31.0, 25.0]) == 31
    assert metric.best([]) is None
    assert metric.loss(20) == -20
    assert [metric.reached(value) for value in (29.9, 30, 31, None)] == [False, True, True, False]
    assert not SweepMetric("val/psnr", True).reached(99)


SEED = "parameters: {seed: {value: 0}}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- a list", ["`method` and `parameters`"]),
        ("a: [", ["can't be read"]),
        ("method: grid\nparameters:\n  seed: {value: 0}\n  seed: {value: 1}", ["'seed' is given twice", "line 4"]),
        ("method: grid\nparameters: {}", ["parameters"]),
        ("method: grid\nparameters: [seed]", ["parameters must be named"]),
        (f"method: bayse\n{SEED}", ["method: bayse", "did you mean bayes"]),
        (SEED, ["method: None", "grid, random, bayes"]),
        (f"method: grid\nmetod: grid\n{SEED}", ["metod", "did you mean method"]),
        (f"method: grid\non: push\n{SEED}", ["True", "quotes"]),
        ("method: grid\nparameters: {on: {value: 1}}", ["True", "quotes"]),
        ("method: grid\nparameters: {3: {value: 1}}", ["no key 3"]),
        ("method: grid\nparameters: {loss l1: {value: 1}}", ["loss l1"]),
        ("method: grid\nparameters: {loss: {parameters: {l1: {value: 1}}}}", ["loss: ", "nested", "loss.l1"]),
        ("method: grid\nparameters: {loss.l1: {min: 1.0, max: 100}}", ["loss.l1", "a grid needs"]),
        ("method: grid\nparameters: {loss.l1: {values: []}}", ["loss.l1"]),
        ("method: grid\nparameters: {out: {value: here}}", ["out", "--out DIR"]),
        (f"method: bayes\n{SEED}", ["bayes needs `metric`"]),
        (
            f"method: grid\nearly_terminate: {{type: hyperband, min_iter: 3}}\n{SEED}",
            ["early_terminate needs `metric`"],
        ),
        (f"method: grid\nmetric: val/psnr\n{SEED}", ["metric: ", "goal: maximize"]),
        (f"method: grid\nmetric: {{name: l1, gaol: minimize}}\n{SEED}", ["gaol", "did you mean goal"]),
        (f"method: grid\nmetric: {{name: l1, goal: max}}\n{SEED}", ["minimize or maximize"]),
        (f"method: grid\nmetric: {{name: l1, target: low}}\n{SEED}", ["target", "low"]),
        (f"method: grid\nrun_cap: 0\n{SEED}", ["run_cap"]),
        (f"method: grid\nrun_cap: true\n{SEED}", ["run_cap"]),
        (f"method: grid\ncommand: [python, train.py]\n{SEED}", ["command", "${args}"]),
    ],
)
def test_refusal_is_one_line_that_names_the_file(read, tmp_path, text, named):
    with pytest.raises(InputError) as error:
        read(text)
    line = str(error.value)
    assert "\n" not in line
    for part in [f"{tmp_path / 'mine.yaml'}: ", *named]:
        assert part in line


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such sweep file"):
        read_sweep_file(tmp_path / "none.yaml", {})


def test_files_of_options_are_read(read, tmp_path):
    (tmp_path / "one.yaml").write_text("seed: 1\n")
    one, two = str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")
    assert read(f"method: grid\nparameters: {{config: {{values: [{one}, {two}]}}}}").configs == {
        one: {"seed": 1},
        two: None,
    }
    words = ["${program}", "--config", one, "--config=ugan", "${args}"]
    configs = read(yaml.safe_dump({"method": "grid", "parameters": {"seed": {"value": 0}}, "command": words})).configs
    assert configs[one] == {"seed": 1}
    assert configs["ugan"]["arch"] == "ugan"
    assert read(f"method: grid\n{SEED}", config=one).configs == {one: {"seed": 1}}


def test_content_is_what_the_file_says(read):
    assert read(FULL).content["parameters"] == yaml.safe_load(FULL)["parameters"]
