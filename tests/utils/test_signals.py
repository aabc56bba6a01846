import os
import signal

import pytest

from gancolor.utils.signals import Interruption


@pytest.mark.parametrize("number", Interruption.SIGNALS)
def test_first_signal_is_kept(number):
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), number)
        assert interruption.signal == number


def test_second_ctrl_c_interrupts_at_once():
    """A second Ctrl-C does not wait for the end of the step."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is given SIG_IGN
    try:
        with Interruption():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_second_sigterm_is_ignored():
    """A sweep forwards SIGTERM to runs that may have got it already."""
    with Interruption() as interruption:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM


def test_signal_handlers_are_restored():
    before = [signal.getsignal(number) for number in Interruption.SIGNALS]
    with Interruption():
        assert [signal.getsignal(number) for number in Interruption.SIGNALS] != before
    assert [signal.getsignal(number) for number in Interruption.SIGNALS] == before
