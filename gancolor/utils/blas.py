"""Single-threaded matrix products in NumPy, for work that already runs in several threads."""

import threading
from collections.abc import Callable
from functools import cache

from threadpoolctl import ThreadpoolController


class OneThread:
    """Context manager that limits matrix products to one thread each, for the whole process.

    Several threads would wait for each other at every product and take cores from the workers (twice the time on two
    cores).
    """

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


one_thread = OneThread()  # a single instance, because the setting applies to the process


def _in_a_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that ends at once. As long as the first thread that set a limit is alive, threadpoolctl
    (3.8, for OpenBLAS) ignores all others; see OpenBLASController, and
    https://github.com/joblib/threadpoolctl/issues/205"""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
