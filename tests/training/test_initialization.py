"""Starting from a finished generator: what is copied, and what is refused."""

import json

import pytest
import torch
from made_generators import made_generator
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as spectral

from gancolor.config.identity import default_out, fixed_options
from gancolor.data.dataset import Dataset
from gancolor.inference.bundled import FOLDER
from gancolor.models import build_discriminator, build_generator
from gancolor.models.checkpoint import describe, export_generator, load_generator
from gancolor.training.command import parse_train
from gancolor.training.initialization import find_start, initialize
from gancolor.training.setup import set_up
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest
from gancolor.utils.hardware import Hardware
from gancolor.utils.metadata import FORMAT, KEY

OPTIONS = {"width": 4, "depth": 4, "dropout": 0.0}


@pytest.fixture
def exported(tmp_path):
    """File of a small U-Net."""
    return made_generator(tmp_path / "generator.safetensors", arch="attention_ugan")


def started(path, arch: str = "attention_ugan", **options: object) -> tuple[nn.Module, list[str]]:
    """Return a network with these options that starts from the file, and the notes for the user."""
    network = build_generator(arch, **{**OPTIONS, "size": 32, **options})
    return network, initialize(find_start(str(path)), network, build_discriminator(32, layers=1, width=4))


# Parameters -------------------------------------------------------------------------------------------------------


def test_generator_starts_with_the_files_output(exported):
    network, notes = started(exported)
    picture = torch.rand(1, 1, 40, 33) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(network.eval()(picture).chroma, load_generator(exported)(picture).chroma, atol=1e-5)
    digest = file_digest(exported)[:12]
    assert notes == [
        f"starts from {exported} (attention_ugan, step None, sha256 {digest})",
        "the discriminator starts from random weights: the file contains none",
    ]


def test_weights_of_half_precision_start_a_network_of_float32(tmp_path, exported):
    generator, about = load_generator(exported), describe(exported)
    export_generator(tmp_path / "half.safetensors", generator, about, half=True)
    network, _ = started(tmp_path / "half.safetensors")
    for name, value in network.state_dict().items():
        assert value.dtype == generator.state_dict()[name].dtype
        assert torch.allclose(value, generator.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_new_input_channels_start_at_zero(exported):
    """Then the network's output for lightness is unchanged."""
    network = build_generator("attention_ugan", **OPTIONS, size=32)
    first = network.encoder.levels[0][1]
    wider = nn.Conv2d(4, first.out_channels, 4, stride=2, padding=1, bias=False)
    network.encoder.levels[0][1] = wider
    lines = initialize(find_start(str(exported)), network, build_discriminator(32, layers=1, width=4))
    kernel = load_file(exported)["encoder.levels.0.1.weight"]
    assert torch.equal(wider.weight[:, :1], kernel) and not wider.weight[:, 1:].any()
    assert lines[1] == "  encoder.levels.0.1: the weights of its new input channels start at zero"


def test_layers_of_another_shape_start_from_random_weights_and_are_listed_once(tmp_path):
    options = {"width": 4, "global_size": 32, "classifier_width": 8}
    path = made_generator(tmp_path / "ltbc.safetensors", arch="ltbc", classes=3, **options)
    network = build_generator("ltbc", classes=5, **options)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lines = initialize(find_start(str(path)), network, build_discriminator(32, layers=1, width=4))
    fresh = [name for name, value in load_file(path).items() if value.shape != before[name].shape]
    assert fresh
    for name, value in network.state_dict().items():
        expected = before[name] if name in fresh else load_file(path)[name]
        assert torch.equal(value, expected), name
    (line,) = [line for line in lines if "starts from random weights: 3" in line]
    assert line.endswith("3 x 8 in the file, 5 x 8 here")


def test_kernels_under_spectral_norm_get_new_inputs_too(exported, tmp_path):
    """The estimated singular vectors get new inputs too, so that the scale stays the same."""
    network = build_generator("attention_ugan", **OPTIONS, size=32)
    network.encoder.levels[0][1] = spectral(nn.Conv2d(1, 4, 4, stride=2, padding=1, bias=False))
    export_generator(tmp_path / "g.safetensors", network, describe(exported))
    wider = build_generator("attention_ugan", **OPTIONS, size=32).eval()
    wider.encoder.levels[0][1] = spectral(nn.Conv2d(4, 4, 4, stride=2, padding=1, bias=False)).eval()
    lines = initialize(find_start(str(tmp_path / "g.safetensors")), wider, build_discriminator(32, layers=1, width=4))
    assert lines[1:-1] == ["  encoder.levels.0.1: the weights of its new input channels start at zero"]
    old, new = network.eval().encoder.levels[0][1].weight, wider.encoder.levels[0][1].weight
    assert torch.allclose(new[:, :1], old) and not new[:, 1:].any()


def test_a_classifier_that_the_run_does_not_train_is_left_out_and_named(tmp_path):
    options = {"width": 4, "global_size": 32, "classifier_width": 8}
    path = made_generator(tmp_path / "ltbc.safetensors", arch="ltbc", classes=3, **options)
    network = build_generator("ltbc", **options)
    lines = initialize(find_start(str(path)), network, build_discriminator(32, layers=1, width=4))
    assert lines[1:-1] == ["  the file's scene classifier is left out: --loss.scene is 0"]


def test_a_file_with_layers_of_another_network_is_refused(exported):
    with pytest.raises(InputError, match=r"--init .*generator.safetensors: it has a layer blocks\.0"):
        started(exported, "polychromify", neurons="low", filters="low")


def test_discriminator_is_copied_from_a_run_or_its_state(exported, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    about = describe(exported)
    exported.rename(run / "generator.safetensors")
    discriminator = build_discriminator(32, layers=1, width=4)
    tensors = {f"ema.{name}": value for name, value in load_file(run / "generator.safetensors").items()}
    tensors |= {f"discriminator.{name}": value.contiguous() for name, value in discriminator.state_dict().items()}
    save_file(tensors, run / "last.safetensors", {KEY: json.dumps({**about, "kind": "state"})})
    unfinished = tmp_path / "unfinished"  # a run without an evaluation has nothing but its state
    unfinished.mkdir()
    (unfinished / "last.safetensors").write_bytes((run / "last.safetensors").read_bytes())
    for path in (run, run / "last.safetensors", unfinished):
        fresh = build_discriminator(32, layers=1, width=4)
        lines = initialize(find_start(str(path)), build_generator("attention_ugan", **OPTIONS, size=32), fresh)
        state = path if path.is_file() else path / "last.safetensors"
        assert lines[-1] == f"the discriminator starts from {state}"
        assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in discriminator.state_dict().items())


def test_a_file_that_has_changed_since_the_command_started_is_refused(photos, tmp_path):
    """The run's record would name another file than the one that it starts from."""
    path = made_generator(tmp_path / "g.safetensors", arch="attention_ugan")
    words = ["--data.size=32", "--data.batch_size=2", "--discriminator.layers=1", "--discriminator.width=4"]
    config = parse_train(["--init", str(path), "--data.source", str(photos), *words])
    data = Dataset(config.data, config.seed, torch.device("cpu"))
    setup = set_up(config, data, Hardware(torch.device("cpu"), "fp32"))
    unknown = {"seed": None, "val_fraction": None}  # the file does not say
    assert setup.trained_on == [{"source": "demo", "held_out": False, **unknown}]
    torch.manual_seed(5)
    export_generator(path, build_generator("attention_ugan", **OPTIONS, size=32), describe(path))
    with pytest.raises(InputError, match=f"--init {path}: .* has changed since this command started; give"):
        set_up(config, data, Hardware(torch.device("cpu"), "fp32"))


# The command line -------------------------------------------------------------------------------------------------


def test_architecture_and_options_come_from_the_file(exported):
    config = parse_train(["--init", str(exported), "--data.size", "64"])
    assert config.arch == "attention_ugan"
    assert (config.generator.width, config.generator.depth) == (4, 4)
    assert config.init == str(exported.resolve()) and config.init_sha256 == file_digest(exported)
    assert (config.pretrain_epochs, config.epochs, config.loss.log_mse) == (5, 0, 0.05)  # fine_tuning.yaml


def test_size_is_that_of_training_and_depth_that_it_was_built_for(tmp_path):
    path = made_generator(tmp_path / "g.safetensors", arch="ugan", size=32, depth=None)
    path_about = describe(path)
    path_about["generator"]["options"]["size"] = 32
    path_about["data"]["size"] = 64
    save_file(load_file(path), path, {KEY: json.dumps(path_about)})
    assert parse_train(["--init", str(path)]).data.size == 64
    larger = parse_train(["--init", str(path), "--data.size", "256"])
    assert (larger.data.size, larger.generator.depth) == (256, 5)


def test_options_equal_to_the_files_are_accepted(exported):
    config = parse_train(["--init", str(exported), "--arch", "attention_ugan", "--generator.width", "4"])
    assert config.generator.width == 4


def test_hints_can_be_added_to_a_generator_without_and_start_with_its_output(exported):
    config = parse_train(["--init", str(exported), "--generator.hints", "true"])
    assert config.generator.hints
    network, notes = started(exported, hints=True)
    assert notes[1] == "  encoder.levels.0.1: the weights of its new input channels start at zero"
    assert notes[2:-1] and all(note.startswith("  attend") for note in notes[2:-1])
    picture, none = torch.rand(1, 1, 40, 33) * 2 - 1, torch.zeros(1, 3, 40, 33)
    with torch.no_grad():
        expected = load_generator(exported)(picture).chroma
        for given in ((picture,), (picture, none)):
            assert torch.allclose(network.eval()(*given).chroma, expected, atol=1e-5)


def test_hints_cannot_be_taken_away(tmp_path):
    path = made_generator(tmp_path / "g.safetensors", arch="attention_ugan", hints=True)
    assert parse_train(["--init", str(path)]).generator.hints
    with pytest.raises(InputError, match=r"--generator.hints False: .* has True; leave it out"):
        parse_train(["--init", str(path), "--generator.hints", "false"])


def test_options_that_change_no_parameter_may_differ(exported):
    config = parse_train(["--init", str(exported), "--generator.dropout", "0.3", "--generator.recompute", "true"])
    assert (config.generator.dropout, config.generator.recompute) == (0.3, True)


def test_bundled_starts_from_the_bundled_generator():
    config = parse_train(["--init", "bundled"])
    assert config.init == "bundled"
    assert config.arch == describe(FOLDER / "generator.safetensors")["generator"]["arch"]


def test_saved_configuration_can_be_used_again(exported, tmp_path):
    from gancolor.config.identity import save_yaml

    config = parse_train(["--init", str(exported), "--out", str(tmp_path / "run")])
    save_yaml(config, tmp_path / "config.yaml")
    assert parse_train(["--config", str(tmp_path / "config.yaml")]) == config


def test_run_is_identified_by_the_files_contents_not_its_path(exported, tmp_path):
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(exported.read_bytes())
    other = made_generator(tmp_path / "other.safetensors", arch="attention_ugan", width=8)
    one, same, another = (parse_train(["--init", str(path)]) for path in (exported, moved, other))
    assert default_out(one) == default_out(same) != default_out(another)
    assert fixed_options(one) == fixed_options(same)


def foreign(path):
    path.write_bytes(b"PK\x03\x04 not ours")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def newer(path):
    save_file(load_file(path), path, {KEY: json.dumps({"format": FORMAT + 1, "version": "99.0"})})


def without_options(path):
    about = {"format": FORMAT, "version": "0.1", "generator": {"arch": "ugan", "options": ["width", 4]}}
    save_file(load_file(path), path, {KEY: json.dumps(about)})


def silent(path):
    save_file(load_file(path), path, {KEY: json.dumps({"format": FORMAT, "version": "0.1"})})


def of_no_known_architecture(path):
    about = {"format": FORMAT, "version": "0.1", "generator": {"arch": "unet3000", "options": {}}}
    save_file(load_file(path), path, {KEY: json.dumps(about)})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (foreign, "not a gancolor checkpoint"), (truncated, "truncated"), (newer, "upgrade gancolor"),
        (silent, "does not describe the generator"), (without_options, "does not describe the generator"),
        (of_no_known_architecture, "no architecture 'unet3000'"),
    ],
)  # fmt: skip
def test_invalid_init_files_are_refused(exported, damage, said):
    damage(exported)
    with pytest.raises(InputError, match=said) as refusal:
        parse_train(["--init", str(exported)])
    assert str(refusal.value).startswith(f"--init {exported}: ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arch", "ltbc"], "--arch ltbc: .* holds attention_ugan; leave --arch out"),
        (["--generator.width", "32"], "--generator.width 32: .* has 4; leave it out"),
        (["--generator.skip_norm", "true"], "--generator.skip_norm True: .* has False"),
        (["--init_sha256", "0" * 64], "has changed: its sha256 is"),
    ],
)
def test_options_that_contradict_the_file_are_refused(exported, words, said):
    # A file written before an option existed was built with the builder's default.
    about = describe(exported)
    about["generator"]["options"].pop("skip_norm", None)
    save_file(load_file(exported), exported, {KEY: json.dumps(about)})
    with pytest.raises(InputError, match=said):
        parse_train(["--init", str(exported), *words])


def test_a_hash_without_a_file_is_refused():
    with pytest.raises(InputError, match="--init_sha256 checks the file that --init names: give --init too"):
        parse_train(["--init_sha256", "0" * 64])


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        parse_train(["--init", str(tmp_path)])
