"""A small checkpoint, its exports, and a Hub to push them to."""

import dataclasses

import pytest
from fake_hub import Hub, hosted
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
    """Return a function of format and half that exports the file once and returns it."""
    folder, made = tmp_path_factory.mktemp("exports"), {}

    def exported(name, half=False):
        if (name, half) not in made:
            out = folder / f"{'half' if half else 'full'}{EXPORTERS[name].suffixes[0]}"
            made[name, half] = export(checkpoint[0], out, name, half)
        return made[name, half]

    return exported


@pytest.fixture(scope="session")
def onnx_writers():
    return {}


@pytest.fixture
def onnx_converted_once(monkeypatch, onnx_writers):
    """Convert `checkpoint` to ONNX once for all tests: it takes seconds. For tests of that checkpoint only."""
    onnx = EXPORTERS["onnx"]

    def convert(generator, half):
        if half not in onnx_writers:
            onnx_writers[half] = onnx.convert(generator, half)
        return onnx_writers[half]

    monkeypatch.setitem(EXPORTERS, "onnx", dataclasses.replace(onnx, convert=convert))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Local fake Hub with a logged-in user and an empty cache."""
    pytest.importorskip("huggingface_hub")
    with hosted(monkeypatch, tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_TOKEN", Hub.TOKEN)
        yield hub
