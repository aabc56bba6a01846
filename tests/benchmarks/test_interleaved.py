from dataclasses import replace

import pytest
import torch
from epoch_speed import Epochs
from interleaved import EnoughError, take_turns, trainer_of
from measure import Contender
from step_runners import StepSpec
from time_to_psnr import GAINS, Learner

SMALL = ("--generator.width", "4", "--discriminator.width", "4", "--discriminator.layers", "1")
SPEC = StepSpec("ugan", 16, 4, "cpu", 1.0, words=SMALL)


def test_turns_take_place_between_trainer_steps(photos, tmp_path):
    """A turn comes before its step, after everything that follows the previous one, such as an evaluation."""
    found = []
    with trainer_of(SPEC, photos, "--epochs", "2", "--eval.every", "1", *SMALL) as trainer:
        per_epoch = trainer.timeline.steps_per_epoch

        def turn(step: int) -> None:
            found.append((step, trainer.done, bool(trainer.validation.scores)))
            if step == per_epoch + 1:
                raise EnoughError

        take_turns(trainer, turn)
        folder = trainer.run.folder
    assert [step for step, *_ in found] == list(range(per_epoch + 2))
    assert all(step == done and evaluated == (step >= per_epoch) for step, done, evaluated in found)
    assert not folder.exists()


def test_first_epoch_is_not_measured():
    ran = []
    others = {"plain": Contender(lambda: ran.append("plain")), "step": Contender(lambda: ran.append("step"))}
    turns = Epochs(3, 2, others, lambda: ran.append("prepare"), torch.device("cpu"))
    for step in range(9):  # the first one, and two measured ones
        turns(step)
    with pytest.raises(EnoughError):
        turns(9)
    assert {name: len(timing.rounds) for name, timing in turns.timings.items()} == {
        "gancolor": 2,
        "plain": 2,
        "step": 2,
    }
    assert ran == ["prepare", *["plain", "step", "prepare"] * 2, "plain", "step"]


def test_learner_records_each_gain_once(monkeypatch):
    learner = Learner(None, None, grey=20.0)
    for seconds, psnr in ((5.0, 20.6), (10.0, 21.2), (15.0, 20.1)):
        monkeypatch.setattr("time_to_psnr.score_generator", lambda *_, psnr=psnr: {"psnr": torch.tensor([psnr])})
        learner.seconds = seconds
        learner.look(torch.nn.Identity())
    assert learner.reached == {GAINS[0]: 5.0, GAINS[1]: 10.0}
    assert learner.most == pytest.approx(1.2, abs=1e-4) and not learner.is_done


def test_stages_are_the_requested_ones_that_the_recipe_has():
    assert replace(SPEC, only=("adversarial",)).stages() == ("adversarial",)
    assert replace(SPEC, arch="vgg16_autoencoder", words=()).stages() == ("pretrain",)
