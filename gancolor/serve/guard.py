"""ASGI middleware around the application: size of the body, headers of every answer, metrics."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gancolor.serve.metrics import Metrics

# Answers are data, never a page: no browser may guess a type, run what it finds, or keep it.
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
LINGER = 5.0  # seconds in which the rest of a refused body is read


class Guard:
    """Middleware that limits bodies to `upload_mb` megabytes, and notes every request to `path` in the metrics."""

    def __init__(self, app: ASGIApp, upload_mb: int, path: str, metrics: Metrics) -> None:
        self.app, self.upload_mb, self.path, self.metrics = app, upload_mb, path, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # as monitors ask for /health; the server leaves out the answer's body
            scope = {**scope, "method": "GET"}
        start, body = time.monotonic(), Body(Headers(scope=scope), receive, self.upload_mb)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                if scope["path"] == self.path:
                    self.metrics.observe(message["status"], time.monotonic() - start)
                await body.drain()
            await send(message)

        await self.app(scope, body.receive, send_guarded)


class Body:
    """A request's body, which is refused (413) once it is larger than allowed."""

    def __init__(self, headers: Headers, receive: Receive, upload_mb: int) -> None:
        length = headers.get("content-length", "")
        self._declared = int(length) if length.isdecimal() else 0
        self._receive, self._most, self._upload_mb = receive, upload_mb * 2**20, upload_mb
        self._read = 0
        self._ended = self._declared == 0 and "transfer-encoding" not in headers
        self._expects_continue = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        """Receive a message. Raises HTTPException if the body is too large."""
        if self._declared > self._most:  # before the first byte
            raise self._too_large()
        message = await self._next()
        if self._read > self._most:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Read what is left of the body, before an answer that did not need it.

        Most clients read the answer only after they have sent the body; a connection that is closed earlier looks to
        them like a fault of the network. A client that expects 100 Continue (as curl does) has not sent anything.
        """
        if self._expects_continue and not self._read:
            return
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(LINGER):
                while not self._ended:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        self._ended = self._ended or message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the upload is larger than {self._upload_mb} MB; send a smaller file")
