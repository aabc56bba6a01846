"""What a training prints before its first step."""

from collections.abc import Iterator

from gancolor.color.bins import bin_centres
from gancolor.color.torch_lab import AB_RANGE
from gancolor.config.options import TrainConfig
from gancolor.data.dataset import Dataset
from gancolor.training.run_folder import RunFolder
from gancolor.training.schedule import Timeline
from gancolor.training.setup import Setup
from gancolor.utils import distributed
from gancolor.utils.hardware import Hardware


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
        yield f"left out: {data.left_out} photographs, grey or undecodable{such}; {run.photographs} lists them"
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
