"""Order of the training photographs: a function of seed, epoch and rank, so nothing needs saving for a resume."""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from gancolor.utils import distributed
from gancolor.utils.errors import InputError

WINDOW = 4  # shards that a rank draws photographs from at a time


class Order(Protocol):
    """Order of the training photographs, in epochs of `steps_per_epoch` steps."""

    steps_per_epoch: int

    def indices(self, epoch: int, step: int) -> Tensor:
        """Return the indices of this rank's photographs at a step of an epoch, int64 (batch_size,)."""
        ...


def _generator(seed: int, epoch: int) -> torch.Generator:
    """Create an epoch's random generator, seeded differently for every pair of seed and epoch (below 1,000,003)."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


class Shuffle:
    """Shuffle of all photographs in every epoch, without the last, incomplete batch. Each of R ranks takes every R-th
    photograph of the effective batch.

    Args:
        kept: indices of the photographs to train on, int64 (N,).
        batch_size: photographs per rank and step.
    """

    def __init__(self, kept: Tensor, batch_size: int, seed: int) -> None:
        self.kept, self.seed = kept, seed
        self.effective_batch = batch_size * distributed.world_size()
        self.steps_per_epoch = len(kept) // self.effective_batch
        self._epoch, self._order = -1, kept

    def indices(self, epoch: int, step: int) -> Tensor:
        if epoch != self._epoch:
            self._order = self._order[:0]  # freed before the next is created
            self._epoch, self._order = epoch, torch.randperm(len(self.kept), generator=_generator(self.seed, epoch))
        start = step * self.effective_batch
        mine = self._order[start : start + self.effective_batch][distributed.rank() :: distributed.world_size()]
        return self.kept[mine]


class ShardShuffle:
    """Shuffle that reads a few shards at a time. In every epoch, shards are dealt to the ranks at random. A rank goes
    through its shards in windows of a few, and shuffles the photographs of each window.

    All epochs have the same number of steps: as many whole batches as fit in the fewest photographs that a rank can be
    dealt.

    Args:
        kept: indices of the photographs to train on, int64 (N,), shard by shard.
        shards: the shard of each photograph, int64 (N,), ascending.
        batch_size: photographs per rank and step.

    Raises:
        InputError: fewer shards than ranks.
    """

    def __init__(self, kept: Tensor, shards: Tensor, batch_size: int, seed: int, window: int = WINDOW) -> None:
        self.kept, self.batch_size, self.seed, self.window = kept, batch_size, seed, window
        self.shards, counts = torch.unique_consecutive(shards, return_counts=True)
        self.starts, self.counts = (counts.cumsum(0) - counts).tolist(), counts.tolist()
        self.ranks = distributed.world_size()
        if 0 < len(self.shards) < self.ranks:
            raise InputError(
                f"--data.decode always gives each process shards of its own, and {self.ranks} processes can't share "
                f"{len(self.shards)} shards; start fewer, or pack the photographs into more shards"
            )
        fewest = sum(sorted(self.counts)[: len(self.shards) // self.ranks])
        self.steps_per_epoch = fewest // batch_size
        self._plans: dict[int, tuple[list[list[int]], list[int]]] = {}
        self._drawn: dict[tuple[int, int], Tensor] = {}

    def indices(self, epoch: int, step: int) -> Tensor:
        first, (windows, edges) = step * self.batch_size, self._plan(epoch)
        touched = self._touched(epoch, step)
        self._drawn = {key: drawn for key, drawn in self._drawn.items() if key[0] == epoch and key[1] in touched}
        found = []
        for number in touched:
            if (epoch, number) not in self._drawn:
                self._drawn[epoch, number] = self._draw(epoch, number, windows[number])
            begin = max(first - edges[number], 0)
            found.append(self._drawn[epoch, number][begin : first + self.batch_size - edges[number]])
        return torch.cat(found)

    def held(self, epoch: int, step: int) -> list[int]:
        """Return the shards that a step draws from and, unless these are two windows or more, those of the next."""
        (windows, edges), touched = self._plan(epoch), self._touched(epoch, step)
        wanted = [windows[number] for number in touched]
        if len(touched) == 1:
            after = touched[0] + 1
            goes_on = after < len(windows) and edges[after] < self.steps_per_epoch * self.batch_size
            wanted.append(windows[after] if goes_on else self._plan(epoch + 1)[0][0])
        return [int(self.shards[member]) for members in wanted for member in members]

    def _plan(self, epoch: int) -> tuple[list[list[int]], list[int]]:
        """Return this rank's windows of shards, and the number of photographs before each window and in total."""
        if epoch not in self._plans:
            dealt = torch.randperm(len(self.shards), generator=_generator(self.seed, epoch))
            mine = dealt[distributed.rank() :: self.ranks].tolist()
            windows = [mine[start : start + self.window] for start in range(0, len(mine), self.window)]
            edges = accumulate((sum(self.counts[member] for member in members) for members in windows), initial=0)
            near = {number: plan for number, plan in self._plans.items() if abs(number - epoch) <= 1}
            self._plans = near | {epoch: (windows, list(edges))}
        return self._plans[epoch]

    def _touched(self, epoch: int, step: int) -> list[int]:
        """Return the windows that a step draws from."""
        first, (_, edges) = step * self.batch_size, self._plan(epoch)
        return list(range(bisect_right(edges, first) - 1, bisect_left(edges, first + self.batch_size)))

    def _draw(self, epoch: int, number: int, members: list[int]) -> Tensor:
        """Return the indices of the photographs of a window, shuffled."""
        generator = _generator(self.seed, epoch)
        generator.manual_seed((generator.initial_seed() * 1_000_003 + distributed.rank() * 65_537 + number) % 2**63)
        kept = torch.cat([self.kept[self.starts[m] : self.starts[m] + self.counts[m]] for m in members])
        return kept[torch.randperm(len(kept), generator=generator)]
