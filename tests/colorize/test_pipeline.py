import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from gancolor.colorize.pipeline import MIN_ITEM_BYTES, ByteSemaphore, Pipeline
from gancolor.inference.colorizer import BATCH


class Work:
    """Numbers that are doubled on the way, and a record of what happened."""

    def __init__(self, fails: str = "", at: int = -1) -> None:
        self.fails, self.at = fails, at
        self.taken: list[int] = []
        self.batches: list[int] = []
        self.flying, self.most = 0, 0
        self.lock = threading.Lock()

    def fail(self, stage: str, number: int) -> None:
        if (stage, number) == (self.fails, self.at):
            raise OSError(28, f"{stage} {number}")

    def items(self, count: int, size: int = 0):
        for number in range(count):
            self.fail("items", number)
            with self.lock:
                self.flying += 1
                self.most = max(self.most, self.flying)
            yield number, size

    def preprocess(self, number: int) -> int:
        time.sleep(0.002 * (number % 3))
        self.fail("preprocess", number)
        return number

    def infer(self, numbers: Sequence[int]) -> list[int]:
        time.sleep(0.003)
        self.batches.append(len(numbers))
        for number in numbers:
            self.fail("infer", number)
        return [2 * number for number in numbers]

    def postprocess(self, number: int, double: int) -> int:
        time.sleep(0.002 * (number % 2))
        self.fail("postprocess", number)
        assert double == 2 * number
        return double

    def consume(self, double: int) -> None:
        self.fail("consume", double // 2)
        self.taken.append(double)
        with self.lock:
            self.flying -= 1

    def run(self, count: int, size: int = 0) -> None:
        Pipeline(self.preprocess, self.infer, self.postprocess, self.consume).run(self.items(count, size))


def test_all_come_through_in_their_order() -> None:
    work = Work()
    work.run(300)
    assert work.taken == [2 * number for number in range(300)]
    assert max(work.batches) > 1
    assert max(work.batches) <= BATCH


def test_what_is_in_flight_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gancolor.colorize.pipeline.MAX_BYTES_IN_FLIGHT", 4 * MIN_ITEM_BYTES)
    work = Work()
    work.run(40)  # that take nothing count for something
    assert 2 <= work.most <= 5  # four, and one that waits to enter
    work = Work()
    work.run(10, size=3 * MIN_ITEM_BYTES)
    assert work.most <= 2
    work = Work()
    work.run(5, size=100 * MIN_ITEM_BYTES)  # more than there is room for: one by one
    assert work.most <= 2
    assert len(work.taken) == 5


@pytest.mark.parametrize("stage", ["items", "preprocess", "infer", "postprocess", "consume"])
@pytest.mark.parametrize("at", [0, 17])
def test_a_failure_anywhere_stops_all(stage: str, at: int) -> None:
    before = threading.active_count()
    work = Work(stage, at)
    with pytest.raises(OSError, match=f"{stage} {at}"):
        work.run(1000)
    assert len(work.taken) < 1000
    assert threading.active_count() == before


@pytest.mark.parametrize("stage", ["items", "infer", "preprocess", "consume"])
def test_ctrl_c_stops_all_without_an_exception_in_the_main_thread(stage: str) -> None:
    """Wherever it comes, what the main thread is doing is completed."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is given SIG_IGN
    before = threading.active_count()
    work = Work()
    done = []

    def interrupting(at: int, number: int) -> None:
        if number == at:
            signal.raise_signal(signal.SIGINT)
            done.append(stage)  # in the main thread, an exception would have come before

    def items() -> Iterator[tuple[int, int]]:
        for number, size in work.items(10_000):
            interrupting(17 if stage == "items" else -1, number)
            yield number, size

    def preprocess(number: int) -> int:
        interrupting(17 if stage == "preprocess" else -1, number)
        return work.preprocess(number)

    def infer(numbers: Sequence[int]) -> list[int]:
        interrupting(17 if stage == "infer" and 17 in numbers else -1, 17)
        return work.infer(numbers)

    def consume(double: int) -> None:
        interrupting(34 if stage == "consume" else -1, double)
        work.consume(double)

    try:
        with pytest.raises(KeyboardInterrupt):
            Pipeline(preprocess, infer, work.postprocess, consume).run(items())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)
    assert done == [stage]
    assert work.taken == [2 * number for number in range(len(work.taken))]
    assert len(work.taken) < 1000
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_ctrl_c_during_the_last_write_is_not_lost() -> None:
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    work = Work()

    def consume(double: int) -> None:
        if double == 2 * 9:
            os.kill(os.getpid(), signal.SIGINT)
        work.consume(double)

    try:
        for _ in range(50):
            with pytest.raises(KeyboardInterrupt):
                Pipeline(int, lambda numbers: numbers, lambda number, _: 2 * number, consume).run(work.items(10))
    finally:
        signal.signal(signal.SIGINT, usual)


SLOW = """
import signal, time
from gancolor.colorize.pipeline import Pipeline

signal.signal(signal.SIGINT, signal.default_int_handler)

def write(number, _):
    print("writing", flush=True)
    time.sleep(60)

Pipeline(int, lambda numbers: numbers, write, print).run([(1, 1)])
"""


def test_a_second_ctrl_c_does_not_wait() -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT


def test_ctrl_c_in_the_network_stops_all() -> None:
    before = threading.active_count()
    work = Work()

    def interrupted(_: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline(work.preprocess, interrupted, work.postprocess, work.consume).run(work.items(1000))
    assert threading.active_count() == before


def test_closed_semaphore_wakes_who_waits() -> None:
    semaphore = ByteSemaphore(10)
    assert semaphore.acquire(8)
    acquired: list[bool] = []
    waiting = threading.Thread(target=lambda: acquired.append(semaphore.acquire(8)))
    waiting.start()
    waiting.join(0.05)
    assert not acquired
    semaphore.close()
    waiting.join()
    assert acquired == [False]
    assert not semaphore.acquire(1)
