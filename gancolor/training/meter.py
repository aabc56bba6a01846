"""Running means of loss terms, and training speed, between two log entries."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from gancolor.utils import distributed


class Meter:
    """Accumulates loss terms on the device. Only `read` makes the host wait for the device."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Reset the sums and the clock. Call it after anything but a training step, so that the speed counts steps
        only."""
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.since = self.latest = time.perf_counter()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add a step's scalars. If the names change (a stage has begun), restart the sums with this step."""
        if self.sums.keys() != terms.keys():
            self.sums = {name: torch.zeros_like(value) for name, value in terms.items()}
            self.steps, self.since = 0, self.latest
        for name, value in terms.items():
            self.sums[name] += value
        self.steps += 1
        self.latest = time.perf_counter()

    def read(self, effective_batch: int) -> dict[str, float]:
        """Return the means over steps and ranks since the last reading, and "photographs_per_second"."""
        means = distributed.mean(torch.stack(list(self.sums.values())) / self.steps).tolist()
        pace = self.steps * effective_batch / (time.perf_counter() - self.since)
        read = {**dict(zip(self.sums, means, strict=True)), "photographs_per_second": pace}
        self.restart()
        return read
