import importlib.util
import json
import pickle
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from made_generators import made_generator
from made_onnx import made_onnx
from safetensors.torch import load_file, save_file

from gancolor.inference.backends import TorchBackend, has_torch, open_backend
from gancolor.inference.bundled import FOLDER
from gancolor.utils.errors import InputError


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Path:
    return made_generator(tmp_path_factory.mktemp("generator") / "generator.safetensors")


def test_backends_give_the_generators_output(generator: Path) -> None:
    from gancolor import load_generator

    lightness = torch.rand(2, 1, 40, 56) * 2 - 1
    backend = open_backend(generator)
    expected = load_generator(generator)(lightness).chroma.detach()
    assert isinstance(backend(lightness.numpy()), np.ndarray)
    assert np.abs(backend(lightness.numpy()) - expected.numpy()).max() < 1e-6
    assert (backend(lightness) - expected).abs().max() < 1e-6
    assert backend.about["data"]["size"] == 32


def test_run_folder_opens_its_finished_generator(tmp_path: Path) -> None:
    made_generator(tmp_path / "generator.safetensors", size=48)
    made_generator(tmp_path / "best.safetensors", size=64)
    assert open_backend(tmp_path).about["data"]["size"] == 48


class Trap:
    def __reduce__(self):
        return exec, ("open('trap', 'w')",)


def test_foreign_files_are_refused_and_their_code_is_not_run(tmp_path: Path, monkeypatch, generator: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.pth", "x.pt", "x.pkl", "x.safetensors", "x.onnx"):
        Path(name).write_bytes(pickle.dumps(Trap()))
    save_file({"x": torch.zeros(3)}, "foreign.safetensors")
    newer = load_file(generator)
    save_file(newer, "newer.safetensors", {"gancolor": json.dumps({"format": 99, "version": "9.0"})})
    cases = {
        "x.pth": "can hold code",
        "x.pt": "can hold code",
        "x.pkl": "can hold code",
        "x.safetensors": "not a gancolor",
        "x.onnx": "not an ONNX model",
        "foreign.safetensors": "not one of gancolor's",
        "none.safetensors": "no such",
        "newer.safetensors": "gancolor 9.0, which is newer",
        ".": "no checkpoint in this folder",
    }
    for name, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            open_backend(Path(name))
        assert "\n" not in str(caught.value)
    assert not Path("trap").exists()


def test_why_an_onnx_file_can_not_be_opened(tmp_path: Path, monkeypatch) -> None:
    path = Path(shutil.copy(FOLDER / "generator.onnx", tmp_path / "copied.onnx"))
    with pytest.raises(InputError, match=r"copied\.onnx needs generator\.safetensors beside it"):
        open_backend(path)
    path.with_name("generator.safetensors").write_bytes((FOLDER / "generator.safetensors").read_bytes()[: 10**6])
    with pytest.raises(InputError, match=r"generator\.safetensors beside it, which has its weights, is truncated"):
        open_backend(path)
    made_onnx(path, (0.1, 0.0), (0.2, 0.4))
    model = onnx.load(path)
    model.ir_version = 99
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"can't be opened by this ONNX Runtime \(Unsupported model IR version: 99"):
        open_backend(path)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("std::bad_alloc")

    monkeypatch.setattr("onnxruntime.InferenceSession", fail)
    with pytest.raises(InputError, match=r"copied\.onnx is too large for this machine's memory"):
        open_backend(path)


def test_unavailable_device_is_refused(generator: Path) -> None:
    for device in ("cuda:7", "abacus") if not torch.cuda.is_available() else ("abacus",):
        with pytest.raises(InputError, match=f"device {device}: not available here"):
            open_backend(generator, device)


def test_onnx_runtime_uses_the_named_gpu() -> None:
    from gancolor.inference.backends import _providers

    gpu, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    assert _providers([gpu, cpu], "cuda:1") == [(gpu, {"device_id": "1"}), cpu]
    assert _providers([gpu, cpu], "auto") == _providers([gpu, cpu], "cuda") == [gpu, cpu]
    assert _providers([gpu, cpu], "cpu") == _providers([cpu], "auto") == [cpu]
    with pytest.raises(InputError, match="device cuda: not available in this ONNX Runtime"):
        _providers([cpu], "cuda")


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried", "[enforce fail] DefaultCPUAllocator: can't allocate memory"]
)
def test_out_of_memory_becomes_memory_error(generator: Path, monkeypatch, words: str) -> None:
    backend = TorchBackend(generator)

    def full(_: torch.Tensor) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(backend, "network", full)
    with pytest.raises(MemoryError):
        backend(np.zeros((1, 1, 32, 32), np.float32))


def test_other_errors_of_the_network_are_not_hidden(generator: Path) -> None:
    with pytest.raises(RuntimeError):
        open_backend(generator)(np.zeros((1, 2, 32, 32), np.float32))


def test_torch_alone_is_not_enough(monkeypatch) -> None:
    assert has_torch()
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "timm" else find(name))
    assert not has_torch()


def test_safetensors_without_torch_gives_advice(generator: Path, monkeypatch) -> None:
    monkeypatch.setattr("gancolor.inference.backends.has_torch", lambda: False)
    advice = r"needs PyTorch, fastai, kornia and timm: pip install 'gancolor\[train\]', or export it to ONNX"
    with pytest.raises(InputError, match=advice):
        open_backend(generator)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ImportError('libstdc++.so.6: not found')", "can't be imported (libstdc++.so.6: not found)"),
        ("ModuleNotFoundError('No module', name='onnxruntime')", "is not installed: pip install 'gancolor[onnx]'"),
    ],
)
def test_onnx_runtime_that_is_broken_is_not_called_absent(tmp_path: Path, monkeypatch, error: str, said: str) -> None:
    (tmp_path / "onnxruntime.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    with pytest.raises(InputError, match=re.escape(f"ONNX Runtime {said}")):
        open_backend(FOLDER / "generator.onnx")


def test_ctrl_c_during_the_import_of_onnx_runtime_is_raised_after_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(1)\n"
        "except KeyboardInterrupt:\n    raise ImportError('initialization failed')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is given SIG_IGN
    try:
        with pytest.raises(KeyboardInterrupt):
            open_backend(FOLDER / "generator.onnx")
    finally:
        signal.signal(signal.SIGINT, usual)
