"""A small checkpoint, its exports, and a Hub to push them to."""

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


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Local fake Hub with a logged-in user and an empty cache."""
    pytest.importorskip("huggingface_hub")
    with hosted(monkeypatch, tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_TOKEN", Hub.TOKEN)
        yield hub
