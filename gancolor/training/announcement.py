"""What a training prints before its first step."""

from collections.abc import Iterator

from gancolor.color.bins import bin_centres
from gancolor.color.torch_lab import AB_RANGE
from gancolor.config.options import TrainConfig
from gancolor.data.dataset import Dataset
from gancolor.training.run_folder import RunFolder
from gancolor.training.schedule import Timeline, rates
from gancolor.training.setup import Setup
from gancolor.utils import distributed
from gancolor.utils.hardware import Hardware
from gancolor.utils.words import counted


def start_lines(
    config: TrainConfig, setup: Setup, data: Dataset, timeline: Timeline, hardware: Hardware, run: RunFolder, done: int
) -> Iterator[str]:
    """Yield the lines: networks, photographs, batches and stages, notes on the configuration, and the run's folder.

    Args:
        done: steps that an earlier start of the run has finished.
    """
    batches = data.batches
    yield f"training {config.arch} ({setup.gan_step}) on {hardware}"
    yield f"on {data}"
    if data.left_out:
        skipped = data.train.skipped | data.val.skipped
        such = next((f" (such as {name}: {reason})" for name, reason in skipped.items()), "")
        left_out = counted(data.left_out, "photograph")
        yield f"left out: {left_out}, grey or undecodable{such}; {run.photographs} lists them"
    yield (
        f"effective batch {batches.effective_batch} ({config.data.batch_size} x {distributed.world_size()}), "
        f"{batches.steps_per_epoch} steps per epoch: {timeline}"
    )
    if not done:
        yield from setup.notes
    prior, rarity = setup.prior, setup.rarity
    if prior is not None and rarity is not None:
        likeliest = bin_centres(len(prior))[prior.argmax()] * AB_RANGE
        yield (
            f"colours: the most frequent bin, a, b = {likeliest[0]:.0f}, {likeliest[1]:.0f}, has {prior.max():.0%} of "
            f"the pixels; the bins' weights are {rarity.min():.2f} to {rarity.max():.1f} (plotted in {run.prior})"
        )
    yield f"run folder {run.folder}{f', resumed at step {done}' if done else ''}"
    if done:
        yield from _changed_length(config, timeline, run, done, batches.effective_batch)


def _changed_length(
    config: TrainConfig, timeline: Timeline, run: RunFolder, done: int, effective_batch: int
) -> Iterator[str]:
    """Yield what other numbers of epochs than at the start before change."""
    stages = {stage: run.former[stage] for stage in ("pretrain_epochs", "critic_epochs", "epochs")}
    former = Timeline(timeline.steps_per_epoch, **stages)
    if former.spans != timeline.spans:
        before = rates(config.optim, former, done - 1, effective_batch)["lr_g"]
        now = rates(config.optim, timeline, done, effective_batch)["lr_g"]
        yield (
            f"trains for {counted(timeline.total_steps, 'step')} instead of {former.total_steps:,}; the learning rates "
            f"follow the new length: the generator's is now {now:.2g}, and was {before:.2g} at step {done}"
        )
