"""Parts of the training loop that need no photographs; tests/e2e runs all of it."""

from types import SimpleNamespace

import pytest
import torch

from gancolor.config.options import TrackingConfig, TrainConfig
from gancolor.training.meter import Meter
from gancolor.training.run_folder import RunFolder
from gancolor.training.run_state import Saver
from gancolor.training.schedule import Timeline
from gancolor.training.trainer import Trainer
from gancolor.utils.errors import TrainingError

TERM = {"pretrain": "l1", "critic": "discriminator", "adversarial": "l1"}


class Recorder:
    """Stand-in for a GANStep and a tracker, which records their calls. A step's term is its number."""

    def __init__(self):
        self.calls, self.logged = [], []

    def begin_adversarial(self):
        self.calls.append("begin_adversarial")

    def step(self, batch, stage, _):
        self.calls.append(stage)
        return {TERM[stage]: torch.tensor(float(batch))}

    def log(self, step, values):
        self.logged.append((step, values))


@pytest.fixture
def trainer():
    """Trainer with 6 steps of pretraining, 3 of the discriminator alone and 7 of adversarial training."""
    made = Trainer.__new__(Trainer)
    made.config = TrainConfig(tracking=TrackingConfig(log_every=4))
    made.timeline = Timeline(10, pretrain_epochs=0.6, epochs=0.7, critic_epochs=0.3)
    made.batches = SimpleNamespace(effective_batch=2)
    made.hardware = SimpleNamespace(peak_memory=lambda: 0.0)
    made.prepare = lambda pictures, _: pictures
    made.gan_step = made.tracker = Recorder()
    made.meter = Meter()
    return made


def test_adversarial_training_is_prepared_before_its_first_step(trainer):
    for step in range(trainer.timeline.total_steps):
        trainer._step(step, step, None)
    assert trainer.gan_step.calls == ["pretrain"] * 6 + ["critic"] * 3 + ["begin_adversarial"] + ["adversarial"] * 7


def test_every_step_of_every_stage_is_in_one_logged_mean(trainer):
    """Also of stages shorter than log_every, and of the critic stage, which ends without an evaluation."""
    for step in range(trainer.timeline.total_steps):
        terms = trainer._step(step, step, None)
        trainer.done = step + 1
        trainer._log(terms)
    assert [done for done, _ in trainer.tracker.logged] == [4, 6, 8, 9, 12, 16]
    before = 0
    for done, values in trainer.tracker.logged:
        assert values["stage"] == trainer.timeline.stage(done - 1)
        assert values[TERM[values["stage"]]] == sum(range(before, done)) / (done - before)
        before = done


@pytest.mark.parametrize(("scale", "stops"), [(1.0, False), (0.5, True)])
def test_training_stops_if_the_smallest_loss_scale_overflows(trainer, tmp_path, scale, stops):
    trainer.gan_step = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=scale), bad_steps=torch.tensor(0))
    trainer.done, trainer.saver, trainer.run = 20, Saver(), RunFolder(tmp_path)
    if not stops:
        trainer._check({})
        return
    with pytest.raises(
        TrainingError, match=r"^gradients overflow fp16 even at the smallest loss scale \(step 20\); last"
    ):
        trainer._check({})
