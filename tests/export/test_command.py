"""The command `gancolor export`."""

import json
import pickle
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from gancolor import cli
from gancolor.export import command as command_module
from gancolor.export.parity import SIZES
from gancolor.models.checkpoint import describe, export_generator
from gancolor.utils.files import file_digest
from gancolor.utils.metadata import FORMAT


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that runs the real command with these words and returns (status, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gancolor", "export", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capsys.readouterr()
        return end.value.code, told.out, told.err

    return run


@pytest.fixture
def run_folder(checkpoint, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(checkpoint[0], folder / "generator.safetensors")
    return folder


def refused(told, match):
    status, out, error = told
    assert status == 2 and out == "", told
    assert error.startswith("gancolor: error: ") and error.count("\n") == 1 and match in error, error


def test_run_becomes_a_file_with_a_card(command, converted_once, run_folder, tmp_path):
    out = tmp_path / "new" / "colours.pt2"
    status, told, error = command(run_folder, "-o", out, "--license", "mit")
    assert (status, error) == (0, "")
    assert f"wrote {out}: torch_export, float32" in told
    lines = [line.split() for line in told.splitlines() if " x " in line]
    assert [line[:5:2] for line in lines[1:]] == [[str(side) for side in size] for size in SIZES]
    assert sorted(path.name for path in out.parent.iterdir()) == ["colours.pt2", "colours.pt2.md"]
    assert "license: mit" in (out.parent / "colours.pt2.md").read_text(encoding="utf-8")


def test_checkpoint_with_little_metadata_becomes_a_file_with_a_card(command, checkpoint, tmp_path):
    about = {"generator": describe(checkpoint[0])["generator"], "metrics": {"psnr": "good"}}
    about |= {"data": {"source": "scenes", "train": 3}, "config": {"arch": "attention_ugan"}, "step": 9}
    export_generator(tmp_path / "little.safetensors", checkpoint[1], about)
    out = tmp_path / "out" / "A.SAFETENSORS"
    assert command(tmp_path / "little.safetensors", "-o", out)[::2] == (0, "")
    assert sorted(path.name for path in out.parent.iterdir()) == ["A.SAFETENSORS", "A.SAFETENSORS.md"]
    card = (out.parent / "A.SAFETENSORS.md").read_text(encoding="utf-8")
    assert "9 steps with" in card and 'Colorizer.load("A.SAFETENSORS")' in card
    assert file_digest(out) in card and f"{out.stat().st_size / 1e6:.1f} MB" in card


def test_without_a_card_there_is_no_file(run_folder, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyError("size")

    monkeypatch.setattr(command_module, "model_card", fail)
    out = tmp_path / "out" / "a.safetensors"
    with pytest.raises(KeyError):
        command_module.run_export(run_folder, out, None)
    assert list(out.parent.iterdir()) == []


def test_unwritable_card_leaves_no_file(command, run_folder, tmp_path):
    (tmp_path / "a.safetensors.md").mkdir()
    refused(command(run_folder, "-o", tmp_path / "a.safetensors", "--overwrite"), "a.safetensors.md: it is a folder")
    assert not (tmp_path / "a.safetensors").exists()


def test_existing_files_are_not_overwritten(command, run_folder, tmp_path):
    out = tmp_path / "a.safetensors"
    out.write_bytes(b"mine")
    refused(command(run_folder, "-o", out), "exists already; give another name, or --overwrite")
    assert out.read_bytes() == b"mine"
    assert command(run_folder, "-o", out, "--overwrite")[0] == 0
    assert describe(out)["weights"] == "float32"
    out.unlink()
    refused(command(run_folder, "-o", out), "a.safetensors.md exists already")
    assert not out.exists()


def test_checkpoint_is_never_overwritten(command, run_folder, tmp_path):
    path = run_folder / "generator.safetensors"
    before = path.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(path)
    for out in (path, run_folder / ".." / "run" / path.name, tmp_path / "link.safetensors"):
        refused(command(run_folder, "-o", out, "--overwrite", "--half"), "is the checkpoint itself")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ((), "nothing to write: give -o FILE, or --push_to_hub OWNER/NAME"),
        (("-o", "a.bin"), "no format has the suffix '.bin'"),
        (("-o", "a.onnx", "--format", "torch_export"), "not a --format torch_export file"),
        (("-o", "a.onnx", "--colour"), "unknown option --colour"),
        (("-o", "a.pt2", "--result", "none.json"), "none.json: can't be read"),
        (
            ("-o", "a.pt2", "--interpolate", "none", "0.5", "--result", "none.json"),
            "a generator that no --result has scored yet: export it without --result, evaluate that file",
        ),
    ],
)
def test_invalid_arguments_give_a_one_line_error(command, run_folder, tmp_path, monkeypatch, words, match):
    monkeypatch.chdir(tmp_path)
    refused(command(run_folder, *words), match)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_file_that_is_not_a_checkpoint_gives_a_one_line_error(command, checkpoint, tmp_path):
    out = tmp_path / "a.pt2"
    refused(command(tmp_path / "none", "-o", out), "no such checkpoint")
    (tmp_path / "empty").mkdir()
    refused(command(tmp_path / "empty", "-o", out), "no checkpoint in this folder")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    refused(command(tmp_path / "foreign.pth", "-o", out), "not a gancolor checkpoint")
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    refused(command(tmp_path / "foreign.safetensors", "-o", out), "not one of gancolor's")
    newer = json.dumps(describe(checkpoint[0]) | {"format": FORMAT + 1, "version": "9.8"})
    save_file(load_file(checkpoint[0]), tmp_path / "newer.safetensors", {"gancolor": newer})
    refused(command(tmp_path / "newer.safetensors", "-o", out), "written by gancolor 9.8, which is newer")
    assert not out.exists()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickle_is_not_run(command, tmp_path):
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    refused(command(tmp_path / "model.pt", "-o", tmp_path / "a.onnx"), "not a gancolor checkpoint")
    assert not (tmp_path / "boom").exists()
