import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from made_files import COMMAND, clip, files, made_video, save
from made_pictures import scene

from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.ranks import share, this_ranks_device
from gancolor.utils.errors import InputError


def test_every_file_is_one_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [ColorizeJob(Path(f"{n}.{'mp4' if n % 4 == 1 else 'jpg'}"), Path(f"o/{n}")) for n in range(23)]
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        shares.append(share(jobs))
    assert sorted(job.source for one in shares for job in one) == sorted(job.source for job in jobs)
    assert [sum(job.is_video for job in one) for one in shares] == [2, 2, 2]
    assert [len(one) for one in shares] == [8, 8, 7]


def test_alone_there_is_nothing_to_share() -> None:
    jobs = [ColorizeJob(Path("a.jpg"), Path("o/a.jpg"))]
    assert share(jobs) == jobs
    assert this_ranks_device("auto") == "auto"


@pytest.mark.parametrize(("rank", "ranks"), [("2", "2"), ("0", "0"), ("-1", "2"), ("x", "2"), ("1", "")])
def test_ranks_that_are_none(monkeypatch: pytest.MonkeyPatch, rank: str, ranks: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(InputError, match="as torchrun does"):
        share([])


def test_each_rank_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [this_ranks_device(name) for name in ("auto", "cuda", "cuda:2", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:2",
        "cpu",
    ]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert this_ranks_device("auto") == "auto"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    place.mkdir()
    for index in range(6):
        save(place / f"{index}.jpg", scene(32, 48))
    made_video(place / "clip.mp4", clip(3))
    (place / "bad.jpg").write_text("words")
    return place


def test_two_processes(archive: Path, tmp_path: Path, onnx_checkpoint: Path) -> None:
    processes = [
        subprocess.Popen(
            [*COMMAND, str(archive), "-o", str(tmp_path / "out"), "--checkpoint", str(onnx_checkpoint)],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [1, 0]  # bad.jpg is the seventh photograph by name
    assert files(tmp_path / "out") == [*(f"{index}.jpg" for index in range(6)), "clip.mp4"]
    assert "rank 0: 4 coloured" in said[0][0]
    assert "rank 1: 3 coloured" in said[1][0]
    assert said[0][1].startswith("rank 0: not coloured: ")
    assert said[1][1] == ""


def test_torchrun_lets_all_ranks_finish(archive: Path, tmp_path: Path, onnx_checkpoint: Path) -> None:
    """It ends all as soon as one has failed; the rank with the bad file is done long before the other."""
    (tmp_path / "out").mkdir()
    save(archive / "0.jpg", scene(500, 750))
    for index in range(6, 60):
        os.link(archive / "0.jpg", archive / f"{index}.jpg")
    for name in [name for name in files(archive) if name.endswith(".jpg")][:60:2]:  # the first rank's are done already
        shutil.copy(archive / "0.jpg", tmp_path / "out" / name)
    (tmp_path / "out/clip.mp4").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ran = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port),
         "--no_python", *COMMAND, str(archive), "-o", str(tmp_path / "out"), "--checkpoint", str(onnx_checkpoint)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.count("not coloured: ") == 1
    assert len(files(tmp_path / "out")) == 61
