"""The training loop, the same for every architecture."""

from typing import Any

import torch
from torch import Tensor

from gancolor.config.identity import to_dict
from gancolor.config.options import TrainConfig
from gancolor.data.dataset import Dataset
from gancolor.data.preprocess import Preprocess
from gancolor.evaluation.grids import save_prior
from gancolor.evaluation.hint_scores import HintMeans, hint_table
from gancolor.evaluation.protocols import PROTOCOLS
from gancolor.evaluation.results import EvaluationResult, SystemResult, describe_generator, gallery_indices, make_result
from gancolor.losses.objective import Terms
from gancolor.models import takes_hints
from gancolor.models.checkpoint import describe, export_generator
from gancolor.training.announcement import start_lines
from gancolor.training.diagnostics import check_adversarial_training
from gancolor.training.meter import Meter
from gancolor.training.option_checks import check_hardware, check_options
from gancolor.training.progress import Progress, say
from gancolor.training.run_folder import RunFolder
from gancolor.training.run_state import Saver, check_resumes, load_state
from gancolor.training.schedule import Timeline, rates, step_seed
from gancolor.training.setup import set_up
from gancolor.training.tracking import Tracker, open_tracker, wandb_mode
from gancolor.training.validation import Validation
from gancolor.utils import distributed
from gancolor.utils.errors import InputError, TrainingError
from gancolor.utils.files import write_json
from gancolor.utils.hardware import choose_hardware
from gancolor.utils.signals import Interruption
from gancolor.utils.words import counted

CHECK_EVERY = 5  # steps between checks for non-finite losses and signals on other ranks: a check waits for the device
MOST_BAD_STEPS = 3  # consecutive skipped steps before training stops


class Trainer:
    """A run built from its configuration: photographs, networks, saved state if there is one, and the training loop.

    Raises:
        InputError: errors that the user can fix, before training starts.
    """

    def __init__(self, config: TrainConfig) -> None:
        check_options(config)
        self.config = config
        self.hardware = choose_hardware(config.device, config.precision, config.deterministic, config.keep_freed_memory)
        check_hardware(config, self.hardware)
        distributed.start(self.hardware.device.type)
        self.run = RunFolder(str(config.out))
        if distributed.is_main():
            self.run.open(config)
        try:
            self._set_up()
        except BaseException:  # any failure, also Ctrl-C: nothing has been trained yet
            if distributed.is_main():
                self.run.discard()
            raise

    def _set_up(self) -> None:
        config = self.config
        self.data = Dataset(config.data, config.seed, self.hardware.device)
        self._check_agreement(self.data.names_digest)  # here, because scoring divides the photographs among the ranks
        self.batches = self.data.batches
        self.timeline = Timeline(
            self.batches.steps_per_epoch,
            config.pretrain_epochs,
            config.epochs,
            config.eval.every,
            config.critic_epochs,
            config.eval.early,
        )
        if not self.timeline.total_steps:
            raise InputError("nothing to train: --epochs and --pretrain_epochs are 0")
        self.setup = set_up(config, self.data, self.hardware)
        self.gan_step = self.setup.gan_step
        hints = config.hints if takes_hints(self.gan_step.generator) else None
        self.prepare = Preprocess(config.data, self.hardware, config.compile, hints)
        self.validation = Validation(self.data.val, config.eval, config.lpips, self.hardware)
        self.saver = Saver()
        self.done = self._resume()
        if distributed.is_main():  # here, because an unknown mode refuses the start
            self.wandb_mode, self.wandb_note = wandb_mode(config.tracking.wandb)

    def _resume(self) -> int:
        """Load the run's last state, if there is one, and return the number of finished steps."""
        done = self._load_state() if self.run.last.is_file() else 0
        self._check_agreement(str(done))
        return done

    def _check_agreement(self, seen: str) -> None:
        if not distributed.all_agree(seen, self.hardware.device):
            raise InputError(
                f"the machines see different photographs, or different states of {self.run.folder}; give folders that "
                "all of them share"
            )

    def _load_state(self) -> int:
        about = load_state(self.run.last, self.gan_step.state_parts())
        check_resumes(about, self.run.folder, self.batches.effective_batch, self.timeline.total_steps, self.data)
        if about["scaler"]:
            self.gan_step.scaler.load_state_dict(about["scaler"])
        self.validation.load_state(about["validation"])
        return about["step"]

    # Training ---------------------------------------------------------------------------------------------------------

    def fit(self) -> int:
        """Train to the end and return 0, or save and return 128 + the signal that interrupted the training.

        Raises:
            TrainingError: the loss or gradient is not finite.
        """
        status = 1
        self.tracker: Tracker | None = None
        try:
            with Interruption() as interruption:
                self._announce()
                if distributed.is_main():
                    mode, batch = self.wandb_mode, self.batches.effective_batch
                    self.tracker = open_tracker(self.config, mode, self.run.folder, batch, self.done)
                signal = self._loop(interruption)
                status = 128 + signal if signal else 0
                if not signal:
                    self._finish()
            distributed.stop()
            return status
        finally:
            try:
                self.saver.close()
            finally:
                if self.tracker:
                    self.tracker.close(status)
                self.run.close()

    def _loop(self, interruption: Interruption) -> int | None:
        """Run steps until the end or a signal; return the signal, if any."""
        total, device = self.timeline.total_steps, self.hardware.device
        progress = Progress(self.config.arch, total, self.done, self.batches.effective_batch, device)
        self.meter, self.recent, self.warned = Meter(), dict[str, float](), set[tuple[str, str]]()
        for step, pictures, labels in self.batches.stream(self.done, total, device):
            terms = self._step(step, pictures, labels)
            self.done = step + 1
            self._log(terms)
            synchronizes = self.done % CHECK_EVERY == 0
            stops = (synchronizes or distributed.world_size() == 1) and distributed.any_rank(
                interruption.signal is not None, device
            )
            if synchronizes or self.done == total:
                self._check(terms)
            progress.step(terms, synchronizes)
            evaluates = self.timeline.evaluates(self.done)
            if evaluates:
                self._evaluate()
            if stops or evaluates or self.done % self.config.checkpoint_every == 0:
                self._save(wait=stops or self.done == total)
            if stops and self.done < total:
                progress.close()
                say(f"stopped at step {self.done} of {total}, and saved; the same command resumes it")
                return interruption.signal or 15  # the signal came to another rank: torchrun sends SIGTERM
        progress.close()
        return None

    def _step(self, step: int, pictures: Tensor, labels: Tensor) -> Terms:
        """Run one step; all its randomness (augmentation, dropout) follows from the seed, the step and the rank."""
        if step == self.timeline.spans["adversarial"][0]:
            self.gan_step.begin_adversarial()
        torch.manual_seed(step_seed(self.config.seed, step, distributed.rank()))
        return self.gan_step.step(self.prepare(pictures, labels), self.timeline.stage(step), self._rates(step))

    def _rates(self, step: int) -> dict[str, float]:
        return rates(self.config.optim, self.timeline, step, self.batches.effective_batch)

    def _log(self, terms: Terms) -> None:
        """Every `log_every` steps, before each evaluation and at the end of each stage, log the means since the last
        time, over all ranks, to metrics.jsonl and W&B."""
        self.meter.add(terms)
        ends_stage = self.done == self.timeline.span(self.done - 1)[1]
        if self.done % self.config.tracking.log_every and not self.timeline.evaluates(self.done) and not ends_stage:
            return
        self.recent = means = self.meter.read(self.batches.effective_batch)
        if self.tracker:
            where = {
                "epoch": round(self.done / self.timeline.steps_per_epoch, 4),
                "stage": self.timeline.stage(self.done - 1),
            }
            memory = {"memory_gib": self.hardware.peak_memory()}
            self.tracker.log(self.done, {**where, **means, **self._rates(self.done - 1), **memory})

    def _check(self, terms: Terms) -> None:
        if self.gan_step.scaler.is_enabled() and self.gan_step.scaler.get_scale() < 1:
            raise TrainingError(
                f"gradients overflow fp16 even at the smallest loss scale (step {self.done}); {self._last_good()}"
            )
        if int(self.gan_step.bad_steps) < MOST_BAD_STEPS:
            return
        bad = [name for name, value in terms.items() if not value.isfinite()]
        raise TrainingError(
            f"{' and '.join(bad) or 'the gradient'} of step {self.done} is not finite, for at least {MOST_BAD_STEPS} "
            f"steps in a row; {self._last_good()}"
        )

    def _last_good(self) -> str:
        self.saver.close()
        saved = f"{self.run.last} (step {describe(self.run.last)['step']})" if self.run.last.is_file() else "none"
        return (
            f"last good checkpoint: {saved}. Start a new run in a different --out with lower learning rates "
            "(--optim.lr_pretrain, --optim.lr_g, --optim.lr_d), --optim.clip 1 or --precision fp32"
        )

    # Evaluation and files ---------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """Score the EMA generator, draw the sample grid, and keep the generator if it is the stage's best."""
        stage = self.timeline.stage(self.done - 1)
        distributed.share_buffers(self.gan_step.ema)
        improved = self.validation.evaluate(self.gan_step.ema, stage, self.done)
        if distributed.is_main():
            assert self.tracker is not None
            discriminator_steps = self.done - self.timeline.spans["critic"][0]
            troubles = self.validation.troubles() | check_adversarial_training(self.recent, discriminator_steps)
            values = {f"val/{name}": mean.mean for name, mean in self.validation.means.items()}
            self.tracker.log(self.done, {**values, "val/guard": ", ".join(troubles) or "fine"})
            if improved:
                export_generator(self.run.best, self.gan_step.ema, self._about())
            sample = self.run.sample(self.done)
            self.validation.draw_samples(sample, self.config.arch, self.gan_step.ema)
            self.tracker.picture(self.done, "samples", sample)
            epoch = self.done / self.timeline.steps_per_epoch
            mark = f", {self.validation.verdict()}" if improved else ""
            say(f"step {self.done} ({stage}, epoch {epoch:.1f}): {self.validation.line()}{mark}")
            for name, line in troubles.items():
                if (stage, name) not in self.warned:  # once per stage
                    say(f"  {name}: {line}")
                    self.warned.add((stage, name))
        self.meter.restart()

    def _about(self) -> dict[str, Any]:
        """Return the metadata of a checkpoint; with `--init`, also what the run's starting point was trained on."""
        return {
            "generator": {"arch": self.config.arch, "options": self.setup.options},
            "data": self.data.summary(),
            "config": to_dict(self.config),
            "effective_batch": self.batches.effective_batch,
            "step": self.done,
            "stage": self.timeline.stage(self.done - 1),
            "metrics": {name: mean.mean for name, mean in self.validation.means.items()},
            "grey": {name: mean.mean for name, mean in self.validation.grey.items()},
            **({"init_sha256": self.config.init_sha256} if self.config.init else {}),
            **({"trained_on": self.setup.trained_on} if self.setup.trained_on else {}),
        }

    def _save(self, wait: bool) -> None:
        """Save the run's state, in the background unless `wait` is set."""
        if not distributed.is_main():
            return
        about = {**self._about(), "validation": self.validation.state(), "scaler": self.gan_step.scaler.state_dict()}
        try:
            self.saver.save(self.run.last, self.gan_step.state_parts(), about)
            if wait:
                self.saver.wait()
        except FloatingPointError as error:
            raise TrainingError(f"{error} is not finite; {self._last_good()}") from None

    def _finish(self) -> None:
        """Export the finished generator and print its scores."""
        if not self.validation.scores:  # a finished run, started again
            self.validation.evaluate(self.gan_step.ema, self.timeline.stage(self.done - 1), self.done)
        hints = self.validation.score_automatic(self.gan_step.ema)
        if self.tracker is None:  # only the main process has one
            return
        export_generator(self.run.generator, self.gan_step.ema, self._about())
        self._result(hints).save(self.run.results)
        self.tracker.artifact(self.run.generator, self._about())
        size = self.config.data.size
        held_out = f"{counted(len(self.data.val), 'held-out photograph')} of {self.data.source.name}"
        print(f"\n{held_out}, {size} x {size}, after step {self.done}; mean ± half-width of the 95 % interval:")
        print(self.validation.table(self.config.arch))
        if hints:
            print(f"\nby the number of random hints:\n{hint_table(hints)}\n")
        print(f"pictures   {self.run.sample(self.done)}\ngenerator  {self.run.generator}")

    def _result(self, hints: HintMeans) -> EvaluationResult:
        """Return the last evaluation by protocol native, with the generator's cost and training record."""
        validation, arch, data = self.validation, self.config.arch, self.config.data
        about = describe_generator(self.run.generator, self._about())
        systems = {
            "grey": SystemResult(validation.grey_scores),
            arch: SystemResult(validation.scores, about=about, hints=hints),
            "truth": SystemResult(validation.truth_scores),
        }
        protocol = {"name": "native", **PROTOCOLS["native"].describe(data.size, data.val_limit, self.config.seed)}
        pictures = validation.pictures(arch, self.gan_step.ema, gallery_indices(self.data.val))
        source = self.data.source
        return make_result(protocol, source.name, self.data.val, source.classes, systems, pictures)

    def _announce(self) -> None:
        """Note the start in the run's folder, and print what is trained on what."""
        if not distributed.is_main():
            return
        self.run.begin(self.config, continues=0 < self.done < self.timeline.total_steps)
        write_json(self.run.photographs, self.data.listing())
        self.run.note_start(self.done, str(self.hardware), distributed.world_size(), self.batches.effective_batch)
        prior, rarity = self.setup.prior, self.setup.rarity
        if prior is not None and rarity is not None:
            save_prior(self.run.prior, prior, rarity)
        for line in start_lines(self.config, self.setup, self.data, self.timeline, self.hardware, self.run, self.done):
            print(line, flush=True)
        if self.wandb_note:
            print(self.wandb_note, flush=True)
