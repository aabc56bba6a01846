import contextlib
import io
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gancolor.choices import ARCHITECTURES
from gancolor.config.identity import flatten, save_yaml
from gancolor.config.options import TrainConfig
from gancolor.config.parsing import RECIPES
from gancolor.models import generator_options
from gancolor.training import option_checks
from gancolor.training.command import parse_train

OPTIONS = flatten(TrainConfig())


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def printed(argv: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        parse_train([*argv, "--print_config"])
    assert not end.value.code
    return out.getvalue()


# Configurations as files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["ugan", "deoldify", "eccv16"])
def test_printed_configuration_is_a_config_file(tmp_path, arch):
    argv = ["--arch", arch, "--loss.l1", "12.5", "--compile", "--tracking.tags=[a,b]", "--optim.betas=[0.1,0.2]"]
    again = parse_train(["--config", written(tmp_path / "printed.yaml", printed(argv))])
    assert again == parse_train(argv)
    assert again.loss.l1 == 12.5 and again.compile and again.tracking.tags == ["a", "b"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_saved_configuration_is_a_config_file(tmp_path, arch):
    config = parse_train(["--arch", arch, "--data.limit", "9"])
    save_yaml(config, tmp_path / "config.yaml")
    assert parse_train(["--config", str(tmp_path / "config.yaml")]) == config


recipes = sorted(RECIPES.glob("*.yaml"))


@pytest.mark.parametrize("path", recipes, ids=[path.stem for path in recipes])
def test_every_recipe_parses_and_its_architecture_exists(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    parsed = flatten(parse_train(["--config", str(path)]))
    assert (
        content.get("arch", parsed["arch"]) == parsed["arch"] in ARCHITECTURES
    )  # fine_tuning.yaml takes the architecture from the file
    for name, value in flatten(content).items():
        assert parsed[name] == value


def test_every_architecture_has_a_recipe():
    for arch in ARCHITECTURES:
        assert yaml.safe_load((RECIPES / f"{arch}.yaml").read_text(encoding="utf-8"))["arch"] == arch


@pytest.mark.parametrize("path", recipes, ids=[path.stem for path in recipes])
def test_no_recipe_has_an_option_that_its_architecture_ignores(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(content.get("generator", {})) <= generator_options(content.get("arch", "ugan"))


@pytest.mark.parametrize("path", recipes, ids=[path.stem for path in recipes])
def test_every_recipe_passes_the_trainers_checks_and_has_a_loss_for_pretraining(path, monkeypatch):
    """The networks are built elsewhere, and published weights are not available in tests."""
    monkeypatch.setattr(option_checks, "check_networks", lambda _: None)
    config = parse_train(["--config", str(path), "--generator.backbone_weights", "random", "--pretrain_epochs", "1"])
    option_checks.check_options(config)


sweeps = sorted(RECIPES.glob("sweeps/*.yaml"))


@pytest.mark.skipif(not sweeps, reason="no sweeps")
@pytest.mark.parametrize("path", sweeps, ids=[path.stem for path in sweeps])
def test_every_command_line_of_a_sweep_is_accepted(path):
    parameters = yaml.safe_load(path.read_text(encoding="utf-8"))["parameters"]
    assert parameters.keys() <= OPTIONS.keys()
    choices = [
        allowed.get("values", [value for key, value in allowed.items() if key in ("value", "min", "max")])
        for allowed in parameters.values()
    ]
    # Every value once; tests/sweeps/test_configs.py parses the combinations.
    for number in range(max(map(len, choices))):
        chosen = {name: values[number % len(values)] for name, values in zip(parameters, choices, strict=True)}
        parsed = flatten(parse_train([f"--{name}={value}" for name, value in chosen.items()]))
        assert {name: parsed[name] for name in chosen} == chosen


# Any values -------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
numbers = st.floats(0, 1e6, allow_subnormal=False)
VALUES = {
    "seed": st.integers(0, 2**31 - 1),
    "epochs": numbers,
    "compile": st.booleans(),
    "data.size": st.integers(16, 4096),
    "data.limit": st.none() | st.integers(1, 10**6),
    "data.val_fraction": st.floats(0.001, 0.999),
    "data.crop_scale": st.floats(0.001, 1),
    "generator.depth": st.none() | st.integers(1, 8),
    "generator.norm": st.sampled_from(["batch", "instance", "none"]),
    "loss.l1": numbers,
    "loss.gan": numbers,
    "loss.gan_mode": st.sampled_from(["vanilla", "lsgan", "hinge", "wgan_gp"]),
    "loss.soft_bins": st.integers(1, 313),
    "loss.uniform": st.floats(0, 1),
    "loss.perceptual_weights": words,
    "critic_epochs": numbers,
    "optim.lr_g": st.floats(1e-12, 10),
    "optim.betas": st.lists(st.floats(0, 0.9999), min_size=2, max_size=2),
    "optim.ema": st.floats(0, 0.9999),
    "tracking.tags": st.lists(words, max_size=3),
    "tracking.name": st.none() | words,
    "generator.backbone_weights": words,
}


def nested(flat: dict[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for name, value in flat.items():
        *groups, leaf = name.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


@settings(max_examples=15)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_any_values_survive_a_yaml_file(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("yaml")
    first = written(folder / "first.yaml", yaml.safe_dump(nested(values), allow_unicode=True) if values else "seed: 0")
    config = parse_train(["--config", first])
    flat = flatten(config)
    assert {name: flat[name] for name in values} == values
    save_yaml(config, folder / "saved.yaml")
    assert parse_train(["--config", str(folder / "saved.yaml")]) == config
