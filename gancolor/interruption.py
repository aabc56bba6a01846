"""Ctrl-C and SIGTERM ask a run to save and stop; the step at hand is finished first."""

import signal
from types import FrameType, TracebackType


class Interruption:
    """While it is entered, the first SIGINT or SIGTERM is kept in `signal`; a second one acts as it does elsewhere."""

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
