"""The log for TensorBoard, read back by TensorBoard."""

import sys
from pathlib import Path

import pytest
from made_pictures import scene
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancolor.config.options import TrainConfig
from gancolor.training.option_checks import check_options
from gancolor.training.tracking import open_tracker
from gancolor.utils.errors import InputError


def train(run: Path, step: int, steps: list[int], sign: int = 1) -> None:
    """Log a training that continues from `step`."""
    config = TrainConfig()
    config.tracking.tensorboard = True
    tracker = open_tracker(config, "disabled", run, 4, step)
    for done in steps:
        tracker.log(done, {"loss/l1": sign * done / 2, "stage": "pretrain"})
    if not step:
        Image.fromarray(scene()).save(run / "grid.png")
        tracker.picture(steps[-1], "samples", run / "grid.png")
    tracker.close()


def read(run: Path) -> EventAccumulator:
    log = EventAccumulator(str(run / "tensorboard"))
    log.Reload()
    return log


def scalars(run: Path) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(run).Scalars("loss/l1")]


def test_numbers_pictures_and_options_are_logged(tmp_path: Path) -> None:
    train(tmp_path, 0, [1, 2])
    log = read(tmp_path)
    assert scalars(tmp_path) == [(1, 0.5), (2, 1.0)]
    assert log.Tags()["scalars"] == ["loss/l1"]
    (picture,) = log.Images("samples")
    assert (picture.step, picture.height, picture.width) == (2, *scene().shape[:2])
    (text,) = log.Tensors("options/text_summary")
    said = text.tensor_proto.string_val[0].decode()
    assert "    arch: " in said and "      batch_size: " in said and "    effective_batch: 4" in said


def test_resumed_training_continues_the_log_without_doubled_steps(tmp_path: Path) -> None:
    train(tmp_path, 0, [1, 2, 3, 4])
    train(tmp_path, 2, [3, 4, 5], sign=-1)
    assert scalars(tmp_path) == [(1, 0.5), (2, 1.0), (3, -1.5), (4, -2.0), (5, -2.5)]


def test_fresh_start_removes_the_old_log(tmp_path: Path) -> None:
    train(tmp_path, 0, [1, 2, 3])
    train(tmp_path, 0, [1], sign=-1)
    assert scalars(tmp_path) == [(1, -0.5)]


def test_missing_tensorboard_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig()
    config.tracking.tensorboard = True
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'gancolor\[tensorboard\]'"):
        check_options(config)
