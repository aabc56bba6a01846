"""Running means of a step's terms, and the pace, between two lines of the record."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from gancolor import distributed


class Meter:
    """Sums terms on their device; only `read` waits for it."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets what was summed: after anything that is no step, so that the pace is that of steps."""
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.since = self.latest = time.perf_counter()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Adds a step's scalars. Where the names change (a stage has begun), it starts anew, with this step."""
        if self.sums.keys() != terms.keys():
            self.sums = {name: torch.zeros_like(value) for name, value in terms.items()}
            self.steps, self.since = 0, self.latest
        for name, value in terms.items():
            self.sums[name] += value
        self.steps += 1
        self.latest = time.perf_counter()

    def read(self, effective_batch: int) -> dict[str, float]:
        """The means over steps and ranks since the last reading, and "photographs_per_second"."""
        means = distributed.mean(torch.stack(list(self.sums.values())) / self.steps).tolist()
        pace = self.steps * effective_batch / (time.perf_counter() - self.since)
        read = {**dict(zip(self.sums, means, strict=True)), "photographs_per_second": pace}
        self.restart()
        return read
