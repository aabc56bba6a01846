"""Graceful stop: Ctrl-C and SIGTERM ask a run to finish the current step, save and stop."""

import signal
from types import FrameType, TracebackType


class Interruption:
    """Context manager that stores the first SIGINT or SIGTERM in `signal`; a second one has its usual effect."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._keep) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
