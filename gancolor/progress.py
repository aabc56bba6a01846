"""What a person at the terminal sees of a training that runs."""

import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from gancolor import distributed

WARM_UP = 5  # steps that are slower than the others
LONG_RUN = 2  # hours that a person is told of
SHOWN = ("l1", "gan", "discriminator")  # terms beside the bar


def say(line: str) -> None:
    """Prints a line, above the bar where there is one, on the first rank alone."""
    if distributed.is_main():
        tqdm.write(line)
        sys.stdout.flush()


class Progress:
    """A bar in photographs, on a terminal alone, and once a word on how long a long run will take.

    Args:
        name: what stands before the bar.
        total, done: steps.
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

    def step(self, terms: Mapping[str, Tensor], looks: bool) -> None:
        """One more step.

        Args:
            looks: whether the device is waited for anyway, so that terms can be shown.
        """
        if not self.bar.disable and (looks or self.device.type == "cpu"):
            shown = {name: f"{terms[name].item():.3g}" for name in SHOWN if name in terms}
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(self.effective_batch)
        self.taken += 1
        self.left -= 1
        self._foretell()

    def _foretell(self) -> None:
        """As soon as steps take their usual time."""
        if self.taken == WARM_UP:
            self.warm = time.perf_counter()
        elif self.taken == 2 * WARM_UP:
            hours = (time.perf_counter() - self.warm) / WARM_UP * self.left / 3600
            if hours > LONG_RUN:
                look = "; for a first look, --config configs/demo.yaml" if self.device.type == "cpu" else ""
                say(f"some {hours:.0f} hours to go{look}")

    def close(self) -> None:
        self.bar.close()
