"""Turns: photographs are coloured one at a time, in the order of their arrival."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

Result = TypeVar("Result")


class FullError(RuntimeError):
    """No further request may wait."""


class Turns:
    """Places for one photograph that is coloured and for some that wait.

    One at a time, because the network, and the joining of colour and lightness, already use every core; so memory holds
    the pixels of one photograph. A place is taken before the body is read, so that waiting uploads are limited too.
    A function that has started can't be interrupted, so it keeps its turn and a place until it ends, even if nobody
    waits for its result any more.
    """

    def __init__(self, waiting: int) -> None:
        self._requests = 0
        self._places = waiting + 1
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="colour")
        self._overdue: Future[Any] | None = None

    @property
    def overdue(self) -> bool:
        """Return whether a function still runs although nobody waits for its result."""
        return self._overdue is not None

    @property
    def taken(self) -> int:
        """Return the number of places that are taken."""
        return self._requests + self.overdue

    @property
    def full(self) -> bool:
        return self.taken >= self._places

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for the block. Raises FullError."""
        if self.full:
            raise FullError
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def run(self, function: Callable[[], Result], gone: Callable[[], Awaitable[bool]]) -> Result:
        """Run a function when its turn comes. If the caller is cancelled, a function that has started is overdue.

        Raises:
            ClientDisconnect: nobody waits for the result any more.
        """
        async with self._turn:
            if overdue := self._overdue:
                with suppress(Exception):  # its request has been answered
                    await asyncio.wrap_future(overdue)
            if await gone():
                raise ClientDisconnect
            running = self._thread.submit(function)
            try:
                return await asyncio.wrap_future(running)
            except asyncio.CancelledError:
                self._overdue = running
                running.add_done_callback(self._forget_overdue)
                raise

    def _forget_overdue(self, _: Future[Any]) -> None:
        self._overdue = None
