"""Turns: photographs are coloured one at a time, in the order of their arrival."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect

Result = TypeVar("Result")


class FullError(RuntimeError):
    """No further request may wait."""


class Turns:
    """Places for one photograph that is coloured and for some that wait.

    One at a time, because the network, and the joining of colour and lightness, already use every core; so memory holds
    the pixels of one photograph. A place is taken before the body is read, so that waiting uploads are limited too.

    Attributes:
        taken: places.
    """

    def __init__(self, waiting: int) -> None:
        self.taken = 0
        self._places = waiting + 1
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="colour")

    @property
    def full(self) -> bool:
        return self.taken >= self._places

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for the block. Raises FullError."""
        if self.full:
            raise FullError
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, function: Callable[[], Result], gone: Callable[[], Awaitable[bool]]) -> Result:
        """Run a function when its turn comes. If the caller is cancelled, a function that has started still ends.

        Raises:
            ClientDisconnect: nobody waits for the result any more.
        """
        async with self._turn:
            if await gone():
                raise ClientDisconnect
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
