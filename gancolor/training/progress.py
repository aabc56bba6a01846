"""Progress of a training on the terminal."""

import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from gancolor.utils import distributed

WARM_UP = 5  # first steps, which are slower
LONG_RUN = 2  # [hours]; longer runs announce the time left
SHOWN = ("l1", "gan", "discriminator")  # terms shown beside the bar


def say(line: str) -> None:
    """Print a line, above the progress bar if there is one, on the first rank only."""
    if distributed.is_main():
        tqdm.write(line)
        sys.stdout.flush()


class Progress:
    """Progress bar that counts photographs (on terminals only), and one message on the time left of a long run.

    Args:
        name: text before the bar.
        total, done: steps of the run, and those finished so far.
    """

    def __init__(self, name: str, total: int, done: int, effective_batch: int, device: torch.device) -> None:
        self.left, self.taken, self.effective_batch, self.device = total - done, 0, effective_batch, device
        self.bar = tqdm(
            total=total * effective_batch,
            initial=done * effective_batch,
            desc=name,
            unit="photo",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not (distributed.is_main() and sys.stderr.isatty()),
        )

    def step(self, terms: Mapping[str, Tensor], synchronized: bool) -> None:
        """Count one step.

        Args:
            synchronized: whether the host has waited for the device, so that reading the terms costs nothing.
        """
        if not self.bar.disable and (synchronized or self.device.type == "cpu"):
            shown = {name: f"{terms[name].item():.3g}" for name in SHOWN if name in terms}
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(self.effective_batch)
        self.taken += 1
        self.left -= 1
        self._announce_time_left()

    def _announce_time_left(self) -> None:
        """Announce the time left of a long run, as soon as steps take their usual time."""
        if self.taken == WARM_UP:
            self.warm = time.perf_counter()
        elif self.taken == 2 * WARM_UP:
            hours = (time.perf_counter() - self.warm) / WARM_UP * self.left / 3600
            if hours > LONG_RUN:
                look = "; for a quick first run, give --config demo" if self.device.type == "cpu" else ""
                say(f"about {hours:.0f} hours left{look}")

    def close(self) -> None:
        self.bar.close()
