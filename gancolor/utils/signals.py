"""Graceful stop: Ctrl-C and SIGTERM ask a run to finish the current step, save and stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interruption:
    """Context manager that stores the first SIGINT or SIGTERM in `signal`.

    A Ctrl-C after it has its usual effect. A further SIGTERM is ignored, because the same stop often arrives twice:
    from the sweep or torchrun, and from the system, which sends it to the whole process group.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._keep) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            signal.signal(signal.SIGINT, self._before[signal.SIGINT])

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def ctrl_c_calls(function: Callable[[], object]) -> Iterator[None]:
    """Call a function at Ctrl-C, instead of raising KeyboardInterrupt between any two instructions of the main thread.

    In other threads, and where Ctrl-C is ignored or ends the process, nothing changes.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: function())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def delayed_ctrl_c() -> Iterator[None]:
    """Raise a Ctrl-C that comes inside only at the end: modules written in C turn it into errors of their import."""
    came = threading.Event()
    with ctrl_c_calls(came.set):
        yield
    if came.is_set():
        raise KeyboardInterrupt
