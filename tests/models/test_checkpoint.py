import contextlib
import errno
import json
import os
import pickle
import random
import re
import shutil
import stat
import struct
import threading
from collections import namedtuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import gancolor
from gancolor.choices import ARCHITECTURES
from gancolor.models import build_generator, checkpoint
from gancolor.models.checkpoint import describe, export_generator, find_generator, load_generator
from gancolor.training.run_state import Saver, load_state, save_state, state_tensors
from gancolor.utils import metadata as header
from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically, write_json
from gancolor.utils.hardware import Hardware

OPTIONS = {
    "width": 4, "depth": None, "dropout": 0.5, "norm": "batch", "upsampling": "transposed", "decoder_convs": 0,
    "backbone": "test_resnet", "backbone_weights": "random", "size": 16,
}  # fmt: skip


def about(arch: str = "ugan", **options: object) -> dict:
    return {"generator": {"arch": arch, "options": OPTIONS | options}, "step": 7, "metrics": {"psnr": 23.5}}


def make(arch: str = "ugan", **options: object) -> nn.Module:
    """Create a generator in training mode and memory format, with non-initial BatchNorm statistics."""
    generator = Hardware(torch.device("cpu"), "fp32").place_network(build_generator(arch, **OPTIONS | options))
    generator(torch.rand(2, 1, 64, 64))
    return generator


def make_parts() -> dict:
    """Create networks and optimizers, and train them for two steps."""
    generator, discriminator = make(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3))
    parts = {
        "generator": generator, "ema": make(), "discriminator": discriminator,
        "optim_g": torch.optim.AdamW(generator.parameters(), lr=1e-3, fused=True),
        "optim_d": torch.optim.AdamW(discriminator.parameters(), lr=1e-3, fused=True),
    }  # fmt: skip
    for seed in range(2):
        step(parts, seed)
    return parts


def step(parts: dict, seed: int) -> None:
    torch.manual_seed(seed)
    for network, optimizer, channels in (("generator", "optim_g", 1), ("discriminator", "optim_d", 3)):
        parts[optimizer].zero_grad()
        out = parts[network](torch.rand(2, channels, 16, 16))
        (out.chroma if network == "generator" else out).square().mean().backward()
        parts[optimizer].step()


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "generator.safetensors"
    export_generator(path, make(), about())
    return path


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "last.safetensors"
    save_state(path, state_tensors(make_parts()), about())
    return path


# Whole or not there -----------------------------------------------------------------------------------------------


class FullDisk:
    """File that fails after some bytes, as on a full disk."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, tensors: object, path: object, metadata: object = None) -> None:  # noqa: ARG002 - save_file's
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"half of it")
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_failed_write_leaves_the_old_file_and_no_temporary_file(exported, monkeypatch, error):
    before = exported.read_bytes()
    monkeypatch.setattr(checkpoint, "save_file", FullDisk(error))
    with pytest.raises(type(error)):
        export_generator(exported, make(), about())
    assert exported.read_bytes() == before
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_failure_of_the_first_file_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_file", FullDisk(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        export_generator(tmp_path / "generator.safetensors", make(), about())
    assert list(tmp_path.iterdir()) == []


def test_disk_that_would_be_full_is_noticed_before_writing(saved, monkeypatch):
    before = saved.read_bytes()
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 10**5, 10**5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="MB") as refusal:
        save_state(saved, state_tensors(make_parts()), about())
    assert refusal.value.errno == errno.ENOSPC
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_missing_folder_is_named_with_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_json(tmp_path / "none/a.json", {})
    assert caught.value.filename == str(tmp_path / "none/a.json")


def test_write_atomically_replaces_what_was_there(tmp_path):
    path = tmp_path / "file"
    for text in ("one", "two"):
        write_atomically(path, lambda beside, text=text: beside.write_text(text))
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_new_file_is_not_visible_before_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write(beside):
        beside.write_text("ne")
        assert path.read_text() == "old"
        beside.write_text("new")

    write_atomically(path, write)
    assert path.read_text() == "new"


def test_two_writers_of_one_file_leave_a_whole_one(tmp_path):
    """The second is refused, and takes nothing from the first."""
    path = tmp_path / "file"

    def write(beside):
        beside.write_text("who")
        with pytest.raises(OSError, match=r"another process is writing it.*file'$"):
            write_atomically(path, lambda beside: beside.write_text("other"))
        with beside.open("a") as file:
            file.write("le")

    write_atomically(path, write)
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]
    write_atomically(path, lambda beside: beside.write_text("next"))
    assert path.read_text() == "next"


def test_full_disk_names_the_file(tmp_path):
    """Python does not, if writing fails."""

    def write(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as error:
        write_atomically(tmp_path / "file", write)
    assert error.value.filename == str(tmp_path / "file") and not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="no permissions of that kind")
def test_files_can_be_read_by_others(exported):
    assert stat.S_IMODE(exported.stat().st_mode) == 0o644


def test_leftover_files_of_a_killed_process_do_not_matter(exported):
    exported.with_name(f".{exported.name}.part").write_bytes(b"remains")
    export_generator(exported, make(), about())
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    load_generator(exported)


def test_write_json_is_readable_and_unicode(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Grün", "n": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "Grün", "n": [1, None]}
    assert "Grün" in (tmp_path / "a.json").read_text(encoding="utf-8")


# Export and load --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_exported_generator_survives_bit_for_bit(tmp_path, arch):
    generator = make(arch)
    export_generator(tmp_path / "generator.safetensors", generator, about(arch))
    loaded = load_generator(tmp_path / "generator.safetensors")
    assert_same_state(loaded, generator)
    picture = torch.rand(2, 1, 37, 51) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded(picture).chroma, generator.eval()(picture).chroma)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("attention_ugan", {"norm": "instance", "upsampling": "nearest", "decoder_convs": 2}),
        ("attention_ugan", {"norm": "none", "upsampling": "pixel_shuffle", "depth": 3}),
        ("ltbc", {"classes": 5, "global_size": 32, "classifier_width": 6}),
        ("polychromify", {"neurons": "low", "filters": "low", "strides": True, "norm": "batch"}),
        ("eccv16", {"temperature": 0.2}),
        ("resnet18_autoencoder", {"freeze_backbone": True}),
    ],
)
def test_options_are_part_of_the_file(tmp_path, arch, options):
    """Also options that do not change the weights; other outputs than chroma are restored too."""
    generator = make(arch, **options).eval()
    export_generator(tmp_path / "generator.safetensors", generator, about(arch, **options))
    loaded, picture = load_generator(tmp_path / "generator.safetensors"), torch.rand(2, 1, 32, 32)
    assert_same_state(loaded, generator)
    for mine, theirs in zip(generator(picture), loaded(picture), strict=True):
        assert (mine is None and theirs is None) or torch.equal(mine, theirs)


def test_loaded_generator_is_ready_to_use(exported):
    loaded = load_generator(str(exported))
    assert not any(module.training for module in loaded.modules())
    assert next(loaded.parameters()).device.type == "cpu"
    picture = torch.rand(1, 1, 16, 16)
    assert torch.equal(loaded(picture).chroma, loaded(picture).chroma)


def test_half_is_half_the_size_and_loads_into_float32(tmp_path):
    generator = make(width=32)
    for name, half in (("full", False), ("half", True)):
        export_generator(tmp_path / name, generator, about(width=32), half)
    assert (tmp_path / "half").stat().st_size < 0.52 * (tmp_path / "full").stat().st_size
    loaded = load_generator(tmp_path / "half").state_dict()
    for name, tensor in generator.state_dict().items():
        rounded = tensor.half().to(tensor.dtype) if tensor.dim() > 1 else tensor
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], rounded), name


def test_loading_needs_no_published_weights(tmp_path):
    """A generator with an ImageNet backbone carries its weights."""
    generator = make("pretrained_ugan")
    export_generator(
        tmp_path / "g.safetensors", generator, about("pretrained_ugan", backbone_weights="imagenet")
    )  # fmt: skip
    assert_same_state(load_generator(tmp_path / "g.safetensors"), generator)


def test_public_name_is_the_loader():
    assert gancolor.load_generator is load_generator
    with pytest.raises(AttributeError, match="load_everything"):
        _ = gancolor.load_everything


def test_exported_file_has_its_metadata(exported):
    said = describe(exported)
    assert said == {
        "format": 1,
        "version": gancolor.__version__,
        "kind": "generator",
        "normalization": {"lightness": "L / 50 - 1", "chroma": "ab / 110"},
        **about(),
    }


def test_file_can_be_read_without_gancolor(exported):
    with safe_open(exported, "pt") as file:
        assert json.loads(file.metadata()["gancolor"]) == describe(exported)
    assert set(load_file(exported)) == set(make().state_dict())


def test_state_file_has_its_metadata(saved):
    said = describe(saved)
    assert (said["kind"], said["step"], said["version"]) == ("state", 7, gancolor.__version__)


def test_state_file_loads_the_ema_generator(tmp_path):
    parts = make_parts()
    save_state(tmp_path / "last.safetensors", state_tensors(parts), about())
    loaded = load_generator(tmp_path / "last.safetensors")
    assert_same_state(loaded, parts["ema"])
    with pytest.raises(AssertionError):
        assert_same_state(loaded, parts["generator"])


# The run's state --------------------------------------------------------------------------------------------------


def test_restored_optimizers_take_the_same_next_step(tmp_path):
    parts, others = make_parts(), make_parts()
    save_state(tmp_path / "last.safetensors", state_tensors(parts), about())
    step(others, 99)  # elsewhere
    said = load_state(tmp_path / "last.safetensors", others)
    assert said["step"] == 7
    for one, other in zip(parts.values(), others.values(), strict=True):
        if isinstance(one, nn.Module):
            assert_same_state(one, other)
    for some in (parts, others):
        step(some, 5)
    for name in ("generator", "discriminator"):
        assert_same_state(parts[name], others[name])
    for name in ("optim_g", "optim_d"):
        one, other = parts[name].state_dict()["state"], others[name].state_dict()["state"]
        for number, tensors in one.items():
            assert tensors.keys() == other[number].keys() == {"step", "exp_avg", "exp_avg_sq"}
            assert all(torch.equal(tensor, other[number][key]) for key, tensor in tensors.items())


def test_optimizer_state_keeps_the_memory_layout_of_its_parameter(tmp_path):
    """Fused kernels require the same layout for both."""
    network = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(torch.rand(1, 4, 5, 5)).sum().backward()
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[network.weight].items()}
    save_state(tmp_path / "s.safetensors", state_tensors({"net": network, "optim": optimizer}), {"step": 1})
    load_state(tmp_path / "s.safetensors", {"net": network, "optim": optimizer})
    after = optimizer.state[network.weight]
    assert after["exp_avg"].stride() == network.weight.stride()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["generator", "ema", "optim_d"])
def test_state_with_non_finite_tensors_is_not_saved(saved, part, bad):
    before = saved.read_bytes()
    parts = make_parts()
    if part == "optim_d":
        next(iter(parts[part].state.values()))["exp_avg"].view(-1)[0] = bad
    else:
        next(parts[part].parameters()).data.view(-1)[0] = bad
    with pytest.raises(FloatingPointError, match=f"^{part}\\."):
        save_state(saved, state_tensors(parts), about())
    assert saved.read_bytes() == before


# In the background ------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_disk(monkeypatch):
    """Block all writes until released."""
    go = threading.Event()
    write = checkpoint.write_atomically
    monkeypatch.setattr(checkpoint, "write_atomically", lambda *args: (go.wait(20), write(*args)))
    return go


def test_saver_writes_a_snapshot(tmp_path, slow_disk):
    """Training that continues during the write does not change the file."""
    path, parts, saver = tmp_path / "last.safetensors", make_parts(), Saver()
    expected = {name: tensor.clone() for name, tensor in state_tensors(parts).items()}
    saver.save(path, parts, about())
    assert not path.exists()
    with torch.no_grad():
        for tensor in state_tensors(parts).values():
            tensor.add_(1)
    slow_disk.set()
    saver.wait()
    assert {name: tensor.tolist() for name, tensor in load_file(path).items()} == {
        name: tensor.tolist() for name, tensor in expected.items()
    }


def test_saver_raises_an_error_once(tmp_path):
    parts, saver = make_parts(), Saver()
    next(parts["generator"].parameters()).data.view(-1)[0] = float("nan")
    saver.save(tmp_path / "last.safetensors", parts, about())
    with pytest.raises(FloatingPointError, match=r"^generator.* of step"):
        saver.wait()
    saver.wait()
    saver.close()
    assert not list(tmp_path.iterdir())


def test_saver_writes_the_new_state_though_the_old_one_failed(tmp_path, monkeypatch):
    path, parts, saver = tmp_path / "last.safetensors", make_parts(), Saver()
    with monkeypatch.context() as full:
        full.setattr(checkpoint.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(0))
        saver.save(path, parts, about())
        with pytest.raises(OSError, match="needs"):
            saver.wait()
        saver.save(path, parts, about())
        saver._writer.submit(lambda: None).result()  # the write has failed by now, but its error was not raised
    with pytest.raises(OSError, match="needs"):
        saver.save(path, parts, about())
    saver.close()
    assert describe(path)["kind"] == "state"


def test_saver_closes_when_all_is_written(tmp_path, slow_disk):
    path, saver = tmp_path / "last.safetensors", Saver()
    saver.save(path, make_parts(), about())
    threading.Timer(0.2, slow_disk.set).start()
    saver.close()
    assert describe(path)["kind"] == "state"


# Refusals ---------------------------------------------------------------------------------------------------------


def refused(path, match: str) -> None:
    """Assert that every reader refuses the file, in one line that begins with its path."""
    for read in (describe, load_generator, lambda file: load_state(file, make_parts())):
        with pytest.raises(InputError, match=match) as refusal:
            read(path)
        assert str(refusal.value).startswith(str(path)) and "\n" not in str(refusal.value)


def rewritten(path, header) -> None:
    """Rewrite the file with other metadata in its header."""
    save_file(load_file(path), path, {"gancolor": header if isinstance(header, str) else json.dumps(header)})


def test_missing_file_is_refused(tmp_path):
    refused(tmp_path / "generator.safetensors", "no such checkpoint")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickle_is_refused_and_not_run(tmp_path):
    made = tmp_path / "made by the pickle"
    for name in ("model.pth", "model.safetensors"):
        torch.save({"net": Bomb(made)}, tmp_path / name)
        refused(tmp_path / name, "not a gancolor checkpoint")
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(made)))
        refused(tmp_path / name, "not a gancolor checkpoint")
    assert not made.exists()


@pytest.mark.parametrize("name", ["generator.onnx", "generator.PT2"])
def test_exports_of_other_formats_are_refused_with_what_to_give(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x08\x07")
    refused(tmp_path / name, r"only for colouring; give the run's folder, or .* -o generator\.safetensors\)$")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.3, 0.5, 0.9, -100, -1])
@pytest.mark.parametrize("which", ["exported", "saved"])
def test_truncated_file_is_refused(request, which, keep):
    path = request.getfixturevalue(which)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(keep * len(contents)) if isinstance(keep, float) else keep])
    refused(path, "truncated")


@pytest.mark.parametrize("header", [None, {}, {"format": "pt"}, {"gancolor": "null"}, {"gancolor": "[1]"}])
def test_other_safetensors_files_are_refused(tmp_path, header):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors", header)
    refused(tmp_path / "other.safetensors", "not one of gancolor's")


def test_header_that_is_not_json_is_refused(exported):
    rewritten(exported, "{not json")
    refused(exported, "not one of gancolor's files")


def test_newer_format_is_refused_with_its_version(exported):
    rewritten(exported, describe(exported) | {"format": header.FORMAT + 1, "version": "9.8"})
    refused(exported, r"written by gancolor 9\.8, which is newer.*upgrade")


@pytest.mark.parametrize("format_", ["1", None, [1], {"a": 1}])
def test_non_numeric_format_is_refused(exported, format_):
    rewritten(exported, describe(exported) | {"format": format_})
    refused(exported, "not one of gancolor's")


def test_unknown_architecture_is_refused_with_the_choices(exported):
    rewritten(exported, about("unet3000") | {"format": 1, "kind": "generator"})
    with pytest.raises(InputError, match=r"generator\.safetensors: no architecture.*unet3000.*attention_ugan"):
        load_generator(exported)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize(
    "generator",
    [
        None, "ugan", {}, {"arch": "ugan"}, {"arch": ["ugan"], "options": {}}, {"arch": "ugan", "options": [1]},
        {"arch": "ugan", "options": {"colour": 1}}, {"arch": "ugan", "options": OPTIONS | {"width": 5}},
        {"arch": "attention_ugan", "options": OPTIONS}, {"arch": "ugan", "options": OPTIONS | {"norm": "instance"}},
        {"arch": "ugan", "options": OPTIONS | {"width": "4"}}, {"arch": "ugan", "options": OPTIONS | {"depth": 99}},
        {"arch": "ugan", "options": OPTIONS | {"dropout": 5}}, {"arch": "ugan", "options": OPTIONS | {"size": None}},
        {"arch": "ugan", "options": OPTIONS | {"width": -4}}, {"arch": "ugan", "options": OPTIONS | {"width": 0}},
        {"arch": "pretrained_ugan", "options": OPTIONS | {"backbone": "vgg"}},
    ],
)  # fmt: skip
def test_description_that_does_not_fit_the_weights_is_refused(exported, generator):
    rewritten(exported, {"format": 1, "kind": "generator", "generator": generator})
    with pytest.raises(InputError, match=re.escape(str(exported))):
        load_generator(exported)


def test_exported_generator_is_refused_as_a_state(exported):
    with pytest.raises(InputError, match="exported generator, not a run's state"):
        load_state(exported, make_parts())


def test_state_of_other_networks_is_refused(saved):
    parts = make_parts()
    parts["generator"] = make(width=8)
    with pytest.raises(InputError, match="different networks"):
        load_state(saved, parts)


def test_state_of_another_optimizer_is_refused(saved):
    parts = make_parts()
    parts["optim_g"] = torch.optim.AdamW(nn.Linear(1, 1).parameters())
    with pytest.raises(InputError, match="different networks"):
        load_state(saved, parts)


@pytest.mark.parametrize("name", ["optim_g.x.exp_avg", "optim_g.0", "optim_g.0.exp.avg", "optim_g.0.momentum"])
def test_state_with_foreign_optimizer_entries_is_refused(saved, name):
    said = describe(saved)
    save_file(load_file(saved) | {name: torch.zeros(4, 1, 4, 4)}, saved, {"gancolor": json.dumps(said)})
    with pytest.raises(InputError, match="different networks"):
        load_state(saved, make_parts())


# Random damage ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Minimal files of a generator and of a state, and the state's networks and optimizers."""
    folder = tmp_path_factory.mktemp("small")
    options = {"width": 1, "depth": 2, "size": 16}
    parts = {"generator": make(**options), "ema": make(**options)}
    parts["optim_g"] = torch.optim.AdamW(parts["generator"].parameters())
    parts["generator"](torch.rand(1, 1, 16, 16)).chroma.sum().backward()
    parts["optim_g"].step()
    export_generator(folder / "generator.safetensors", parts["ema"], about(**options))
    save_state(folder / "last.safetensors", state_tensors(parts), about(**options))
    return folder, parts


@pytest.mark.parametrize("name", ["generator", "last"])
@pytest.mark.parametrize("seed", range(8))
def test_random_damage_is_refused_or_harmless(small, tmp_path, name, seed):
    """Any changed bytes give either an InputError or a working generator."""
    folder, parts = small
    whole = (folder / f"{name}.safetensors").read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    path = tmp_path / "damaged.safetensors"
    chance = random.Random(seed)
    for _ in range(60):
        damaged = bytearray(whole)
        # Mostly in the header, where damage matters; digits replace digits, so that the JSON stays valid.
        for _ in range(chance.choice([1, 1, 2, 5])):
            place = chance.randrange(header if chance.random() < 0.9 else len(whole))
            digit = chr(damaged[place]).isdigit()
            damaged[place] = chance.choice(b"0123456789") if digit else chance.randrange(256)
        path.write_bytes(damaged)
        for read in (load_generator, lambda file: load_state(file, parts)):
            with contextlib.suppress(InputError):
                read(path)


# Finding ----------------------------------------------------------------------------------------------------------


def test_run_folder_gives_the_finished_generator_else_best_else_last(tmp_path):
    for name in ("last", "best", "generator"):
        (tmp_path / f"{name}.safetensors").touch()
        assert find_generator(str(tmp_path)) == tmp_path / f"{name}.safetensors"


def test_file_path_gives_the_file_itself(tmp_path):
    assert find_generator(tmp_path / "anything.safetensors") == tmp_path / "anything.safetensors"


def test_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        find_generator(tmp_path)
