"""The folder of a run: which options may resume it, and its record of starts."""

import json

import pytest
import torch

from gancolor.config.identity import to_dict
from gancolor.config.networks import LossConfig
from gancolor.config.options import TrainConfig
from gancolor.models.checkpoint import save_checkpoint
from gancolor.training.run_folder import RunFolder
from gancolor.utils.errors import InputError


@pytest.fixture
def started(tmp_path):
    """The folder of a run that has saved a state."""
    run = RunFolder(tmp_path / "run")
    run.open(TrainConfig())
    run.begin(TrainConfig(), continues=False)
    about = {"kind": "state", "config": to_dict(TrainConfig())}
    save_checkpoint(run.last, {"weight": torch.zeros(1)}, about)
    run.close()
    return run


@pytest.mark.parametrize("damage", ["intact", "lost", "empty", "not YAML", "other options"])
def test_options_are_compared_with_those_of_the_state(started, damage):
    """config.yaml may have been lost or edited since."""
    if damage == "lost":
        started.config.unlink()
    elif damage != "intact":
        started.config.write_text({"empty": "", "not YAML": "loss: [", "other options": "loss: {l1: 1}"}[damage])
    run = RunFolder(started.folder)
    with pytest.raises(InputError, match=r"\(--loss.l1 was 100.0, is 1.0\). Give the same options to resume it"):
        run.open(TrainConfig(loss=LossConfig(l1=1.0)))
    run.close()
    run.open(TrainConfig(epochs=2.0))
    assert run.former["epochs"] == 20
    run.close()


def test_any_options_start_where_no_state_was_saved(started):
    started.last.unlink()
    started.open(TrainConfig(loss=LossConfig(l1=1.0)))
    assert not started.former


@pytest.mark.parametrize("text", ["", "[{", "\x00"])
def test_damaged_record_of_starts_is_replaced(started, text):
    path = started.folder / "environment.json"
    path.write_text(text)
    for step in (40, 50):
        started.note_start(step, "cpu", 1, 4)
    assert [start["step"] for start in json.loads(path.read_text())] == [40, 50]
