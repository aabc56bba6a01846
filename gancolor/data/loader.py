"""Training batches, prefetched in a background thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from gancolor.data.cache.photographs import Photographs
from gancolor.data.catalogue import Selection
from gancolor.data.sampler import Order, ShardShuffle, Shuffle
from gancolor.data.sources.reading import Store
from gancolor.data.sources.shards import ShardCatalogue
from gancolor.data.uncached import Decoder
from gancolor.utils import distributed

AHEAD = 2  # batches to prefetch


class Batches:
    """Selection of the photographs for each step: a function of the step, so nothing needs saving for a resume.

    If photographs are decoded from shards in every epoch, they are drawn from a few shards at a time; otherwise from
    the whole set.

    Args:
        kept: indices of the photographs to train on, int64 (N,).
        batch_size: photographs per rank and step.
    """

    def __init__(self, photographs: Photographs, kept: Tensor, batch_size: int, seed: int) -> None:
        self.photographs, self.kept, self.batch_size = photographs, kept, batch_size
        self.effective_batch = batch_size * distributed.world_size()
        self.store = _store(photographs)
        self.order: Order = (
            ShardShuffle(kept, photographs.shards_of(kept), batch_size, seed)
            if self.store
            else Shuffle(kept, batch_size, seed)
        )
        self.steps_per_epoch = self.order.steps_per_epoch

    def indices(self, step: int) -> Tensor:
        """Return the indices of this rank's photographs at a step, int64 (batch_size,)."""
        return self.order.indices(*divmod(step, self.steps_per_epoch))

    def stream(self, first: int, last: int, device: torch.device) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (step, pictures, labels) for steps first..last - 1, on the device: uint8 (B, 3, S, S), int64 (B,).

        A background thread fetches the next batches, one at a time, while the current one is used.
        """

        def fetch(step: int) -> tuple[Tensor, Tensor]:
            if self.store and isinstance(self.order, ShardShuffle):
                self.store.hold(self.order.held(*divmod(step, self.steps_per_epoch)))
            indices = self.indices(step)
            pictures = self.photographs.take(indices)
            if device.type == "cuda" and pictures.device.type == "cpu":
                pictures = pictures.pin_memory()
            return pictures, self.photographs.labels_of(indices)

        pending = deque[Future[tuple[Tensor, Tensor]]]()
        pool = ThreadPoolExecutor(1, initializer=_use, initargs=(device,))
        try:
            for step in range(first, last):
                while len(pending) <= AHEAD and step + len(pending) < last:
                    pending.append(pool.submit(fetch, step + len(pending)))
                pictures, labels = pending.popleft().result()
                pinned = device.type == "cuda"
                yield step, pictures.to(device, non_blocking=pinned), labels.to(device, non_blocking=pinned)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if self.store:  # so that no fetch waits for the copy of a shard
                self.store.hold([])
            pool.shutdown(wait=True)


def _store(photographs: Photographs) -> Store | None:
    """Return the shards that photographs are decoded from in every epoch, or None if they are not."""
    items = photographs.pictures.items if isinstance(photographs.pictures, Decoder) else None
    catalogue = items.catalogue if isinstance(items, Selection) else None
    return catalogue.store if isinstance(catalogue, ShardCatalogue) else None


def _use(device: torch.device) -> None:
    """Set the thread's current GPU: a new thread starts on GPU 0, which pinning memory would initialize."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
