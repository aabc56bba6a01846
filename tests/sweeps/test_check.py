"""gancolor.sweeps.check: options are checked by the trainer's parser before the first run."""

import pytest
import yaml

from gancolor.config.parsing import RECIPES
from gancolor.sweeps.check import TRAINER, check_sweep
from gancolor.sweeps.plan import Plan
from gancolor.sweeps.runner import SweepRunner, run_sweep
from gancolor.sweeps.sweep_file import read_sweep_file
from gancolor.utils.errors import InputError


@pytest.fixture
def refusal(tmp_path, monkeypatch, capfd):
    """Return the error line of a sweep of these parameters."""
    monkeypatch.chdir(RECIPES.parent)
    monkeypatch.setattr(SweepRunner, "run", lambda _: pytest.fail("it was not refused"))

    def refuse(parameters, given=None, **keys):
        path = tmp_path / "mine.yaml"
        content = {"program": "train.py", "method": "grid", "metric": {"name": "val/psnr"}, "run_cap": 3}
        path.write_text(yaml.safe_dump({**content, "parameters": parameters, **keys}))
        with pytest.raises(InputError) as error:
            run_sweep(path, tmp_path / "runs", given or {}, jobs=1, trials=None, seed=0)
        assert capfd.readouterr() == ("", "")
        assert not (tmp_path / "runs").exists()
        line = str(error.value)
        assert line.startswith(f"{path}: ") and "\n" not in line
        return line.removeprefix(f"{path}: ")

    return refuse


MISSPELT = "unknown option --generator.widht=4; did you mean --generator.width"
SECOND = {"values": ["ugan", "unet3000"]}


@pytest.mark.parametrize(
    ("parameters", "keys", "named"),
    [
        ({"generator.widht": {"value": 4}}, {}, MISSPELT),
        ({"arch": {"value": "ugan"}}, {"given": {"generator.widht": "4"}}, MISSPELT),
        ({"arch": SECOND}, {}, "unknown value 'unet3000'; choose from"),
        ({"arch": SECOND}, {"method": "random"}, "unknown value 'unet3000'; choose from"),
        ({"generator.dropout": {"min": 0.0, "max": 1.0}}, {"method": "random"}, "dropout: 1 is out of range"),
        ({"optim.lr_g": {"distribution": "normal"}}, {"method": "bayes"}, "--optim.lr_g: -2.32635 is out of range"),
        ({"seed": {"min": -1, "max": 3}}, {"method": "bayes"}, "--seed: -1 is out of range"),
        ({"loss.l1": {"values": [1, 0]}, "loss.gan": {"values": [1, 0]}}, {}, "gan=0, loss.l1=0: nothing to learn"),
        ({"loss.l1": {"values": [0, 0.0]}, "loss.gan": {"value": 0}}, {"method": "random"}, "nothing to learn"),
        ({"generator.depth": {"values": [2, 9]}, "data.size": {"value": 32}}, {}, "--generator.depth 9: 32 pixels"),
        ({"lpips.weights": {"values": [False, "none.pth"]}}, {}, "lpips.weights=none.pth: --lpips.weights none.pth: "),
        ({"lpips.weights": {"values": ["off", "x.pth"]}}, {"method": "random"}, "--lpips.weights x.pth: no such file"),
        ({"lpips.vgg_weights": {"value": True}}, {}, "True names no weights; give auto, off or a file"),
        ({"loss.perceptual": {"value": 1}, "loss.perceptual_weights": {"value": "x.pth"}}, {}, "x.pth: no such file"),
        ({"generator.backbone_weights": {"value": "x.pth"}, "arch": {"value": "pretrained_ugan"}}, {}, "no such file"),
        ({"data.source": {"values": ["demo", "nowhere"]}}, {}, "data.source=nowhere: --data.source nowhere: no such"),
        ({"init": {"values": ["bundled", "none.safetensors"]}}, {}, "init=none.safetensors: "),
        ({"eval.best_metric": {"value": "lpips"}, "lpips.weights": {"value": False}}, {}, "needs --lpips.weights auto"),
        ({"eval.best_metric": {"value": "lpips_vgg"}}, {}, "--eval.best_metric lpips_vgg needs --lpips.vgg_weights"),
        ({"arch": SECOND, "seed": {"values": [1, 2]}}, {}, "unet3000, seed=1: --arch: unknown value"),
        ({"seed": {"value": 1}}, {"command": ["${program}", "--data.sise", "8", "${args}"]}, "option --data.sise"),
        ({"seed": {"value": 1}}, {"command": ["${program}", "${args_no_hyphens}"]}, "unknown option seed=1"),
        ({"seed": {"value": 1}}, {"command": ["torchrun", "train.py", "${args}", "--no"]}, "unknown option --no"),
        ({"seed": {"value": 1}}, {"command": ["python", str(TRAINER), "${args}", "--no"]}, "unknown option --no"),
    ],
)  # fmt: skip
def test_values_that_the_trainer_refuses_are_refused(refusal, parameters, keys, named):
    assert named in refusal(parameters, **{"run_cap": 9, **keys})


@pytest.mark.parametrize(
    ("parameters", "keys"),
    [
        ({"arch": {"values": ["ugan", "ltbc", "unet3000"]}}, {"run_cap": 2}),  # the third run is not requested
        ({"loss.l1": {"values": [1, 0]}, "loss.gan": {"values": [1, 0]}}, {"method": "random"}),  # one in four
    ],
)
def test_sweeps_that_may_be_valid_pass(tmp_path, monkeypatch, parameters, keys):
    monkeypatch.chdir(RECIPES.parent)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "run_cap": 9, "parameters": parameters, **keys}))
    sweep = read_sweep_file(path, {})
    check_sweep(sweep, Plan(sweep, 0, None).samples())


def test_another_train_py_is_not_checked(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("its own options")
    (tmp_path / "mine.yaml").write_text("method: grid\nparameters: {anything: {value: 1}}")
    sweep = read_sweep_file(tmp_path / "mine.yaml", {})
    check_sweep(sweep, Plan(sweep, 0, None).samples())
    assert "not checked" in capfd.readouterr().out


@pytest.mark.parametrize(("parameter", "warns"), [("data.val_limit", True), ("data.limit", False)])
def test_seeds_that_choose_the_validation_photographs_are_told(tmp_path, monkeypatch, recwarn, parameter, warns):
    monkeypatch.chdir(RECIPES.parent)
    path = tmp_path / "mine.yaml"
    parameters = {"seed": {"values": [0, 1]}, "arch": {"value": "polychromify_v0"}, parameter: {"value": 8}}
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": parameters}))
    sweep = read_sweep_file(path, {"data.source": "demo"})
    check_sweep(sweep, Plan(sweep, 0, None).samples())
    assert [str(one.message).startswith(f"{path}: the seed also chooses") for one in recwarn] == [True] * warns
