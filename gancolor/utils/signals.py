"""Graceful stop: Ctrl-C and SIGTERM ask a run to finish the current step, save and stop."""

import signal
from collections.abc import Iterator
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
def delayed_ctrl_c() -> Iterator[None]:
    """Raise a Ctrl-C that comes inside only at the end: modules written in C turn it into errors of their import."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
