"""The ASGI application: its endpoints and error responses."""

import asyncio
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from gancolor import __version__
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.image_files import TooManyPixelsError
from gancolor.serve import document
from gancolor.serve.colouring import MEDIA_TYPES, Coloured, colour
from gancolor.serve.guard import Guard
from gancolor.serve.limits import Limits
from gancolor.serve.metrics import Metrics
from gancolor.serve.options import QueryOptions, RequestOptions, first_error
from gancolor.serve.turns import FullError, Turns
from gancolor.serve.uploads import Upload, read_upload
from gancolor.utils.errors import InputError
from gancolor.utils.words import safe_name

PATH = "/colorize"
RETRY = {"Retry-After": "5"}  # seconds
GONE = 499  # nginx's status for a client that has left; nobody receives it, but the metrics count it


class Service:
    """Answers of the service.

    Attributes:
        stopping: whether the process is about to end.
    """

    def __init__(self, colorizer: Colorizer, limits: Limits) -> None:
        self.colorizer, self.limits = colorizer, limits
        self.turns = Turns(limits.waiting)
        self.metrics = Metrics(lambda: self.turns.taken)
        self.stopping = False

    async def colorize(self, request: Request, options: Annotated[QueryOptions, Query()]) -> Response:
        """Colour one photograph."""
        upload = None
        try:
            with self.turns.place():
                async with asyncio.timeout(self.limits.seconds):
                    upload = await read_upload(request)
                    coloured = await self._coloured(request, upload, with_fields(options, upload))
        except FullError:
            raise HTTPException(503, f"{self.limits.waiting} requests wait already; try again later", RETRY) from None
        except TimeoutError:
            if upload is None:
                raise HTTPException(408, f"the upload took longer than {self.limits.seconds} s") from None
            message = f"no result after {self.limits.seconds} s; try again later, or send a smaller photograph"
            raise HTTPException(503, message, RETRY) from None
        return as_response(coloured, upload.name)

    async def _coloured(self, request: Request, upload: Upload, options: RequestOptions) -> Coloured:
        task = partial(colour, self.colorizer, upload.data, options, self.limits.megapixels)
        try:
            return await self.turns.run(task, request.is_disconnected)
        except TooManyPixelsError as error:
            raise HTTPException(413, str(error)) from None
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except MemoryError:
            message = "the memory is full; send a smaller photograph, or give a lower size"
            raise HTTPException(503, message, RETRY) from None

    def health(self) -> document.Health:
        """Return whether the service would colour a photograph now."""
        reasons = {
            "stopping": self.stopping,
            "no further request may wait": self.turns.full,
            f"a photograph takes longer than {self.limits.seconds} s": self.turns.overdue,
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), None):
            raise HTTPException(503, reason, RETRY)
        return document.Health()

    def live(self) -> document.Health:
        """Return that the process answers."""
        return document.Health()

    def show_metrics(self) -> Response:
        """Return the metrics in the text format of Prometheus."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def build_app(service: Service) -> Guard:
    """Build the ASGI application. It has no pages beside /openapi.json: FastAPI's fetch scripts from elsewhere."""
    app = FastAPI(
        title="gancolor", version=__version__, description=document.DESCRIPTION + service.limits.describe(),
        docs_url=None, redoc_url=None, redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )  # fmt: skip
    app.post(PATH, response_class=Response, **document.COLORIZE)(service.colorize)
    app.get("/health", **document.READY)(service.health)
    app.get("/health/live", **document.LIVE)(service.live)
    app.get("/metrics", response_class=Response, **document.METRICS)(service.show_metrics)
    app.exception_handler(StarletteHTTPException)(_answer_refusal)
    app.exception_handler(RequestValidationError)(_answer_invalid)
    app.exception_handler(ClientDisconnect)(_answer_nobody)
    app.exception_handler(Exception)(_answer_fault)
    return Guard(app, service.limits.upload_mb, PATH, service.metrics)  # outside FastAPI's own middleware


def with_fields(options: RequestOptions, upload: Upload) -> RequestOptions:
    """Return the options with the fields of the form, which take precedence."""
    try:
        return RequestOptions(**{**options.model_dump(exclude_unset=True), **upload.fields})
    except ValidationError as error:
        raise HTTPException(422, first_error(error.errors())) from None


def as_response(coloured: Coloured, name: str) -> Response:
    """Return a coloured photograph as a download."""
    stem = safe_name(name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name, 80) or "photograph"
    file = f"{stem}_coloured.{coloured.format}"
    plain = file.encode("ascii", "replace").decode().replace("?", "_")  # for curl and others that know no filename*
    headers = {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=utf-8''{quote(file)}"}
    if coloured.notes:
        headers[document.NOTES] = "; ".join(coloured.notes).encode("ascii", "replace").decode()
    return Response(coloured.data, headers=headers, media_type=MEDIA_TYPES[coloured.format])


def refusal(status: int, message: object, headers: Any = None) -> JSONResponse:
    """Return an error in the shape that all have."""
    line = " ".join(str(message).split())[:400].encode("utf-8", "replace").decode()
    return JSONResponse(document.Refusal(error=line).model_dump(), status, headers)


async def _answer_refusal(request: Request, error: StarletteHTTPException) -> JSONResponse:
    own = {
        404: "no such endpoint; /openapi.json lists all",
        405: f"{request.method} is not for this endpoint; /openapi.json lists what is",
    }
    return refusal(error.status_code, own.get(error.status_code, error.detail), error.headers)


async def _answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return refusal(422, first_error(error.errors()))


async def _answer_nobody(request: Request, error: ClientDisconnect) -> JSONResponse:
    return refusal(GONE, "the client has left")


async def _answer_fault(request: Request, error: Exception) -> JSONResponse:
    return refusal(500, "a fault of the server; its log says more")
