"""A pipeline that reads, infers and writes at the same time, with bounded memory."""

import _thread
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

from gancolor.inference.colorizer import BATCH
from gancolor.utils.cores import cores
from gancolor.utils.signals import ctrl_c_calls

MAX_BYTES_IN_FLIGHT = 2**28  # of decoded pictures between reading and writing; a larger picture is processed alone
MIN_ITEM_BYTES = 2**21  # the least that an item counts for, which limits how many are open at a time

Item = TypeVar("Item")
Input = TypeVar("Input")
Prediction = TypeVar("Prediction")
Result = TypeVar("Result")


class Pipeline(Generic[Item, Input, Prediction, Result]):
    """A pipeline of four stages that run at the same time; an object runs once.

    `preprocess` and `postprocess` run in a thread pool, on many items at a time. `infer` runs in the caller's thread,
    on a batch of the inputs that are ready, and `consume` in a thread of its own; both receive items in order. Threads
    suffice because NumPy, libvips, FFmpeg and the networks' libraries release the interpreter lock while they compute.

    Args:
        infer: returns one prediction per input.
    """

    def __init__(
        self,
        preprocess: Callable[[Item], Input],
        infer: Callable[[Sequence[Input]], Iterable[Prediction]],
        postprocess: Callable[[Input, Prediction], Result],
        consume: Callable[[Result], object],
    ) -> None:
        self.preprocess, self.infer, self.postprocess, self.consume = preprocess, infer, postprocess, consume
        self._memory = ByteSemaphore(MAX_BYTES_IN_FLIGHT)
        self._pool = ThreadPoolExecutor(max(2, len(cores())))
        self._submitted: SimpleQueue[Future[tuple[Input, int]] | None] = SimpleQueue()  # None: the end
        self._error: BaseException | None = None

    def run(self, items: Iterable[tuple[Item, int]]) -> None:
        """Process every item.

        The first exception of any stage, or Ctrl-C, stops the pipeline once current writes are complete, and is raised
        here. A second Ctrl-C ends the process without waiting for them.

        Args:
            items: each with the memory it takes [bytes]. They are requested in a separate thread, when there is room
                for them.
        """
        # An executor of one thread runs its tasks in the order of their submission.
        with ctrl_c_calls(self._interrupt), self._pool, ThreadPoolExecutor(1) as source, ThreadPoolExecutor(1) as sink:
            try:
                source.submit(self._submit, items).add_done_callback(self._stop_if_failed)
                for batch in self._batches():
                    predictions = self.infer([model_input for model_input, _ in batch])
                    for (model_input, size), prediction in zip(batch, predictions, strict=True):
                        result = self._pool.submit(self.postprocess, model_input, prediction)
                        sink.submit(self._consume, result, size).add_done_callback(self._stop_if_failed)
                sink.shutdown()
            except BaseException as error:
                self._stop(error)
        if self._error:
            raise self._error

    def _interrupt(self) -> None:
        """Stop at Ctrl-C. An exception in the main thread could leave a lock held, as an import's, and threads waiting
        for it."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._error = self._error or KeyboardInterrupt()
        # In another thread, because this one may hold a lock that `_stop` waits for; `threading` needs locks to start
        # one.
        _thread.start_new_thread(self._stop, (self._error,))

    def _submit(self, items: Iterable[tuple[Item, int]]) -> None:
        """Submit items to `preprocess` as memory allows."""
        try:
            for item, size in items:
                size = max(size, MIN_ITEM_BYTES)
                if not self._memory.acquire(size):
                    break
                self._submitted.put(self._pool.submit(self._preprocess, item, size))
        finally:
            self._submitted.put(None)

    def _preprocess(self, item: Item, size: int) -> tuple[Input, int]:
        return self.preprocess(item), size

    def _batches(self) -> Iterator[list[tuple[Input, int]]]:
        """Wait for the next input, and yield it with those after it that are ready, each with its item's size.

        Batches fill up if the network is the bottleneck; otherwise nothing waits for others.
        """
        pending: deque[Future[tuple[Input, int]] | None] = deque()
        while (first := pending.popleft() if pending else self._submitted.get()) and not self._error:
            batch = [first.result()]
            while not self._submitted.empty():  # only this thread takes from it, so `get` does not wait
                pending.append(self._submitted.get())
            while len(batch) < BATCH and pending and (following := pending[0]) and following.done():
                batch.append(following.result())
                pending.popleft()
            yield batch

    def _consume(self, result: Future[Result], size: int) -> None:
        if not self._error:
            self.consume(result.result())
        self._memory.release(size)

    def _stop_if_failed(self, task: Future[None]) -> None:
        if error := task.exception():
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        """Start no further work. Only the first error is kept, because others, such as cancelled futures, follow."""
        self._error = self._error or error
        self._memory.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class ByteSemaphore:
    """A semaphore that counts bytes. A request for more than all of them waits until all are free, and is granted."""

    def __init__(self, size: int) -> None:
        self._size, self._acquired, self._closed = size, 0, False
        self._changed = threading.Condition()

    def acquire(self, size: int) -> bool:
        """Wait for room for `size` bytes. Return False if closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._acquired or self._acquired + size <= self._size)
            self._acquired += size
            return not self._closed

    def release(self, size: int) -> None:
        with self._changed:
            self._acquired -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Wake all that wait; `acquire` returns False from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
