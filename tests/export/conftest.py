"""A small checkpoint, its exports, and a Hub to push them to."""

import dataclasses
import functools
import pickle
import shutil

import pytest
from fake_hub import Hub, hosted
from made_once import made_once
from small_checkpoint import save_checkpoint

from gancolor.export.exporter import export
from gancolor.export.formats import EXPORTERS


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Generator's file, and the generator."""
    path = tmp_path_factory.mktemp("run") / "generator.safetensors"
    return path, save_checkpoint(path)


@pytest.fixture(scope="session")
def exports(checkpoint, tmp_path_factory):
    """Return a function of format and half that exports the file, once for all workers, and returns it."""

    @functools.cache
    def exported(name, half=False):
        shape = "half" if half else "full"

        def make(folder):
            made = export(checkpoint[0], folder / f"{shape}{EXPORTERS[name].suffixes[0]}", name, half)
            (folder / "exported.pickle").write_bytes(pickle.dumps(made))

        folder = made_once(tmp_path_factory, f"{shape}_{name}", make)
        return pickle.loads((folder / "exported.pickle").read_bytes())

    return exported


@pytest.fixture
def converted_once(monkeypatch, exports):
    """Copies the export of `checkpoint` instead of converting it again, which takes seconds. For that one only."""

    def copying(name, exporter):
        def convert(generator, half):
            with monkeypatch.context() as unpatched:
                unpatched.setitem(EXPORTERS, name, exporter)
                made = exports(name, half).path
            return lambda path, _: shutil.copyfile(made, path)

        return dataclasses.replace(exporter, convert=convert)

    for name in ("onnx", "torch_export"):
        monkeypatch.setitem(EXPORTERS, name, copying(name, EXPORTERS[name]))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Local fake Hub with a logged-in user and an empty cache."""
    pytest.importorskip("huggingface_hub")
    with hosted(monkeypatch, tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_TOKEN", Hub.TOKEN)
        yield hub
