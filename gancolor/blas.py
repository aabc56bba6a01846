"""NumPy's matrix products, kept to one thread where the work is shared out over threads already."""

import threading
from collections.abc import Callable
from functools import cache

from threadpoolctl import ThreadpoolController


class OneThread:
    """While anyone is inside, a matrix product takes one thread: several would wait for each other at every product,
    and take the cores from those that work (on two cores twice the time)."""

    def __init__(self) -> None:
        self.inside, self.lock = 0, threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                _in_a_thread(self._limit)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                _in_a_thread(self._restore)

    def _limit(self) -> None:
        self.limit = _blas().limit(limits=1)

    def _restore(self) -> None:
        self.limit.restore_original_limits()


one_thread = OneThread()  # the setting is the process's, so there is one


def _in_a_thread(work: Callable[[], None]) -> None:
    """In a thread that ends at once: threadpoolctl lets the first thread alone set this, for as long as it lives."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
