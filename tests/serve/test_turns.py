"""Turns and places, with functions that end when they are told to."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from gancolor.serve.turns import FullError, Turns


async def ask(turns: Turns, function: Callable[[], object], seconds: float = 20) -> object:
    async def stays() -> bool:
        return False

    with turns.place():
        async with asyncio.timeout(seconds):
            return await turns.run(function, stays)


@pytest.mark.parametrize("fails", [False, True])
def test_overdue_function_keeps_its_place_and_its_turn_until_it_ends(fails: bool) -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(20)
        ended.set()
        if fails:
            raise ValueError

    async def talk() -> None:
        turns = Turns(1)
        first = asyncio.create_task(ask(turns, wait))
        await asyncio.to_thread(begun.wait, 20)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert turns.overdue and turns.taken == 1
        next_one = asyncio.create_task(ask(turns, ended.is_set))
        await asyncio.sleep(0.05)
        assert turns.full and not next_one.done()
        with pytest.raises(FullError):
            await ask(turns, wait)
        go.set()
        assert await next_one is True
        assert not turns.overdue and turns.taken == 0

    asyncio.run(talk())


def test_request_that_leaves_the_queue_gives_its_place_back_at_once() -> None:
    go = threading.Event()

    async def talk() -> None:
        turns = Turns(1)
        first = asyncio.create_task(ask(turns, lambda: go.wait(20)))
        await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await ask(turns, list, 0.05)
        assert turns.taken == 1 and not turns.overdue
        go.set()
        assert await first is True

    asyncio.run(talk())
