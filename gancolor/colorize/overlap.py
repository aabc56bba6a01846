"""Reading, the network and writing, all at the same time, with a bound on what is between them."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Generic, TypeVar

from gancolor.colorizer import BATCH
from gancolor.cores import cores

IN_FLIGHT = 2**28  # bytes of decoded pictures between reading and writing; a larger one goes alone
LEAST_COST = 2**21  # bytes that an item counts for at least, so that not too many are open at a time

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class Stages(Generic[Item, Prepared, Answer, Result]):
    """Four stages of work: `prepare` and `finish` run in a pool of threads, many items at a time; `infer` in the
    caller's thread, on as many as are ready; `take` in one of its own. These two have the items in their order. NumPy,
    libvips, FFmpeg and the networks' libraries let go of the interpreter while they compute.

    Args:
        infer: an answer to each.
    """

    def __init__(
        self,
        prepare: Callable[[Item], Prepared],
        infer: Callable[[Sequence[Prepared]], Iterable[Answer]],
        finish: Callable[[Prepared, Answer], Result],
        take: Callable[[Result], object],
    ) -> None:
        self.prepare, self.infer, self.finish, self.take = prepare, infer, finish, take
        self._room = Room(IN_FLIGHT)
        self._prepared: Queue[tuple[int, Future[Prepared]] | None] = Queue()
        self._finished: Queue[tuple[int, Future[Result]] | None] = Queue()
        self._failure: BaseException | None = None

    def run(self, items: Iterable[tuple[Item, int]]) -> None:
        """Takes every item through. What the first failing stage raises, or Ctrl-C, stops all, once what is being
        written has been; then it is raised here.

        Args:
            items: and what each takes [bytes]. They are asked for in a thread of their own, as there is room for them.
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

    def _feed(self, items: Iterable[tuple[Item, int]], pool: ThreadPoolExecutor) -> None:
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
            # As many as are ready: where the network is what takes long, batches are full; else nothing waits for one.
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
    """Bytes that may be in flight; the threads that want some get it in the order in which they came."""

    def __init__(self, size: int) -> None:
        self.size, self.taken, self.open = size, 0, True
        self._changed = threading.Condition()

    def enter(self, cost: int) -> bool:
        """Waits for room; where an item needs more than there ever is, for all of it. False: it is closed."""
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
