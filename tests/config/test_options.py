import contextlib
import io
import json
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from pathlib import Path

import pytest
import yaml

from gancolor.config.evaluate import EvaluateConfig
from gancolor.config.identity import default_out, fixed_options, flatten, to_dict
from gancolor.config.options import TrainConfig
from gancolor.config.yaml_files import read_yaml
from gancolor.evaluation.command import parse_evaluate
from gancolor.training.command import parse_train
from gancolor.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = flatten(TrainConfig())


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(argv: list[str], parse=parse_train) -> str:
    """Return the only line of stderr of a refused command line (status 2, nothing on stdout)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        parse(argv)
    assert end.value.code == 2
    assert out.getvalue() == ""
    assert err.getvalue().count("\n") == 1 and err.getvalue().endswith("\n"), err.getvalue()
    return err.getvalue()


def test_keys_that_only_look_alike_are_no_duplicates(tmp_path):
    text = "z: &z {a: 0, b: 1}\nx:\n  y: &y {<<: *z, a: 1}\nw: {<<: *y, b: 2}\n1: 2\n'1': 3\n"
    assert read_yaml(Path(written(tmp_path / "x.yaml", text))) == yaml.safe_load(text)


# Which option wins ------------------------------------------------------------------------------------------------


def test_recipe_overrides_defaults():
    assert TrainConfig().generator.upsampling == "transposed"
    assert parse_train(["--arch", "pretrained_ugan"]).generator.upsampling == "pixel_shuffle"


def test_config_file_overrides_the_recipe(tmp_path):
    config = written(tmp_path / "mine.yaml", "arch: pretrained_ugan\ngenerator:\n  upsampling: nearest\n")
    parsed = parse_train(["--config", config])
    assert (parsed.arch, parsed.generator.upsampling) == ("pretrained_ugan", "nearest")
    assert parsed.generator.decoder_convs == 2  # from the recipe, because the file does not set it


@pytest.mark.parametrize("word", ["off", "false", "no", "Off", '"off"'])
def test_weights_may_be_off_as_yaml_reads_it(tmp_path, word):
    """Also as a sweep passes it: --lpips.weights=False."""
    config = written(tmp_path / "mine.yaml", f"lpips: {{weights: {word}, vgg_weights: {word}}}\n")
    lpips = parse_train(["--config", config]).lpips
    assert (lpips.weights, lpips.vgg_weights) == ("off", "off")
    config = written(tmp_path / "fid.yaml", f"fid: {{weights: {word}}}\n")
    assert parse_evaluate(["--config", config, "run"]).fid.weights == "off"
    assert parse_train([f"--lpips.weights={yaml.safe_load(word)}"]).lpips.weights == "off"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lpips: {weights: on}", "--lpips.weights: True names no weights; give auto, off or a file"),
        ("lpips: {weights: null}", "--lpips.weights: it can't be null"),
        ("data: {size: null}", "--data.size: it can't be null"),
        ("tracking: {name: no}", "--tracking.name: False is not text; YAML reads on, off, yes and no as true or false"),
        ("generator: {backbone: off}", "--generator.backbone: False is not text; YAML reads"),
    ],
)
def test_booleans_of_yaml_are_refused_as_other_text(tmp_path, text, named):
    assert named in refusal(["--config", written(tmp_path / "mine.yaml", text)])


@pytest.mark.parametrize("words", [["--config", "FILE"], ["--config=FILE"]])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optim:\n  lr_g: 0.1\n  lr_d: 0.1\n  lr_g: 0.2\n", "'lr_g' is given twice, again in line 4"),
        ("optim.lr_g: 0.1\noptim: {lr_g: 0.2}\n", "'optim.lr_g' is given twice"),
        ("tracking: {tags: [{a: 1, a: 2}]}", "'a' is given twice, again in line 1"),
    ],
)
def test_option_that_a_file_has_twice_is_refused(tmp_path, words, text, said):
    config = written(tmp_path / "mine.yaml", text)
    with pytest.raises(InputError, match=rf"--config .*mine\.yaml: {re.escape(said)}"):
        parse_train([word.replace("FILE", str(config)) for word in words])


def test_flag_overrides_the_config_file(tmp_path):
    config = written(tmp_path / "mine.yaml", "loss:\n  l1: 5\n  gan: 2\n")
    parsed = parse_train(["--config", config, "--loss.l1", "7"])
    assert (parsed.loss.l1, parsed.loss.gan) == (7, 2)


def test_later_flag_overrides_earlier_one():
    assert parse_train(["--seed", "1", "--seed", "2"]).seed == 2


def test_each_source_keeps_options_of_the_others(tmp_path):
    """defaults < recipe < --config < flag, one option of each."""
    config = written(tmp_path / "mine.yaml", "optim: {clip: 1.5}\n")
    parsed = parse_train(["--arch=pretrained_ugan", "--config", config, "--optim.warmup_steps=3"])
    optim = parsed.optim
    assert (optim.weight_decay, optim.lr_pretrain, optim.clip, optim.warmup_steps) == (0.0, 1e-4, 1.5, 3)


def test_architecture_of_a_flag_chooses_the_recipe_over_that_of_a_file(tmp_path):
    config = written(tmp_path / "mine.yaml", "arch: pretrained_ugan\n")
    parsed = parse_train(["--config", config, "--arch", "ugan"])
    assert (parsed.arch, parsed.generator.decoder_convs, parsed.pretrain_epochs) == ("ugan", 0, 0)


def test_architecture_may_be_given_anywhere():
    for argv in (["--seed", "3", "--arch", "pretrained_ugan"], ["--arch=pretrained_ugan", "--seed=3"]):
        assert parse_train(argv).generator.decoder_convs == 2


def test_default_architectures_recipe_is_used_without_options():
    assert parse_train([]) == parse_train(["--arch", TrainConfig().arch])


# Every way of writing an option -----------------------------------------------------------------------------------


@pytest.mark.parametrize("written_as", [["--compile"], ["--compile=True"], ["--compile=true"], ["--compile", "true"]])
def test_switches_may_have_a_value_or_none(written_as):
    assert parse_train([*written_as, "--seed", "4"]).compile is True
    assert parse_train(["--seed", "4", *written_as]).compile is True


@pytest.mark.parametrize("written_as", [["--data.flip=False"], ["--data.flip=false"], ["--data.flip", "false"]])
def test_switch_can_be_turned_off(written_as):
    assert parse_train([]).data.flip is True
    assert parse_train(written_as).data.flip is False


def other_value(name: str, value: object) -> object:
    """An allowed value of the option that is not its default."""
    choices = {
        "arch": "pretrained_ugan", "device": "cpu", "precision": "bf16", "data.on_device": "never",
        "generator.decoder_widths": [8, 4], "generator.chroma_stride": 2,
        "generator.norm": "instance", "generator.upsampling": "nearest", "generator.backbone": "resnet50",
        "discriminator.norm": "none", "loss.gan_mode": "hinge", "optim.schedule": "cosine",
        "optim.frozen_norm": "always",
        "optim.scale_lr": "sqrt", "eval.best_metric": "lpips", "tracking.wandb": "offline", "data.limit": 7,
        "data.val_limit": 7, "generator.depth": 7, "optim.betas": [0.9, 0.99], "tracking.tags": ["one", "two"],
        "data.crop_scale": 0.5, "loss.perceptual_network": "lpips", "generator.neurons": "low",
        "generator.filters": "low", "generator.trunk": "regression", "data.decode": "always",
    }  # fmt: skip
    if name in choices:
        return choices[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 16
    if isinstance(value, float):
        return value / 2 if value else 0.5
    return "something"


@pytest.fixture(scope="module")
def usual():
    """Options of an empty command line."""
    return flatten(parse_train([]))


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"init", "init_sha256"}))  # these options name a generator
def test_every_option_is_accepted_in_the_form_of_a_sweep(name, usual):
    """--key=value, booleans as True and False, groups as dotted keys."""
    value = other_value(name, OPTIONS[name])
    word = json.dumps(value) if isinstance(value, list) else str(value)
    parsed = flatten(parse_train([f"--{name}={word}"]))
    assert parsed[name] == value != OPTIONS[name]
    if name not in ("arch", "out"):
        assert {other for other in parsed if parsed[other] != usual[other]} - {"out"} == {name}


@pytest.mark.parametrize("name", [name for name, value in OPTIONS.items() if value is None and name != "init"])
def test_null_overrides_an_earlier_value(name):
    word = "[7]" if name == "generator.decoder_widths" else "7"
    value = flatten(parse_train([f"--{name}={word}", f"--{name}=null"]))[name]
    assert value is None if name != "out" else value.startswith("runs/")


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--data.sise", "64"], ["--data.sise", "--data.size"]),
        (["--data.limit", "0"], ["--data.limit: 0 is not a whole number >0, nor null"]),
        (["--generator.decoder_widths", "[0]"], ["[0] is not a list of whole numbers >0, such as [96, 64]"]),
        (["--data.limit", "x"], ["--data.limit: x is not a whole number, nor null"]),
        (["--generator.decoder_widths", "7"], ["--generator.decoder_widths: 7 is not a list", "[96, 64]"]),
        (["--data.sise=64"], ["--data.sise", "--data.size"]),
        (["--data-source=x"], ["--data-source=x; did you mean --data.source? ("]),
        (["--compil"], ["--compil", "--compile"]),
        (["--epoch", "3"], ["--epoch ", "--epochs"]),  # no abbreviations
        (["photographs"], ["photographs"]),
        (["--arch", "attention_ugna"], ["attention_ugna", "attention_ugan", "choose from", "pretrained_ugan"]),
        (["--loss.gan_mode", "hing"], ["--loss.gan_mode", "vanilla, lsgan, hinge, wgan_gp", "did you mean hinge"]),
        (["--precision=fp8"], ["--precision", "bf16", "tf32"]),
        (["--data.size", "8"], ["--data.size", "8 is out of range", ">=16", "<=4096"]),
        (["--data.size", "5000"], ["--data.size", "5000 is out of range"]),
        (["--data.batch_size", "0"], ["--data.batch_size", "0 is out of range"]),
        (["--data.batch_size", "many"], ["--data.batch_size: 'many' is not a whole number ("]),
        (["--data.limit", "0"], ["--data.limit"]),
        (["--data.val_fraction", "1"], ["--data.val_fraction"]),
        (["--data.crop_scale", "0"], ["--data.crop_scale"]),
        (["--generator.dropout", "1"], ["--generator.dropout"]),
        (["--generator.depth", "0"], ["--generator.depth"]),
        (["--discriminator.layers", "-1"], ["--discriminator.layers"]),
        (["--epochs", "-1"], ["--epochs", "-1 is out of range"]),
        (["--epochs", "two"], ["--epochs: 'two' is not a number ("]),
        (["--seed", "-1"], ["--seed"]),
        (["--seed", "2147483648"], ["--seed"]),
        (["--seed", "1.5"], ["--seed", "1.5"]),
        (["--critic_epochs", "-1"], ["--critic_epochs", "-1 is out of range"]),
        (["--loss.l1", "-0.1"], ["--loss.l1"]),
        (["--loss.bins", "-1"], ["--loss.bins", "-1 is out of range"]),
        (["--loss.smooth_l1_delta", "0"], ["--loss.smooth_l1_delta", "0 is out of range", ">0"]),
        (["--loss.uniform", "1.1"], ["--loss.uniform", "1.1 is out of range"]),
        (["--loss.soft_bins", "0"], ["--loss.soft_bins", "0 is out of range"]),
        (["--loss.soft_bins", "314"], ["--loss.soft_bins", "314 is out of range", "<=313"]),
        (["--loss.perceptual_network", "vgg19"], ["--loss.perceptual_network", "vgg16", "lpips"]),
        (["--generator.temperature", "0"], ["--generator.temperature", "0 is out of range"]),
        (["--optim.lr_g", "0"], ["--optim.lr_g"]),
        (["--optim.ema", "1"], ["--optim.ema"]),
        (["--optim.betas", "[0.5, 1.0]"], ["--optim.betas"]),
        (["--optim.betas", "0.5"], ["--optim.betas: 0.5 is not a list of two numbers, such as [0.5, 0.999] ("]),
        (["--optim.betas", "[0.5]"], ["--optim.betas: [0.5] is not a list of two numbers, such as [0.5, 0.999] ("]),
        (["--tracking.tags", "a"], ["--tracking.tags: a is not a list of text, such as [one, two] ("]),
        (["--epochs", "1e308"], ["--epochs: 1e308 is out of range: it must be >=0 and <=1000000 ("]),
        (["--pretrain_epochs", "1e308"], ["--pretrain_epochs: 1e308 is out of range"]),
        (["--critic_epochs", "1e308"], ["--critic_epochs: 1e308 is out of range"]),
        (["--eval.every", "1e308"], ["--eval.every: 1e308 is out of range: it must be >0 and <=1000000 ("]),
        (["--compile=perhaps"], ["--compile: 'perhaps' is neither true nor false ("]),
        (["--data.size"], ["--data.size"]),
        (["--config", "nothing.yaml"], ["--config", "nothing.yaml"]),
    ],
)
def test_refusal_is_one_line_that_names_option_and_value(argv, named):
    line = refusal(argv)
    assert line.startswith("train.py: error: ")
    for part in named:
        assert part in line


FLOATS = [name for name, value in OPTIONS.items() if isinstance(value, float)]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_no_option_accepts_values_that_are_not_finite(name, value):
    assert f"--{name}" in refusal([f"--{name}={value}"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("data: {sise: 64}", ["sise", "did you mean data.size"]),
        ("archs: ugan", ["archs", "did you mean arch"]),
        ("dta: {size: 64}", ["dta.size", "did you mean data.size"]),
        ("arch: ugn", ["--arch", "ugn", "ugan"]),
        ("data: {size: 7}", ["--data.size", "7 is out of range"]),
        ("loss: {gan_mode: hing}", ["--loss.gan_mode", "hinge"]),
        ("optim: {lr_g: .nan}", ["--optim.lr_g"]),
        ("data: {size: 64", []),
        ("- a list", []),
        ("data: 3", ["--data", "group"]),
        ("seed: 1\ndata:\n", ["--data", "group"]),
        ("data: [64]", ["--data", "group"]),
        ("arch: ugan # d\xe9j\xe0 vu", ["--config: the file is not UTF-8 text"]),
    ],
)
def test_invalid_config_file_gives_a_one_line_error(tmp_path, text, named):
    config = tmp_path / "mine.yaml"
    config.write_bytes(text.encode("latin-1"))
    line = refusal(["--config", str(config)])
    for part in named:
        assert part in line


# Names -----------------------------------------------------------------------------------------------------------


def options_of(config_class: type) -> set[str]:
    """Flag names, walked through the dataclasses' fields."""
    names: set[str] = set()
    for field in fields(config_class):
        inner = field.default_factory if is_dataclass(field.default_factory) else None
        names |= {f"{field.name}.{name}" for name in options_of(inner)} if inner else {field.name}
    return names


def test_flatten_names_every_option_and_nothing_else():
    assert set(OPTIONS) == options_of(TrainConfig)
    assert OPTIONS["data.size"] == 256 and OPTIONS["optim.betas"] == [0.5, 0.999]
    assert flatten(to_dict(TrainConfig())) == OPTIONS


def test_configuration_is_plain_json():
    assert json.loads(json.dumps(to_dict(TrainConfig()), allow_nan=False)) == to_dict(TrainConfig())


# Run folders ------------------------------------------------------------------------------------------------------


def test_same_command_has_the_same_folder(tmp_path):
    """The form of the command line does not matter."""
    config = written(tmp_path / "mine.yaml", "loss: {l1: 50}\nseed: 3\n")
    one = parse_train(["--loss.l1", "50", "--seed=3"])
    assert one.out == parse_train(["--config", config]).out == parse_train(["--seed", "3", "--loss.l1=50.0"]).out
    assert re.fullmatch(r"runs/attention_ugan-demo-256-[0-9a-f]{6}", one.out)


CHANGEABLE = ("out", "init", "epochs", "checkpoint_every", "keep_freed_memory", "data.cache", "data.on_device")
CHANGEABLE_GROUPS = ("eval.", "lpips.", "tracking.")


@pytest.mark.parametrize("name", OPTIONS)
def test_default_folder_differs_with_options_that_affect_training(name):
    base, other = TrainConfig(), TrainConfig()
    *groups, leaf = name.split(".")
    setattr(reduce(getattr, groups, other), leaf, other_value(name, OPTIONS[name]))
    same = name in CHANGEABLE or name.startswith(CHANGEABLE_GROUPS)
    assert (default_out(other) == default_out(base)) == same
    assert (name in fixed_options(base)) != same


def test_given_run_folder_is_used():
    assert parse_train(["--out", "there"]).out == "there"


def test_source_is_the_same_folder_however_it_is_written(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    one, other = (
        parse_train(["--data.source", photos.name]),
        parse_train(["--data.source", f"{photos}/../{photos.name}"]),
    )
    assert one.data.source == other.data.source == str(photos.resolve())
    assert one.out == other.out and photos.name in one.out


def test_home_of_a_source_is_expanded(home):
    (home / "pictures").mkdir()
    assert parse_train(["--data.source", "~/pictures"]).data.source == str((home / "pictures").resolve())


def test_source_names_are_made_safe_for_folder_names(tmp_path):
    (tmp_path / "my holiday, 2021").mkdir()
    out = parse_train(["--data.source", str(tmp_path / "my holiday, 2021")]).out
    assert re.fullmatch(r"runs/attention_ugan-my_holiday_2021-256-[0-9a-f]{6}", out)


def test_fixed_options_do_not_change_with_the_number_of_epochs():
    config = TrainConfig()
    assert fixed_options(replace(config, epochs=7.0, out="x")) == fixed_options(config)
    assert fixed_options(replace(config, pretrain_epochs=7.0)) != fixed_options(config)


# evaluate.py ------------------------------------------------------------------------------------------------------


def test_evaluate_takes_checkpoints_and_options_in_any_order():
    one = parse_evaluate(["a", "b", "--data.size", "64"])
    assert one == parse_evaluate(["--data.size=64", "a", "b"])
    assert (one.checkpoints, one.data.size, one.data.source) == (["a", "b"], 64, None)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], ["checkpoints"]),
        (["a", "--data.sise=64"], ["--data.sise", "--data.size"]),
        (["a", "--samples", "0"], ["--samples"]),
        (["a", "--device", "gpu"], ["--device", "cpu"]),
    ],
)
def test_evaluate_errors_are_one_line(argv, named):
    line = refusal(argv, parse_evaluate)
    assert line.startswith("evaluate.py: error: ")
    for part in named:
        assert part in line


@pytest.mark.parametrize("name", sorted(set(flatten(EvaluateConfig())) - {"checkpoints"}))
def test_evaluate_accepts_every_option_in_the_form_of_a_sweep(name):
    value = {
        "device": "cpu", "samples": 3, "batch_size": 3, "data.size": 64, "data.val_limit": 3, "protocol": "tiny64",
        "data.min_colorfulness": 2.5, "input_size": 64, "strength": 1.5, "by_class": True, "keep_freed_memory": False,
    }.get(name, "some")  # fmt: skip
    parsed = flatten(parse_evaluate(["run", f"--{name}={value}"]))[name]
    assert parsed == ([value] if name == "predictions" else value)


# --help -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def helps():
    """What --help of both commands prints, and whether torch was imported for it."""
    program = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    print('status', end.code)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)\n"
    )
    found = {}
    for script in ("train.py", "evaluate.py"):
        done = subprocess.run(
            [sys.executable, "-c", program, script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
            env={"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        )  # fmt: skip
        assert done.stderr == ""
        *text, status, imported = done.stdout.splitlines()
        found[script] = "\n".join(text), status, imported
    return found


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_help_imports_no_torch(helps, script):
    assert helps[script][1:] == ("status 0", "False False")


@pytest.mark.parametrize(("script", "config_class"), [("train.py", TrainConfig), ("evaluate.py", EvaluateConfig)])
def test_help_has_every_group_and_option(helps, script, config_class):
    text = helps[script][0]
    for field in fields(config_class):
        if is_dataclass(field.default_factory):
            assert f"\n{field.default_factory.__doc__.splitlines()[0]}:" in text
    for name in set(options_of(config_class)) - {"checkpoints"}:
        assert re.search(rf"--{re.escape(name)}[ ,]", text)
    assert "gancolor.config.options" not in text and "<class" not in text


def test_help_of_an_architecture_shows_its_own_defaults():
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        parse_train(["--arch", "pretrained_ugan", "--help"])
    assert re.search(r"--generator\.upsampling.*?default: pixel_shuffle", out.getvalue(), re.DOTALL)


def test_local_shard_paths_are_made_absolute():
    """Then resumed runs and evaluations find them from any current folder."""
    patterns = {"s/{0..3}.tar": f"{Path.cwd()}/s/{{0..3}}.tar", "~/s/*.tar": f"{Path.home()}/s/*.tar"}
    for given, kept in (patterns | {"s3://b/{0..3}.tar": "s3://b/{0..3}.tar"}).items():
        assert parse_train(["--data.source", given]).data.source == kept
