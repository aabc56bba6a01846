"""Documentation of the endpoints, for the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from gancolor.serve.colouring import MEDIA_TYPES
from gancolor.serve.options import form_schema
from gancolor.serve.uploads import RAW

DESCRIPTION = (
    "Colours photographs. The lightness is the photograph's own; the colours are a network's guess, which hints can "
    "direct. Depth and metadata are kept as far as the format allows. Nothing is stored, and no address is fetched. "
)
NOTES = "X-Gancolor-Warning"
BINARY = {"schema": {"type": "string", "format": "binary"}}


class Refusal(BaseModel):
    """The body of every answer that is an error."""

    error: str = Field(
        description="What is wrong and what to do, in one line.",
        examples=["strength: input should be less than or equal to 2"],
    )


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok"] = "ok"


def _errors(**reasons: str) -> dict[int | str, Any]:
    """Return the documentation of errors by their status, as s413="..."."""
    found: dict[int | str, Any] = {}
    for name, reason in reasons.items():
        status = int(name[1:])
        found[status] = {"model": Refusal, "description": reason}
        if status == 503:
            wait = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
            found[status]["headers"] = {"Retry-After": wait}
    return found


_TEXT = {"schema": {"type": "string"}}
COLORIZE: dict[str, Any] = {
    "summary": "Colour a photograph",
    "description": "Takes JPEG, PNG, TIFF, WebP, AVIF, HEIC, GIF, BMP, JPEG 2000 and others, in 8 or 16 bits. The "
    "options are query parameters; with a form, they may be its fields, which take precedence.",
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "The photograph's file: as the field `file` of a form, or as the body itself.",
            "content": {"multipart/form-data": {"schema": form_schema()}, "image/*": BINARY, RAW: BINARY},
        }
    },
    "responses": {
        200: {
            "description": "The photograph in colour.",
            "content": dict.fromkeys(MEDIA_TYPES.values(), BINARY),
            "headers": {
                "Content-Disposition": {
                    "description": "A file name, made of the upload's: `photo_coloured.jpg`.",
                    **_TEXT,
                },
                NOTES: {"description": "What was ignored, such as further pages.", **_TEXT},
            },
        },
        **_errors(
            s400="The form is malformed.",
            s408="The upload took too long.",
            s413="The upload or the photograph is too large.",
            s415="The body is of another type.",
            s422="There is no readable photograph, or an option or the hints are wrong.",
            s500="A fault of the server.",
            s503="Too many requests wait, or the result took too long.",
        ),
    },
}
READY: dict[str, Any] = {
    "summary": "Ready",
    "description": "For a load balancer: whether a photograph would be coloured now.",
    "responses": {
        **_errors(s503="It would not: too many requests wait, a photograph is overdue, or the service is stopping.")
    },
}
LIVE: dict[str, Any] = {"summary": "Live", "description": "For a supervisor: whether the process answers."}
METRICS: dict[str, Any] = {
    "summary": "Metrics",
    "description": "Counts and durations of requests, by HTTP status, for Prometheus.",
    "responses": {200: {"description": "Text format of Prometheus.", "content": {"text/plain": _TEXT}}},
}
