"""A pipeline that reads, infers and writes at the same time, with bounded memory."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Generic, TypeVar

from gancolor.inference.colorizer import BATCH
from gancolor.utils.cores import cores

IN_FLIGHT = 2**28  # most bytes of decoded pictures between reading and writing; a larger picture is processed alone
LEAST_COST = 2**21  # least bytes that an item counts for, which limits how many are open at a time

Input = TypeVar("Input")
Prepared = TypeVar("Prepared")
Answer = TypeVar("Answer")
Output = TypeVar("Output")


class Stages(Generic[Input, Prepared, Answer, Output]):
    """A pipeline of four stages that run at the same time.

    `prepare` and `finish` run in a thread pool, on many items at a time. `infer` runs in the caller's thread, on a
    batch of the items that are ready, and `take` in a thread of its own; both receive items in order. Threads suffice
    because NumPy, libvips, FFmpeg and the networks' libraries release the interpreter lock while they compute.

    Args:
        infer: returns one answer per item.
    """

    def __init__(
        self,
        prepare: Callable[[Input], Prepared],
        infer: Callable[[Sequence[Prepared]], Iterable[Answer]],
        finish: Callable[[Prepared, Answer], Output],
        take: Callable[[Output], object],
    ) -> None:
        self.prepare, self.infer, self.finish, self.take = prepare, infer, finish, take
        self._room = Room(IN_FLIGHT)
        self._prepared: Queue[tuple[int, Future[Prepared]] | None] = Queue()
        self._finished: Queue[tuple[int, Future[Output]] | None] = Queue()
        self._failure: BaseException | None = None

    def run(self, items: Iterable[tuple[Input, int]]) -> None:
        """Process every item.

        The first exception of any stage, or Ctrl-C, stops the pipeline once current writes are complete, and is raised
        here.

        Args:
            items: each with the memory it takes [bytes]. They are requested in a separate thread, when there is room
                for them.
        """
        with ThreadPoolExecutor(max(2, len(cores()))) as pool:
            ends = [
                threading.Thread(target=self._guarded, args=(self._feed, items, pool)),
                threading.Thread(target=self._guarded, args=(self._collect,)),
            ]
            for end in ends:
                end.start()
            try:
                self._infer_all(pool)
            except BaseException as error:
                self._fail(error)
            finally:
                if self._failure:
                    pool.shutdown(wait=False, cancel_futures=True)
                self._finished.put(None)
                for end in ends:
                    end.join()
        if self._failure:
            raise self._failure

    def _feed(self, items: Iterable[tuple[Input, int]], pool: ThreadPoolExecutor) -> None:
        try:
            for item, cost in items:
                cost = max(cost, LEAST_COST)
                if not self._room.enter(cost):
                    break
                self._prepared.put((cost, pool.submit(self.prepare, item)))
        finally:
            self._prepared.put(None)

    def _infer_all(self, pool: ThreadPoolExecutor) -> None:
        while (first := self._prepared.get()) and not self._failure:
            batch = [(first[0], first[1].result())]
            # Take only what is ready: batches fill up if the network is the bottleneck; otherwise nothing waits.
            waiting = self._prepared.queue
            while len(batch) < BATCH and waiting and waiting[0] and waiting[0][1].done():
                cost, future = waiting.popleft()
                batch.append((cost, future.result()))
            answers = self.infer([prepared for _, prepared in batch])
            for (cost, prepared), answer in zip(batch, answers, strict=True):
                self._finished.put((cost, pool.submit(self.finish, prepared, answer)))

    def _collect(self) -> None:
        while finished := self._finished.get():
            cost, future = finished
            if not self._failure:
                self.take(future.result())
            self._room.leave(cost)

    def _guarded(self, work: Callable[..., None], *args: object) -> None:
        try:
            work(*args)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._room.close()


class Room:
    """A limit on the bytes in flight."""

    def __init__(self, size: int) -> None:
        self.size, self.taken, self.open = size, 0, True
        self._changed = threading.Condition()

    def enter(self, cost: int) -> bool:
        """Wait for room for `cost` bytes, or for all of it if the item exceeds the limit. Return False if closed."""
        with self._changed:
            self._changed.wait_for(lambda: not self.open or not self.taken or self.taken + cost <= self.size)
            self.taken += cost
            return self.open

    def leave(self, cost: int) -> None:
        with self._changed:
            self.taken -= cost
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.open = False
            self._changed.notify_all()
