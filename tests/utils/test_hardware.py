import os
import re
import warnings
from pathlib import Path

import pytest
import torch

from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware, choose_hardware

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def switches(monkeypatch):
    """Restore torch's global switches afterwards."""
    backends = torch.backends
    before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark
    deterministic = torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark = before
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.fixture
def machine(monkeypatch):
    """Simulate a machine with these devices."""

    def has(cuda=False, mps=False, bf16=True, amx=False, avx512_bf16=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4 * cuda)
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return has


@pytest.mark.parametrize(
    ("has", "device", "precision"),
    [
        ({}, "cpu", "fp32"),
        ({"amx": True}, "cpu", "bf16"),
        ({"avx512_bf16": True}, "cpu", "bf16"),
        ({"mps": True}, "mps", "fp32"),
        ({"cuda": True}, "cuda:0", "bf16"),
        ({"cuda": True, "mps": True}, "cuda:0", "bf16"),
        ({"cuda": True, "bf16": False}, "cuda:0", "fp16"),
    ],
)
def test_auto_device_is_the_best_available(machine, has, device, precision):
    machine(**has)
    assert choose_hardware("auto", "auto") == Hardware(torch.device(device), precision)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_unavailable_device_is_refused_with_the_available_ones(machine, device):
    machine()
    with pytest.raises(InputError, match=f"--device {device}: not available here; available are cpu$"):
        choose_hardware(device, "auto")


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_cuda_only_precision_is_refused_elsewhere(machine, device, precision):
    machine(mps=True)
    with pytest.raises(InputError, match=f"--precision {precision} needs CUDA; on {device} use fp32 or bf16"):
        choose_hardware(device, precision)


def test_bf16_is_refused_on_a_gpu_without_it(machine):
    machine(cuda=True, bf16=False)
    with pytest.raises(InputError, match="--precision bf16: this GPU does not support it; use fp16"):
        choose_hardware("cuda", "bf16")


def test_bf16_on_a_cpu_without_it_warns(machine):
    machine()
    with pytest.warns(
        UserWarning, match="--precision bf16: this CPU is not known to support it natively; fp32 can be many times"
    ):
        assert choose_hardware("cpu", "bf16") == Hardware(CPU, "bf16")
    machine(avx512_bf16=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_hardware("cpu", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cpu_supports_fp32_and_bf16(machine, precision):
    machine(amx=True)
    assert choose_hardware("cpu", precision) == Hardware(CPU, precision)


def test_each_rank_has_its_own_gpu(machine, monkeypatch):
    machine(cuda=True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_hardware("cuda", "fp32").device == torch.device("cuda:3")


def test_more_ranks_than_gpus_are_refused(machine, monkeypatch):
    machine(cuda=True)
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(InputError, match=r"4 GPU\(s\): start at most that many processes"):
        choose_hardware("cuda", "fp32")


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("bf16", False), ("fp16", False)])
def test_tf32_is_enabled_only_by_its_precision(machine, precision, tf32):
    machine(cuda=True)
    choose_hardware("cuda", precision)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (tf32, tf32)


def test_deterministic_sets_torchs_switch():
    choose_hardware("cpu", "fp32")
    assert torch.backends.cudnn.benchmark and not torch.are_deterministic_algorithms_enabled()
    choose_hardware("cpu", "fp32", deterministic=True)
    assert not torch.backends.cudnn.benchmark and torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_is_the_precision_of_matrix_products(precision, dtype):
    with Hardware(CPU, precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_autocast_of_fp32_disables_an_outer_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16), Hardware(CPU, "fp32").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_pictures_and_networks_are_channels_last():
    hardware = Hardware(CPU, "fp32")
    assert hardware.place(torch.rand(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)
    network = hardware.place_network(torch.nn.Conv2d(2, 3, 4))
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux says it there")
def test_peak_memory_is_this_process_in_gib():
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    assert Hardware(CPU, "fp32").peak_memory() == pytest.approx(int(kilobytes) / 2**20, rel=0.05)


def test_hardware_text_has_device_and_precision():
    text = str(Hardware(CPU, "bf16"))
    assert text.startswith("cpu (") and text.endswith("threads), bf16") and str(torch.get_num_threads()) in text
